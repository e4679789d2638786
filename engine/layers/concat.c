/* concat.c -- the input beside what a path makes of it: y = [x | F(x)], the skip connection of U-Nets.
 * Owns: the order of the two. Source: Ronneberger et al. 2015 (U-Net). */
#include "kernels/kernels.h"
#include "layers/operands.h"
#include "layers/layers.h"

typedef struct concat {
  ebb_layer        base;
  const ebb_layer *f;
} concat;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  ebb_shape f = ebb_layer_shape(((const concat *)layer)->f, x);
  bool      fits = !x.stream && f.rank && ebb_shape_equal(ebb_shape_channels(f, x.c), x);
  return fits ? ebb_shape_channels(x, x.c + f.c) : ebb_shape_none();
}

static ebb_view part(ebb_view y, int first, int c)
{
  return y.p ? ebb_view_channels(y, first, c) : (ebb_view){.s = ebb_shape_channels(y.s, c), .stride = y.stride};
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const concat *l = (const concat *)layer;
  if (y.p) ebb_copy(r, part(y, 0, x.s.c), x);
  ebb_forward_layer(l->f, r, x, part(y, x.s.c, y.s.c - x.s.c));
}

/* dx = dy1 + F'(x)^T dy2; F's part waits in scratch, as dx may lie over x. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  const concat *l = (const concat *)layer;
  ebb_view      f = dx;
  if (dx.p) f = ebb_scratch_view(r, x.s);
  ebb_backward_layer(l->f, r, x, part(dy, x.s.c, dy.s.c - x.s.c), f);
  if (!dx.p) return;
  ebb_copy(r, dx, part(dy, 0, x.s.c));
  if (!r->dry) ebbk->add(ebb_reals(dx), dx.stride, ebb_reals(f), f.stride, ebb_sites(x.s), x.s.c);
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  return i == 0 ? ((const concat *)layer)->f : NULL;
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = ebb_conv(b, "f", (ebb_conv_options){.in = x.c, .out = x.c + 1, .kernel = 3, .pad = 1});
  b->scope = outer;
  return ebb_concat(b, name, f);
}

const ebb_layer_ops ebb_concat_ops = {
    .name = "concat", .formula = "y = [x | F(x)]", .source = "Ronneberger et al. 2015",
    .shape = shape, .forward = forward, .backward = backward, .child = child, .make = make,
};

ebb_layer *ebb_concat(ebb_builder *b, const char *name, const ebb_layer *f)
{
  concat *l = (concat *)ebb_layer_new(b, &ebb_concat_ops, name, sizeof *l);
  l->f = f;
  return &l->base;
}
