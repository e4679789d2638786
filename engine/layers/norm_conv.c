/* norm_conv.c -- a norm with its activation and the convolution behind it, as one layer: y = conv(act(norm(x))).
 * Owns: the order of the two. Its bits are those of the composition; what it spares is the activated tensor, which is never
 * written: the convolution and its weight gradient map x as they read it. Sequences put it in the place of the two.
 *
 * Passes over x-sized memory, forward: x for the statistics, unless they were taken when it was written; x and y for the rest.
 * Backward: x, dy and da (written), and y where it is taken back, for the weights, the activation's gradient and the norm's
 * sums; x, da and dx for the norm's gradient. With more than 32 channels in the plane the former are passes of their own: x and
 * y; x and dy; dy and da; x and da. */
#include "base/threads.h"
#include "layers/conv.h"
#include "layers/layers.h"
#include "layers/norm.h"

typedef struct norm_conv {
  ebb_layer  base;
  ebb_layer *norm, *conv;
} norm_conv;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const norm_conv *l = (const norm_conv *)layer;
  ebb_shape        a = ebb_layer_shape(l->norm, x);
  return a.rank ? ebb_layer_shape(l->conv, a) : a;
}

static size_t saved_bytes(const ebb_layer *layer, ebb_shape x)
{
  return ebb_norm_saved(((const norm_conv *)layer)->norm, x);
}

/* The scratch: the norm's, the convolution's, and on the way back da. */
static size_t norm_bytes(const norm_conv *l, ebb_shape x)
{
  return ebb_align(ebb_norm_scratch(l->norm, x));
}

static size_t conv_bytes(const norm_conv *l, ebb_shape x)
{
  ebbk_conv g = ebb_conv_geometry(l->conv, x);
  return ebb_align(ebbk->conv_scratch(&g, ebb_threads()));
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  const norm_conv *l = (const norm_conv *)layer;
  return norm_bytes(l, x) + conv_bytes(l, x);
}

static size_t backward_bytes(const ebb_layer *layer, ebb_shape x)
{
  return scratch_bytes(layer, x) + ebb_bytes(x);
}

static void apply(const norm_conv *l, ebb_run *r, ebb_view x, ebbk_output y, char *scratch)
{
  ebbk_input read = ebb_norm_read(l->norm, r, x, true, ebb_saved(r, &l->base), scratch);
  ebb_conv_apply(l->conv, r, read, x.s, y, scratch + norm_bytes(l, x.s));
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  apply((const norm_conv *)layer, r, x, ebb_output(y), scratch);
}

static void update(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign, void *scratch)
{
  ebbk_range range = {0};
  apply((const norm_conv *)layer, r, x, ebb_stream_output(z, sign, &range), scratch);
  ebb_note_range(r, layer, range.count, range.worst);
}

/* The results once more to y, unless its memory is NULL. */
static void back(const norm_conv *l, ebb_run *r, ebb_view x, ebbk_output y, ebb_view dy, ebb_view dx, char *scratch)
{
  char          *conv = scratch + norm_bytes(l, x.s);
  void          *saved = ebb_saved(r, &l->base);
  ebb_view       da = ebb_view_of(conv + conv_bytes(l, x.s), ebb_shape_real(x.s));
  ebb_norm_sums  want = ebb_norm_wants(l->norm, x.s, saved, scratch);
  ebbk_conv_back k = {.x = ebb_norm_read(l->norm, r, x, false, saved, scratch), .dx = ebb_output(da), .y = y,
                      .mean = want.mean, .sum_dz = want.dz, .sum_dzx = want.dzx};
  ebb_conv_backward(l->conv, r, k, x.s, dy, conv);
  ebb_norm_backward(l->norm, r, k.x, x, (ebbk_output){0}, da, dx, saved, scratch);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  back((const norm_conv *)layer, r, x, (ebbk_output){0}, dy, dx, scratch);
}

static void undo(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx, void *scratch)
{
  back((const norm_conv *)layer, r, x, ebb_stream_output(z, EBB_MINUS, NULL), dy, dx, scratch);
}

static ebb_layer *measures(ebb_layer *layer)
{
  return ((norm_conv *)layer)->norm;
}

static void precedes(ebb_layer *layer, const ebb_layer *norm)
{
  ebb_layer *conv = ((norm_conv *)layer)->conv;
  conv->ops->precedes(conv, norm);
}

static const ebb_layer *part(const ebb_layer *layer, int i)
{
  const norm_conv *l = (const norm_conv *)layer;
  return i == 0 ? l->norm : i == 1 ? l->conv : NULL;
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *norm = ebb_batch_norm(b, "norm", (ebb_norm_options){.channels = x.c, .eps = 1e-5, .momentum = 0.1});
  norm->ops->absorb(norm, ebb_relu(b, "relu"));
  ebb_layer *conv = ebb_conv(b, "conv", (ebb_conv_options){.in = x.c, .out = x.c, .kernel = 3, .pad = 1, .bias = true});
  b->scope = outer;
  return ebb_norm_conv(b, norm, conv);
}

const ebb_layer_ops ebb_norm_conv_ops = {
    .name = "norm_conv",
    .formula = "y = conv(act(norm(x)))",
    .source = "",
    .shape = shape,
    .scratch = scratch_bytes,
    .backward_scratch = backward_bytes,
    .saved = saved_bytes,
    .forward = forward,
    .update = update,
    .backward = backward,
    .undo = undo,
    .from_stream = ebb_yes,
    .measures = measures,
    .precedes = precedes,
    .part = part,
    .make = make,
};

ebb_layer *ebb_norm_conv(ebb_builder *b, ebb_layer *norm, ebb_layer *conv)
{
  const char *outer = b->scope;
  b->scope = "";
  norm_conv *l = (norm_conv *)ebb_layer_new(b, &ebb_norm_conv_ops, conv->name, sizeof *l);
  b->scope = outer;
  l->norm = norm;
  l->conv = conv;
  return &l->base;
}
