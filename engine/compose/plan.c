/* plan.c -- see plan.h. */
#include "compose/plan.h"

#include <string.h>

/* Room on the stack of kept views: a layer pushes two at most (coupling), and its sequence one for it. */
static size_t most_kept(const ebb_model *m)
{
  return 3 * (size_t)m->layers;
}

/* The loss: its gradient, which is a tensor like the output, and for a moment what it needs besides. */
static ebb_view rehearse_loss(ebb_run *r, ebb_shape y, size_t bytes)
{
  ebb_view dy = ebb_scratch_view(r, y);
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  ebb_arena_high(r->arena, bytes);
  ebb_arena_high_release(r->arena, mark);
  return dy;
}

/* One training step and one evaluation, dry; the loss takes the same in both. */
static void rehearse(const ebb_model *m, ebb_run *r, ebb_shape x, ebb_plan_options o)
{
  static char somewhere; /* an address that is not NULL: nobody follows it */
  ebb_view    y, in = ebb_view_of(NULL, x), dx = ebb_view_of(o.input_gradient ? &somewhere : NULL, x);
  if (o.training) {
    r->pass = EBB_TRAIN;
    ebb_forward(r, m, in, &y);
    ebb_backward(r, m, in, rehearse_loss(r, y.s, o.loss), dx);
  }
  r->pass = EBB_EVAL;
  ebb_forward(r, m, in, &y);
  rehearse_loss(r, y.s, o.loss);
  ebb_release(r);
}

/* The parts of the model region, in the order in which ebb_workspace_create takes them. */
static void plan_model_region(ebb_plan *p, const ebb_model *m, ebb_plan_options o)
{
  size_t layers = (size_t)m->layers;
  for (size_t i = 0; i < layers; i++) p->saved += ebb_align(p->tally[i].saved);
  p->kept_views = most_kept(m);
  p->weights = ebb_align(m->weights * sizeof(ebb_real));
  p->gradients = o.training ? p->weights : 0;
  p->optimizer = o.training ? ebb_align(o.optimizer) : 0;
  p->state = ebb_align(m->states * sizeof(ebb_real)) + p->saved + ebb_align(layers * sizeof(size_t)) +
             ebb_align(layers * sizeof(bool)) + ebb_align(p->kept_views * sizeof(ebb_kept));
}

/* ---- blocks that are spared their replay ---------------------------------------------------------------------- */
/* Reversible blocks in the order of the way forward: those in the root and in reversible layers that see to themselves. */
typedef struct blocks { const ebb_layer **at; int count; } blocks;

static void collect(blocks *b, const ebb_layer *l)
{
  for (int i = 0; l->ops->child(l, i); i++) {
    const ebb_layer *inner = l->ops->child(l, i);
    if (ebb_replays(inner)) b->at[b->count++] = inner;
    else if (inner->ops->transparent) collect(b, inner);
  }
}

/* The arena after a rehearsal in which the last `spared` blocks keep their inside. */
static ebb_arena rehearsed(ebb_plan *p, const ebb_model *m, ebb_plan_options o, const blocks *b, int spared, ebb_kept *kept)
{
  ebb_arena dry;
  ebb_arena_create_dry(&dry, "plan");
  for (int i = 0; i < b->count; i++) p->spared[b->at[i]->id] = i >= b->count - spared;
  for (int i = 0; i < m->layers; i++) p->tally[i] = (ebb_tally){0};
  ebb_run r = {.arena = &dry, .policy = o.policy, .spared = p->spared, .dry = true, .tally = p->tally, .kept = kept,
               .kept_size = most_kept(m)};
  rehearse(m, &r, p->x, o);
  return dry;
}

/* What a late block keeps is gone before the early ones are replayed. As many of the last are spared as the peak without any
 * spared allows: the least memory, and among plans that take no more the fastest. */
static ebb_arena spare(ebb_plan *p, const ebb_model *m, ebb_plan_options o, ebb_pool *pool)
{
  ebb_kept *kept = ebb_pool_take(pool, most_kept(m) * sizeof *kept);
  blocks    b = {.at = ebb_pool_take(pool, (size_t)m->layers * sizeof *b.at)};
  if (o.policy == EBB_REVERSE && o.training) collect(&b, m->root);
  int    fits = 0, too_many = b.count + 1;
  size_t room = rehearsed(p, m, o, &b, 0, kept).peak;
  while (too_many - fits > 1) {
    int middle = (fits + too_many) / 2;
    if (rehearsed(p, m, o, &b, middle, kept).peak <= room) fits = middle;
    else too_many = middle;
  }
  return rehearsed(p, m, o, &b, fits, kept);
}

void ebb_plan_make(ebb_plan *p, const ebb_model *m, ebb_shape x, ebb_plan_options o, ebb_pool *pool)
{
  *p = (ebb_plan){.x = x, .policy = o.policy, .training = o.training, .batches = o.batches};
  p->tally = ebb_pool_take(pool, (size_t)m->layers * sizeof *p->tally);
  p->spared = ebb_pool_take(pool, (size_t)m->layers * sizeof *p->spared);
  ebb_arena dry = spare(p, m, o, pool);
  p->stream = dry.at_peak[EBB_USE_STREAM];
  p->kept = dry.at_peak[EBB_USE_KEPT];
  p->scratch = dry.at_peak[EBB_USE_SCRATCH];
  plan_model_region(p, m, o);
  p->peak = p->weights + p->gradients + p->optimizer + p->state + p->stream + p->kept + p->scratch + p->batches;
}

/* ---- the regions -------------------------------------------------------------------------------------------- */
static void lay_out_saved(ebb_run *r, const ebb_model *m, const ebb_plan *p)
{
  size_t at = 0;
  for (int i = 0; i < m->layers; i++) {
    r->saved_at[i] = at;
    at += ebb_align(p->tally[i].saved);
  }
}

static void *from_model(ebb_workspace *w, size_t bytes)
{
  return ebb_arena_low(&w->model, bytes, EBB_USE_KEPT);
}

static ebb_status too_large(const ebb_plan *p, size_t needed, size_t available)
{
  return ebb_fail(EBB_OSERR,
                  "memory: the plan needs %.1f MiB (%zu bytes), %.1f MiB are available\nhint: a smaller train.batch%s; "
                  "`ebb plan` shows where the memory goes",
                  (double)needed / 1048576, needed, (double)available / 1048576,
                  p->policy == EBB_REVERSE ? "" : ", or run.backward=reverse");
}

ebb_status ebb_workspace_create(ebb_workspace *w, const ebb_model *m, const ebb_plan *p)
{
  size_t needed = p->peak - p->batches, available = ebb_memory_available();
  *w = (ebb_workspace){0};
  if (needed > available) return too_large(p, needed, available);
  EBB_TRY(ebb_arena_create(&w->model, "model", p->weights + p->gradients + p->optimizer + p->state));
  ebb_status status = ebb_arena_create(&w->arena, "run", p->stream + p->kept + p->scratch);
  if (status != EBB_OK) {
    ebb_arena_destroy(&w->model);
    return status;
  }
  w->weights = from_model(w, p->weights);
  w->grads = from_model(w, p->gradients);
  w->optimizer = from_model(w, p->optimizer);
  w->state = from_model(w, m->states * sizeof(ebb_real));
  bool *spared = from_model(w, (size_t)m->layers * sizeof(bool));
  memcpy(spared, p->spared, (size_t)m->layers * sizeof(bool));
  w->run = (ebb_run){.arena = &w->arena,
                     .weights = w->weights,
                     .grads = w->grads,
                     .state = w->state,
                     .saved = from_model(w, p->saved),
                     .saved_at = from_model(w, (size_t)m->layers * sizeof(size_t)),
                     .kept = from_model(w, p->kept_views * sizeof(ebb_kept)),
                     .kept_size = p->kept_views,
                     .policy = p->policy,
                     .spared = spared};
  lay_out_saved(&w->run, m, p);
  return EBB_OK;
}

void ebb_workspace_destroy(ebb_workspace *w)
{
  ebb_arena_destroy(&w->model);
  ebb_arena_destroy(&w->arena);
  *w = (ebb_workspace){0};
}

size_t ebb_workspace_peak(const ebb_workspace *w, size_t batches)
{
  return w->model.peak + w->arena.peak + batches;
}

/* ---- the tree ------------------------------------------------------------------------------------------------ */
typedef struct printer { FILE *out; const ebb_plan *p; const ebb_model *m; } printer;

static void print_layer(const ebb_layer *l, int depth, void *context)
{
  const printer   *k = context;
  const ebb_tally *t = &k->p->tally[l->id];
  char             name[256], x[EBB_SHAPE_TEXT], y[EBB_SHAPE_TEXT];
  if (depth == 0) return;
  snprintf(name, sizeof name, "%*s%s", 2 * (depth - 1), "", l->name);
  fprintf(k->out, "%-40s %-13s %-12s %-12s %9zu %11.2f %11.2f\n", name, l->ops->name, ebb_shape_print(x, t->x),
          ebb_shape_print(y, t->y), ebb_model_weights_of(k->m, l), (double)t->kept / 1048576,
          (double)(t->forward_peak > t->backward_peak ? t->forward_peak : t->backward_peak) / 1048576);
}

void ebb_plan_print(FILE *out, const ebb_plan *p, const ebb_model *m)
{
  printer k = {out, p, m};
  fprintf(out, "%-40s %-13s %-12s %-12s %9s %11s %11s\n", "layer", "kind", "input", "output", "params", "kept MiB",
          "inside MiB");
  ebb_model_walk(m, print_layer, &k);
}
