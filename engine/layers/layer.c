/* layer.c -- building layers, and calling them. See layer.h. */
#include "layers/layer.h"

#include <stdarg.h>
#include <stdio.h>

#include "kernels/kernels.h"

/* ---- building -------------------------------------------------------------------------------------------- */
ebb_layer *ebb_layer_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, size_t bytes)
{
  ebb_layer *l = ebb_pool_take(b->pool, bytes);
  l->ops = ops;
  l->name = ebb_pool_text(b->pool, "%s%s", b->scope, name);
  l->id = b->layers++;
  return l;
}

const ebb_param *ebb_param_new(ebb_builder *b, const ebb_layer *l, const char *name, ebb_param p)
{
  ebb_param *q = EBB_POOL_NEW(b->pool, ebb_param);
  size_t    *total = p.kind == EBB_WEIGHT ? &b->weights : &b->states;
  *q = p;
  q->name = ebb_pool_text(b->pool, "%s.%s", l->name, name);
  q->layer = l;
  q->index = b->params++;
  q->count = 1;
  for (int i = 0; i < p.rank; i++) q->count *= (size_t)p.dims[i];
  q->offset = *total;
  *total += q->count;
  if (b->last) b->last->next = q;
  else b->first = q;
  b->last = q;
  return q;
}

void ebb_layers_join(ebb_layer *l, ebb_layer *next)
{
  ebb_layer *norm = next->ops->measures ? next->ops->measures(next) : NULL;
  if (norm && l->ops->precedes) l->ops->precedes(l, norm);
}

const char *ebb_scope_enter(ebb_builder *b, const char *format, ...)
{
  const char *outer = b->scope;
  char        text[128];
  va_list     args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  b->scope = ebb_pool_text(b->pool, "%s%s.", outer, text);
  return outer;
}

ebb_shape ebb_shape_same(const ebb_layer *l, ebb_shape x)
{
  (void)l;
  return x.stream ? ebb_shape_none() : x;
}

bool ebb_yes(const ebb_layer *l)
{
  (void)l;
  return true;
}

ebb_shape ebb_layer_shape(const ebb_layer *l, ebb_shape x)
{
  return l->ops->shape(l, x);
}

ebb_shape ebb_shape_read(const ebb_layer *l, ebb_shape x)
{
  return l->ops->shape(l, ebb_from_stream(l) ? ebb_shape_real(x) : x);
}

ebb_shape ebb_shape_before(const ebb_layer *l, ebb_shape y)
{
  return l->ops->before ? l->ops->before(l, y) : y;
}

bool ebb_keeps(const ebb_run *r)
{
  return r->keep == EBB_KEEP_ALL || (r->keep == EBB_KEEP_INPUTS && r->policy != EBB_REVERSE);
}

ebb_keep ebb_keep_inside(const ebb_layer *inner, ebb_keep outer)
{
  if (outer == EBB_KEEP_ALL) return EBB_KEEP_ALL;
  return inner->ops->transparent ? outer : EBB_KEEP_NONE;
}

bool ebb_replays(const ebb_layer *l)
{
  return ebb_reversible(l) && l->ops->child && !l->ops->transparent;
}

/* ---- calling --------------------------------------------------------------------------------------------- */
static void *take_scratch(const ebb_layer *l, ebb_run *r, size_t (*of)(const ebb_layer *, ebb_shape), ebb_shape x)
{
  size_t bytes = of ? of(l, x) : 0;
  return bytes ? ebb_arena_high(r->arena, bytes) : NULL;
}

/* A window on the arena's peak: what is taken between open and close, beyond what was taken at open. */
typedef struct window { ebb_arena before; } window;

static window window_open(ebb_run *r)
{
  window w = {*r->arena};
  r->arena->peak = r->arena->low + r->arena->high;
  return w;
}

static size_t window_close(ebb_run *r, window w)
{
  ebb_arena *a = r->arena;
  size_t     inside = a->peak - (w.before.low + w.before.high);
  if (a->peak <= w.before.peak) {
    a->peak = w.before.peak;
    for (int i = 0; i < EBB_USES; i++) a->at_peak[i] = w.before.at_peak[i];
  }
  return inside;
}

static void note(size_t *most, size_t bytes)
{
  if (bytes > *most) *most = bytes;
}

static void forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y)
{
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  bool     leaf = l->ops->child == NULL;
  void    *scratch = take_scratch(l, r, l->ops->scratch, x.s);
  if (!leaf || (y.p && !r->dry)) l->ops->forward(l, r, x, y, scratch);
  ebb_arena_high_release(r->arena, mark);
}

/* What a plan notes of a forward that began with the arena as `w` and `low` say. */
static void tally_forward(const ebb_layer *l, ebb_run *r, ebb_shape x, ebb_shape y, window w, size_t low)
{
  if (!r->tally) return;
  ebb_tally *t = &r->tally[l->id];
  if (r->pass == EBB_TRAIN || t->x.rank == 0) { /* or nobody trains */
    t->x = x;
    t->y = y;
    t->kept = r->arena->low - low;
    t->saved = l->ops->saved ? l->ops->saved(l, x) : 0;
  }
  note(&t->forward_peak, window_close(r, w));
}

void ebb_forward_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y)
{
  window w = {{0}};
  size_t low = r->arena->low;
  if (r->tally) w = window_open(r);
  forward(l, r, x, y);
  tally_forward(l, r, x.s, y.s, w, low);
}

void ebb_update_by_forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign)
{
  ebbk_range range = {0};
  ebb_mark   mark = ebb_arena_high_mark(r->arena);
  ebb_view   y = ebb_scratch_view(r, ebb_shape_real(z.s));
  ebb_forward_layer(l, r, x, y);
  if (!r->dry && sign == EBB_PLUS)
    ebbk->fixed_add(ebb_fixeds(z), z.stride, ebb_reals(y), y.stride, ebb_sites(y.s), y.s.c, &range);
  else if (!r->dry) ebbk->fixed_subtract(ebb_fixeds(z), z.stride, ebb_reals(y), y.stride, ebb_sites(y.s), y.s.c);
  ebb_note_range(r, l, range.count, range.worst);
  ebb_arena_high_release(r->arena, mark);
}

void ebb_update_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign)
{
  window w = {{0}};
  size_t low = r->arena->low;
  if (!l->ops->update) {
    ebb_update_by_forward(l, r, x, z, sign);
    return;
  }
  if (r->tally) w = window_open(r);
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  void    *scratch = take_scratch(l, r, l->ops->scratch, x.s);
  if (l->ops->child || !r->dry) l->ops->update(l, r, x, z, sign, scratch);
  ebb_arena_high_release(r->arena, mark);
  tally_forward(l, r, x.s, ebb_shape_real(z.s), w, low);
}

/* Repeats a composite's forward so that what its backward needs is kept. */
static void replay(const ebb_layer *l, ebb_run *r, ebb_view x)
{
  ebb_view y = {.s = ebb_shape_read(l, x.s), .stride = x.stride};
  if (ebb_reversible(l) && l->ops->ignores_x) y.p = x.p;
  forward(l, r, x, y);
}

/* Of a layer with a span: its gradients are what r->grads holds from here on, until they are ready. False: it has none, or that is so already. */
static bool span_open(const ebb_layer *l, ebb_run *r)
{
  if (!r->spans || r->span.count || r->spans[l->id].count == 0) return false;
  r->span = r->spans[l->id];
  return true;
}

static void span_close(ebb_run *r, bool open)
{
  if (!open) return;
  if (r->ready) r->ready(r);
  r->span = (ebb_span){0};
}

/* `z`: NULL, or what L(x) is to be taken back from. */
static void backward(const ebb_layer *l, ebb_run *r, ebb_view x, const ebb_view *z, ebb_view dy, ebb_view dx)
{
  bool leaf = l->ops->child == NULL;
  if (!leaf && r->keep != EBB_KEEP_ALL && !(l->ops->transparent && r->keep == EBB_KEEP_INPUTS)) {
    ebb_run outer = *r;
    r->pass = EBB_REPLAY;
    r->keep = EBB_KEEP_ALL;
    replay(l, r, x);
    l->ops->backward(l, r, x, dy, dx, NULL);
    r->pass = outer.pass;
    r->keep = outer.keep;
    return;
  }
  void *scratch = take_scratch(l, r, l->ops->backward_scratch ? l->ops->backward_scratch : l->ops->scratch, x.s);
  if (leaf && r->dry) return;
  if (z) l->ops->undo(l, r, x, *z, dy, dx, scratch);
  else l->ops->backward(l, r, x, dy, dx, scratch);
}

static void backward_counted(const ebb_layer *l, ebb_run *r, ebb_view x, const ebb_view *z, ebb_view dy, ebb_view dx)
{
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  window   w = window_open(r);
  bool     open = span_open(l, r);
  ebb_view target = dx;
  bool     over = dx.p && dx.p == x.p && l->ops->dx_place == EBB_DX_FRESH, add = dx.p && dx.add && !ebb_from_stream(l);
  if (over || add) target = ebb_scratch_view(r, dx.s);
  backward(l, r, x, z, dy, target);
  if (target.p != dx.p && !r->dry)
    (dx.add ? ebbk->add : ebbk->copy)(ebb_reals(dx), dx.stride, ebb_reals(target), target.stride, ebb_sites(dx.s), dx.s.c);
  ebb_arena_high_release(r->arena, mark);
  span_close(r, open);
  size_t inside = window_close(r, w);
  if (r->tally) note(&r->tally[l->id].backward_peak, inside);
}

void ebb_backward_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx)
{
  backward_counted(l, r, x, NULL, dy, dx);
}

void ebb_undo_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx)
{
  if (l->ops->undo) {
    backward_counted(l, r, x, &z, dy, dx);
    return;
  }
  ebb_keep outer = r->keep;
  r->keep = EBB_KEEP_NONE;
  ebb_update_layer(l, r, x, z, EBB_MINUS);
  r->keep = outer;
  ebb_backward_layer(l, r, x, dy, dx);
}

void ebb_inverse_layer(const ebb_layer *l, ebb_run *r, ebb_view y)
{
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  l->ops->inverse(l, r, y);
  ebb_arena_high_release(r->arena, mark);
}

void ebb_reverse_layer(const ebb_layer *l, ebb_run *r, ebb_view y, ebb_view dy)
{
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  window   w = window_open(r);
  bool     open = span_open(l, r);
  if (l->ops->reverse) l->ops->reverse(l, r, y, dy);
  else {
    ebb_inverse_layer(l, r, y);
    ebb_backward_layer(l, r, y, dy, dy);
  }
  ebb_arena_high_release(r->arena, mark);
  span_close(r, open);
  size_t inside = window_close(r, w);
  if (r->tally) note(&r->tally[l->id].backward_peak, inside);
}
