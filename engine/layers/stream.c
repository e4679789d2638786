/* stream.c -- the two doors of the reversible stream: real values in, fixed point inside, real values out.
 * Owns: reporting what does not fit the stream's range. The rounding is at most 2^-21 in float; the gradient takes
 * both doors for the identity. */
#include "kernels/kernels.h"
#include "layers/layers.h"

static ebb_shape quantise_shape(const ebb_layer *l, ebb_shape x)
{
  (void)l;
  if (x.stream) return ebb_shape_none();
  x.stream = true;
  return x;
}

static ebb_shape dequantise_shape(const ebb_layer *l, ebb_shape x)
{
  (void)l;
  if (!x.stream) return ebb_shape_none();
  x.stream = false;
  return x;
}

static void quantise_forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  ebbk_range range = {0};
  ebbk->fixed_from_real(ebb_fixeds(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c, &range);
  ebb_note_range(r, l, range.count, range.worst);
}

static void dequantise_forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)l, (void)r, (void)scratch;
  ebbk->real_from_fixed(ebb_reals(y), y.stride, ebb_fixeds(x), x.stride, ebb_sites(x.s), x.s.c);
}

static void backward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)l, (void)r, (void)x, (void)scratch;
  if (dx.p && dx.p != dy.p) ebbk->copy(ebb_reals(dx), dx.stride, ebb_reals(dy), dy.stride, ebb_sites(dy.s), dy.s.c);
}

/* Whoever reads the stream needs no door. */
static ebb_layer *fuse(ebb_builder *b, ebb_layer *l, ebb_layer *next)
{
  (void)b, (void)l;
  return ebb_from_stream(next) ? next : NULL;
}

static ebb_layer *make_quantise(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_quantise(b, name);
}

static ebb_layer *make_dequantise(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_dequantise(b, name);
}

const ebb_layer_ops ebb_quantise_ops = {
    .name = "quantise", .formula = "z = round(x 2^20)", .source = "", .in_place = true, .ignores_x = true,
    .shape = quantise_shape, .forward = quantise_forward, .backward = backward, .make = make_quantise,
};

const ebb_layer_ops ebb_dequantise_ops = {
    .name = "dequantise", .formula = "x = z 2^-20", .source = "", .in_place = true, .ignores_x = true,
    .shape = dequantise_shape, .forward = dequantise_forward, .backward = backward, .fuse = fuse, .make = make_dequantise,
};

ebb_layer *ebb_quantise(ebb_builder *b, const char *name)
{
  return ebb_layer_new(b, &ebb_quantise_ops, name, sizeof(ebb_layer));
}

ebb_layer *ebb_dequantise(ebb_builder *b, const char *name)
{
  return ebb_layer_new(b, &ebb_dequantise_ops, name, sizeof(ebb_layer));
}
