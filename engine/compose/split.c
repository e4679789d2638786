/* split.c -- a reversible layer on a part of the channels: y = [x1 | L(x2)], the nested level of i-UNets.
 * Owns: the part's own dense memory while L works. x1, the skip, is a view that nobody touches; nothing of it is kept.
 * Source: Etmann et al. 2020, "iUNets", section 3 (the skip connection is what is not downsampled). */
#include "compose/catalogue.h"
#include "compose/chain.h"
#include "kernels/kernels.h"
#include "layers/operands.h"
#include "reversible/reversible.h"

typedef struct split {
  ebb_layer        base;
  int              channels, first;
  const ebb_layer *inner;
} split;

static ebb_view part(const split *l, ebb_view v)
{
  return ebb_view_channels(v, l->first, l->channels - l->first);
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const split *l = (const split *)layer;
  if (x.c != l->channels) return ebb_shape_none();
  ebb_shape two = ebb_shape_channels(x, l->channels - l->first);
  return ebb_shape_equal(ebb_layer_shape(l->inner, two), two) ? x : ebb_shape_none();
}

/* Under STORE and CHECKPOINT the inner stream stays, below what L keeps: backward needs its memory. */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x, (void)scratch;
  const split *l = (const split *)layer;
  bool         keeps = ebb_keeps(r);
  ebb_mark     mark = ebb_arena_low_mark(r->arena);
  ebb_view     two = part(l, y), inner = keeps ? ebb_kept_view(r, two.s) : ebb_scratch_view(r, two.s);
  ebb_copy(r, inner, two);
  ebb_forward_layer(l->inner, r, inner, inner);
  ebb_copy(r, two, inner);
  if (keeps) ebb_kept_push(r, inner, mark);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)x, (void)scratch;
  const split *l = (const split *)layer;
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  ebb_kept kept = ebb_kept_pop(r);
  ebb_view two = part(l, dy), inner = ebb_view_retyped(kept.view, two.s);
  ebb_copy(r, inner, two);
  ebb_backward_layer(l->inner, r, kept.view, inner, inner);
  ebb_copy(r, two, inner);
  ebb_arena_low_release(r->arena, kept.mark);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const split *l = (const split *)layer;
  ebb_view     two = part(l, y), inner = ebb_scratch_view(r, two.s);
  ebb_copy(r, inner, two);
  ebb_inverse_layer(l->inner, r, inner);
  ebb_copy(r, two, inner);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  const split *l = (const split *)layer;
  ebb_view     two = part(l, y), dtwo = part(l, dy);
  ebb_view     inner = ebb_scratch_view(r, two.s), dinner = ebb_scratch_view(r, dtwo.s);
  ebb_copy(r, inner, two);
  ebb_copy(r, dinner, dtwo);
  ebb_reverse_layer(l->inner, r, inner, dinner);
  ebb_copy(r, two, inner);
  ebb_copy(r, dtwo, dinner);
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  return i == 0 ? ((const split *)layer)->inner : NULL;
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *inner = ebb_chain_ops.make(b, "inner", ebb_shape_channels(x, x.c - x.c / 3));
  b->scope = outer;
  return ebb_split(b, name, x.c, x.c / 3, inner);
}

const ebb_layer_ops ebb_split_ops = {
    .name = "split",
    .formula = "y = [x1 | L(x2)]",
    .source = "Etmann et al. 2020, section 3",
    .in_place = true,
    .ignores_x = true,
    .transparent = true,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .child = child,
    .make = make,
};

ebb_layer *ebb_split(ebb_builder *b, const char *name, int channels, int first, const ebb_layer *inner)
{
  EBB_ASSERT(first > 0 && first < channels, "%d of %d channels", first, channels);
  split *l = (split *)ebb_layer_new(b, &ebb_split_ops, name, sizeof *l);
  l->channels = channels;
  l->first = first;
  l->inner = inner;
  return &l->base;
}
