/* plan.c -- see plan.h. */
#include "compose/plan.h"

#include <stdlib.h>
#include <string.h>

#include "compose/blocks.h"
#include "compose/spans.h"

/* Room on a rehearsal's stack of kept views: a layer pushes two at most (coupling), and its sequence one for it. */
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

/* One training step and one evaluation, dry; the loss takes the same in both. And perhaps the way from a latent value to a sample. */
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
  if (!o.inverse) return;
  ebb_inverse(r, m, y, &y);
  ebb_release(r);
}

/* log|det| of each sample, where a layer has one. */
static size_t logdet_bytes(const ebb_plan *p, const ebb_model *m)
{
  return m->logdet ? ebb_align((size_t)p->x.n * sizeof(double)) : 0;
}

/* The parts of the model region, in the order in which ebb_workspace_create takes them. */
static void plan_model_region(ebb_plan *p, const ebb_model *m)
{
  const ebb_plan_options *o = &p->options;
  size_t                  layers = (size_t)m->layers;
  p->saved = 0;
  for (size_t i = 0; i < layers; i++) p->saved += ebb_align(p->tally[i].saved);
  p->weights = ebb_align(m->weights * sizeof(ebb_real));
  p->gradients = !o->training ? 0 : !p->spans ? p->weights : ebb_align(ebb_spans_longest(p->spans, m) * sizeof(ebb_real));
  p->optimizer = o->training ? ebb_align(o->optimizer) : 0;
  p->state = ebb_align(m->states * sizeof(ebb_real)) + p->saved + ebb_align(layers * sizeof(size_t)) +
             3 * ebb_align(layers * sizeof(bool)) + ebb_align(p->kept_views * sizeof(ebb_kept)) + logdet_bytes(p, m);
}

/* ---- one rehearsal --------------------------------------------------------------------------------------------- */
/* The arena after it; blocks that p->spared names keep their inside, those of p->stored all, those of p->held their input. */
static ebb_arena rehearsed(ebb_plan *p, const ebb_model *m)
{
  ebb_arena dry;
  ebb_arena_create_dry(&dry, "plan");
  for (int i = 0; i < m->layers; i++) p->tally[i] = (ebb_tally){0};
  ebb_run r = {.arena = &dry, .policy = p->options.policy, .spared = p->spared, .stored = p->stored, .held = p->held, .drift_most = p->options.drift,
               .dry = true, .tally = p->tally, .kept = p->stack, .kept_size = most_kept(m)};
  rehearse(m, &r, p->x, p->options);
  p->kept_views = r.kept_most;
  return dry;
}

/* The run region by the last rehearsal, and the sum. */
static void plan_run_region(ebb_plan *p, const ebb_arena *dry)
{
  p->stream = dry->at_peak[EBB_USE_STREAM];
  p->kept = dry->at_peak[EBB_USE_KEPT];
  p->scratch = dry->at_peak[EBB_USE_SCRATCH];
  p->peak = p->weights + p->gradients + p->optimizer + p->state + p->stream + p->kept + p->scratch + p->batches;
}

/* ---- blocks that are spared their replay, or stored ---------------------------------------------------------------- */
enum { MISSES_MOST = 8 }; /* in a row: a network's blocks are much alike, and each costs a rehearsal */

/* What may be done for a block, the seconds that saves for a byte, and the block's place on the way forward. */
typedef struct favour { bool *flag; double worth; int place; } favour;

/* A plan in the making: favours, the first to be done last, and room for the run region, which no choice may exceed. */
typedef struct choice {
  ebb_plan        *p;
  const ebb_model *m;
  favour          *at;
  int              count;
  size_t           room;
} choice;

static bool fits_now(const choice *k)
{
  return rehearsed(k->p, k->m).peak <= k->room;
}

static void do_last(const choice *k, int count)
{
  for (int i = 0; i < k->count; i++) *k->at[i].flag = i >= k->count - count;
}

/* As many of the last as fit; their number. */
static int do_late(const choice *k)
{
  int fits = 0, too_many = k->count + 1;
  while (too_many - fits > 1) {
    int middle = (fits + too_many) / 2;
    do_last(k, middle);
    if (fits_now(k)) fits = middle;
    else too_many = middle;
  }
  do_last(k, fits);
  return fits;
}

/* Of those before the last `late`, from the latest on, what fits beside: blocks on coarser grids, whose inside is smaller. */
static void do_small(const choice *k, int late)
{
  for (int i = k->count - late - 1, misses = 0; i >= 0 && misses < MISSES_MOST; i--) {
    if (*k->at[i].flag) continue;
    *k->at[i].flag = true;
    if (fits_now(k)) misses = 0;
    else *k->at[i].flag = false, misses++;
  }
}

/* ---- with more room than the least: by the time that is saved for a byte ------------------------------------------ */
static int by_worth(const void *a, const void *b)
{
  const favour *x = a, *y = b;
  return x->worth != y->worth ? (x->worth > y->worth) - (x->worth < y->worth) : x->place - y->place;
}

/* Bytes that each block keeps with these flags, as the worth of `saved` seconds; flags are false again. */
static void rate(choice *k, const ebb_blocks *b, bool *flags, double (*saved)(const ebb_cost *))
{
  for (int i = 0; i < b->count; i++) flags[b->at[i]->id] = true;
  rehearsed(k->p, k->m);
  for (int i = 0; i < b->count; i++) {
    int id = b->at[i]->id;
    k->at[k->count++] = (favour){&flags[id], saved(&k->p->costs[id]) / (double)(k->p->tally[id].kept + 1), i};
    flags[id] = false;
  }
}

static double by_sparing(const ebb_cost *c)
{
  return c->replayed - c->spared;
}

static double by_storing(const ebb_cost *c)
{
  return c->replayed - c->stored;
}

/* Bytes beside the run region, with as many kept views as there may be. */
static size_t beside(ebb_plan *p, const ebb_model *m)
{
  p->kept_views = most_kept(m);
  plan_model_region(p, m);
  return p->weights + p->gradients + p->optimizer + p->state + p->batches;
}

/* Both favours to each block, the most worth last, and the room there is; or nothing, if that is not more than the least. */
static void extend(choice *k, const ebb_blocks *b)
{
  size_t others = beside(k->p, k->m);
  if (!k->p->costs || k->p->options.room < others + k->room) return;
  k->room = k->p->options.room - others;
  k->count = 0;
  rate(k, b, k->p->spared, by_sparing);
  rate(k, b, k->p->stored, by_storing);
  qsort(k->at, (size_t)k->count, sizeof *k->at, by_worth);
}

/* What a late block keeps is gone before the early ones are replayed. As many are spared as the peak without any spared allows:
 * the least memory, and among plans that take no more a fast one. */
static void choose(ebb_plan *p, const ebb_model *m, ebb_pool *pool)
{
  choice     k = {.p = p, .m = m, .room = rehearsed(p, m).peak};
  ebb_blocks b = ebb_blocks_of(m, pool);
  if (p->options.policy != EBB_REVERSE || !p->options.training) return;
  k.at = ebb_pool_take(pool, 2 * (size_t)b.count * sizeof *k.at);
  for (; k.count < b.count; k.count++) k.at[k.count] = (favour){&p->spared[b.at[k.count]->id], 0, k.count};
  if (p->options.room) extend(&k, &b);
  do_small(&k, do_late(&k));
}

/* ---- the plan -------------------------------------------------------------------------------------------------- */
static void make(ebb_plan *p, const ebb_model *m, ebb_shape x, ebb_plan_options o, ebb_cost *costs, ebb_pool *pool)
{
  *p = (ebb_plan){.x = x, .options = o, .costs = costs, .batches = o.batches};
  p->tally = ebb_pool_take(pool, (size_t)m->layers * sizeof *p->tally);
  p->spared = ebb_pool_take(pool, (size_t)m->layers * sizeof *p->spared);
  p->stored = ebb_pool_take(pool, (size_t)m->layers * sizeof *p->stored);
  p->held = ebb_pool_take(pool, (size_t)m->layers * sizeof *p->held);
  p->stack = ebb_pool_take(pool, most_kept(m) * sizeof *p->stack);
  p->spans = o.training && o.spans ? ebb_spans_of(m, pool) : NULL;
  choose(p, m, pool);
  ebb_arena dry = rehearsed(p, m);
  plan_model_region(p, m);
  plan_run_region(p, &dry);
}

void ebb_plan_make(ebb_plan *p, const ebb_model *m, ebb_shape x, ebb_plan_options o, ebb_pool *pool)
{
  make(p, m, x, o, NULL, pool);
}

ebb_status ebb_plan_auto(ebb_plan *p, const ebb_model *m, ebb_shape x, ebb_plan_options o, size_t budget, ebb_pool *pool)
{
  ebb_cost *costs;
  o.policy = EBB_REVERSE;
  make(p, m, x, o, NULL, pool);
  if (p->peak > budget) return EBB_OK;
  EBB_TRY(ebb_blocks_measure(&costs, m, p, budget, pool));
  o.policy = EBB_STORE;
  make(p, m, x, o, costs, pool);
  if (p->peak <= budget) return EBB_OK;
  o.policy = EBB_REVERSE;
  o.room = budget;
  make(p, m, x, o, costs, pool);
  return EBB_OK;
}

ebb_forecast ebb_plan_forecast(const ebb_plan *p, const ebb_model *m)
{
  ebb_pool     pool = {0};
  ebb_blocks   b = ebb_blocks_of(m, &pool);
  ebb_forecast f = {.blocks = b.count};
  for (int i = 0; i < b.count; i++) {
    int             id = b.at[i]->id;
    const ebb_cost *c = &p->costs[id];
    bool            stored = p->options.policy == EBB_STORE || p->stored[id], spared = !stored && p->spared[id];
    f.stored += stored;
    f.spared += spared;
    f.planned += c->forward + (stored ? c->stored : spared ? c->spared : c->replayed);
    f.least += c->forward + c->replayed;
    f.most += c->forward + c->stored;
  }
  ebb_pool_clear(&pool);
  return f;
}

/* The next block, from layer `i` on, that is done a favour is done it no more; false: there is none. */
static bool take_back(ebb_plan *p, int layers, int *i)
{
  for (; *i < layers; (*i)++)
    if (p->spared[*i] || p->stored[*i]) {
      p->spared[*i] = p->stored[*i] = false;
      return true;
    }
  return false;
}

/* A probe of l's input becomes the input; the model region stays as it was taken. */
void ebb_plan_hold(ebb_plan *p, const ebb_model *m, const ebb_layer *l)
{
  size_t views = p->kept_views;
  int    next = 0;
  p->held[l->id] = true;
  do {
    ebb_arena dry = rehearsed(p, m);
    plan_run_region(p, &dry);
    EBB_ASSERT(p->kept_views <= views, "%s: %zu kept views, then %zu", l->name, views, p->kept_views);
  } while (p->options.room && p->peak > p->options.room && take_back(p, m->layers, &next));
  p->kept_views = views;
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

static bool *flags_in_model(ebb_workspace *w, const bool *flags, int layers)
{
  bool *copy = from_model(w, (size_t)layers * sizeof *copy);
  return memcpy(copy, flags, (size_t)layers * sizeof *copy);
}

static ebb_status too_large(const ebb_plan *p, size_t needed, size_t available)
{
  return ebb_fail(EBB_OSERR,
                  "memory: the plan needs %.1f MiB (%zu bytes), %.1f MiB are available\nhint: a smaller train.batch%s; "
                  "`ebb plan` shows where the memory goes",
                  (double)needed / 1048576, needed, (double)available / 1048576,
                  p->options.policy == EBB_REVERSE ? "" : ", or run.backward=reverse");
}

static size_t run_region(const ebb_plan *p)
{
  return p->stream + p->kept + p->scratch;
}

ebb_status ebb_workspace_create(ebb_workspace *w, const ebb_model *m, const ebb_plan *p)
{
  size_t needed = p->peak - p->batches, available = ebb_memory_available();
  *w = (ebb_workspace){0};
  if (needed > available) return too_large(p, needed, available);
  EBB_TRY(ebb_arena_create(&w->model, "model", p->weights + p->gradients + p->optimizer + p->state));
  ebb_status status = ebb_arena_create(&w->arena, "run", run_region(p));
  if (status != EBB_OK) {
    ebb_arena_destroy(&w->model);
    return status;
  }
  w->weights = from_model(w, p->weights);
  w->grads = from_model(w, p->gradients);
  w->optimizer = from_model(w, p->optimizer);
  w->state = from_model(w, m->states * sizeof(ebb_real));
  w->spared = flags_in_model(w, p->spared, m->layers);
  w->stored = flags_in_model(w, p->stored, m->layers);
  w->held = flags_in_model(w, p->held, m->layers);
  w->run = (ebb_run){.arena = &w->arena,
                     .weights = w->weights,
                     .grads = w->grads,
                     .spans = p->spans,
                     .state = w->state,
                     .saved = from_model(w, p->saved),
                     .saved_at = from_model(w, (size_t)m->layers * sizeof(size_t)),
                     .kept = from_model(w, p->kept_views * sizeof(ebb_kept)),
                     .kept_size = p->kept_views,
                     .policy = p->options.policy,
                     .spared = w->spared,
                     .stored = w->stored,
                     .held = w->held,
                     .drift_most = p->options.drift};
  if (logdet_bytes(p, m)) w->run.logdet = from_model(w, logdet_bytes(p, m));
  lay_out_saved(&w->run, m, p);
  return EBB_OK;
}

ebb_status ebb_workspace_resize(ebb_workspace *w, const ebb_model *m, const ebb_plan *p)
{
  ebb_arena_destroy(&w->arena);
  size_t available = ebb_memory_available();
  if (run_region(p) > available) return too_large(p, run_region(p), available);
  EBB_TRY(ebb_arena_create(&w->arena, "run", run_region(p)));
  size_t layers = (size_t)m->layers * sizeof(bool);
  memcpy(w->held, p->held, layers);
  memcpy(w->spared, p->spared, layers);
  memcpy(w->stored, p->stored, layers);
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
