/* chain.c -- reversible layers one after the other, in place on one stream.
 * Owns: what a reversible chain keeps, by the run's policy: nothing under REVERSE but the inside of blocks that the run spares, all of
 * those that it stores, the input of those that it holds, and what tells of drift (guard.c); under CHECKPOINT a copy of the input of each
 * layer that is recomputed; under STORE what the layers keep themselves, and a copy for those that look at x.
 * It asks a layer only for its inverse. Must not know: which layers there are. */
#include "compose/chain.h"

#include "compose/catalogue.h"
#include "compose/guard.h"
#include "layers/operands.h"
#include "reversible/reversible.h"

struct ebb_chain {
  ebb_layer   base;
  int         count, most;
  ebb_layer **layers;
};

/* ---- building ------------------------------------------------------------------------------------------------ */
ebb_chain *ebb_chain_open(ebb_builder *b, const char *name, int most)
{
  ebb_chain *s = (ebb_chain *)ebb_layer_new(b, &ebb_chain_ops, name, sizeof *s);
  s->most = most;
  s->layers = ebb_pool_take(b->pool, (size_t)most * sizeof *s->layers);
  return s;
}

void ebb_chain_add(ebb_chain *s, ebb_layer *l)
{
  EBB_ASSERT(ebb_reversible(l), "%s has no inverse", l->name);
  EBB_ASSERT(s->count < s->most, "%s has room for %d layers", s->base.name, s->most);
  if (s->count) ebb_layers_join(s->layers[s->count - 1], l);
  s->layers[s->count++] = l;
}

ebb_layer *ebb_chain_close(ebb_chain *s)
{
  return &s->base;
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const ebb_chain *s = (const ebb_chain *)layer;
  for (int i = 0; i < s->count && x.rank; i++) x = ebb_layer_shape(s->layers[i], x);
  return x;
}

static ebb_shape before(const ebb_layer *layer, ebb_shape y)
{
  const ebb_chain *s = (const ebb_chain *)layer;
  for (int i = s->count - 1; i >= 0; i--) y = ebb_shape_before(s->layers[i], y);
  return y;
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  const ebb_chain *s = (const ebb_chain *)layer;
  return i < s->count ? s->layers[i] : NULL;
}

/* ---- what is kept --------------------------------------------------------------------------------------------- */
/* Does layer l's backward need the chain to keep its input? */
static bool wants_input(const ebb_layer *l, const ebb_run *r)
{
  return (ebb_replays(l) && r->keep == EBB_KEEP_INPUTS) || !l->ops->ignores_x;
}

static bool reverses(const ebb_run *r)
{
  return r->keep == EBB_KEEP_INPUTS && r->policy == EBB_REVERSE;
}

/* Under REVERSE, a block that keeps all, as it would under STORE. */
static bool stored(const ebb_layer *l, const ebb_run *r)
{
  return reverses(r) && r->stored && r->stored[l->id];
}

/* Under REVERSE, a layer whose input once did not come back: it is kept, as it would be under CHECKPOINT. */
static bool held(const ebb_layer *l, const ebb_run *r)
{
  return reverses(r) && r->held && r->held[l->id] && !stored(l, r);
}

/* Is layer i's input kept, too, where that is not left to reversal? The one in front may have to be undone from there. */
static bool keeps_input(const ebb_chain *s, int i, const ebb_run *r)
{
  return held(s->layers[i], r) || i == 0 || !stored(s->layers[i - 1], r) || !s->layers[i]->ops->ignores_x;
}

/* What is kept inside layer l, on the way forward, and so what its way back finds. */
static ebb_keep keep_of(const ebb_layer *l, const ebb_run *r)
{
  if (stored(l, r)) return EBB_KEEP_ALL;
  bool spared = reverses(r) && r->spared && r->spared[l->id] && !held(l, r);
  return spared ? EBB_KEEP_INSIDE : ebb_keep_inside(l, r->keep);
}

static ebb_view kept_copy(ebb_run *r, ebb_view x)
{
  ebb_view copy = ebb_kept_view(r, x.s);
  ebb_copy(r, copy, x);
  return copy;
}

static void watch(ebb_run *r, const ebb_layer *l, ebb_view x, bool reconstructed)
{
  if (r->watch && !r->dry) r->watch(r, l, x, reconstructed);
}

/* ---- forward and backward --------------------------------------------------------------------------------------- */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)y, (void)scratch;
  const ebb_chain *s = (const ebb_chain *)layer;
  ebb_keep         outer = r->keep;
  ebb_view         now = x;
  for (int i = 0; i < s->count; i++) {
    const ebb_layer *l = s->layers[i];
    ebb_mark         mark = ebb_arena_low_mark(r->arena);
    ebb_view         next = ebb_view_retyped(now, ebb_layer_shape(l, now.s)), input = now;
    bool             kept = stored(l, r) || held(l, r), keeps = kept || ebb_keeps(r);
    watch(r, l, now, false);
    if (kept ? keeps_input(s, i, r) : keeps && wants_input(l, r)) input = kept_copy(r, now);
    if (!kept && ebb_guards(r, l, now)) ebb_guard_keep(r, now);
    r->keep = keep_of(l, r);
    ebb_forward_layer(l, r, now, next);
    r->keep = outer;
    if (keeps) ebb_kept_push(r, input, mark);
    now = next;
  }
}

/* In place on dy, with what forward kept. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)x, (void)scratch;
  const ebb_chain *s = (const ebb_chain *)layer;
  ebb_keep         outer = r->keep;
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  for (int i = s->count - 1; i >= 0; i--) {
    const ebb_layer *l = s->layers[i];
    ebb_kept         kept = ebb_kept_pop(r);
    ebb_view         d = ebb_view_retyped(dy, ebb_shape_real(kept.view.s));
    r->keep = ebb_keep_inside(l, outer);
    ebb_backward_layer(l, r, kept.view, dy, d);
    r->keep = outer;
    ebb_arena_low_release(r->arena, kept.mark);
    dy = d;
  }
}

/* ---- backwards through the chain, inputs reconstructed ------------------------------------------------------------- */
static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const ebb_chain *s = (const ebb_chain *)layer;
  for (int i = s->count - 1; i >= 0; i--) {
    ebb_inverse_layer(s->layers[i], r, y);
    y = ebb_view_retyped(y, ebb_shape_before(s->layers[i], y.s));
  }
}

/* Layer i, which is stored or held: its gradient in place, and its input, where that was kept, in place of y. */
static void back_kept(const ebb_chain *s, int i, ebb_run *r, ebb_view y, ebb_view dy)
{
  ebb_keep outer = r->keep;
  ebb_kept kept = ebb_kept_pop(r);
  ebb_view x = ebb_view_retyped(y, kept.view.s);
  bool     has_input = keeps_input(s, i, r);
  if (has_input) ebb_copy(r, x, kept.view); /* now, as a replay may work in place on what was kept */
  r->keep = keep_of(s->layers[i], r);
  ebb_backward_layer(s->layers[i], r, kept.view, dy, ebb_view_retyped(dy, ebb_shape_real(x.s)));
  r->keep = outer;
  ebb_arena_low_release(r->arena, kept.mark);
  if (has_input) watch(r, s->layers[i], x, true);
}

/* Layer i by reversal. */
static void back_reversed(const ebb_chain *s, int i, ebb_run *r, ebb_view y, ebb_view dy)
{
  const ebb_layer *l = s->layers[i];
  ebb_keep         outer = r->keep;
  r->keep = keep_of(l, r);
  ebb_reverse_layer(l, r, y, dy);
  r->keep = outer;
  y = ebb_view_retyped(y, ebb_shape_before(l, y.s));
  if (ebb_guards(r, l, y)) ebb_guard_check(r, l, y);
  watch(r, l, y, true);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  const ebb_chain *s = (const ebb_chain *)layer;
  for (int i = s->count - 1; i >= 0; i--) {
    if (stored(s->layers[i], r) || held(s->layers[i], r)) back_kept(s, i, r, y, dy);
    else back_reversed(s, i, r, y, dy);
    y = ebb_view_retyped(y, ebb_shape_before(s->layers[i], y.s));
    dy = ebb_view_retyped(dy, ebb_shape_real(y.s));
  }
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_chain  *s = ebb_chain_open(b, "chain", 3);
  ebb_chain_add(s, ebb_coupling_ops.make(b, "one", x));
  ebb_chain_add(s, ebb_mixing_ops.make(b, "mixing", x));
  ebb_chain_add(s, ebb_coupling_ops.make(b, "two", x));
  b->scope = outer;
  return ebb_chain_close(s);
}

const ebb_layer_ops ebb_chain_ops = {
    .name = "chain",
    .formula = "y = L_n(... L_2(L_1(x))), each with an inverse",
    .source = "",
    .in_place = true,
    .ignores_x = true,
    .transparent = true,
    .shape = shape,
    .before = before,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .child = child,
    .make = make,
};
