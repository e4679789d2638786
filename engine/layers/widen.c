/* widen.c -- RevNet's shortcut without parameters: mean pool by the stride, zero channels before and behind.
 * Owns: stride and widths. Source: Gomez et al. 2017 and the authors' code (models/revnet-public). */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct widen {
  ebb_layer base;
  int       in, out, stride;
} widen;

static ebbk_pool geometry(const widen *l, ebb_shape x)
{
  ebbk_pool g = {.n = x.n, .in = {x.d, x.h, x.w}, .ci = x.c, .co = x.c};
  for (int i = 0; i < 3; i++) {
    g.kernel[i] = g.stride[i] = i >= 3 - x.rank ? l->stride : 1;
    g.out[i] = g.in[i] / g.stride[i];
  }
  return g;
}

/* Fits where the stride divides the sizes, so that it agrees with a strided convolution's output. */
static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const widen *l = (const widen *)layer;
  ebbk_pool    g = geometry(l, x);
  if (x.stream || x.c != l->in) return ebb_shape_none();
  for (int i = 0; i < 3; i++)
    if (g.in[i] % g.stride[i]) return ebb_shape_none();
  return (ebb_shape){.rank = x.rank, .n = x.n, .d = g.out[0], .h = g.out[1], .w = g.out[2], .c = l->out};
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)scratch;
  const widen *l = (const widen *)layer;
  ebbk_pool    g = geometry(l, x.s);
  ebb_view     middle = ebb_view_channels(y, (l->out - l->in) / 2, l->in);
  if (l->out > l->in) ebbk->fill(ebb_reals(y), y.stride, 0, ebb_sites(y.s), y.s.c);
  ebbk->pool_mean(ebb_reals(middle), middle.stride, ebb_reals(x), x.stride, &g);
}

/* The middle channels of y are means of x  gives  dx = their dy / (sites of a window). */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)scratch;
  const widen *l = (const widen *)layer;
  ebbk_pool    g = geometry(l, x.s);
  ebb_view     middle = ebb_view_channels(dy, (l->out - l->in) / 2, l->in);
  if (dx.p) ebbk->pool_mean_grad(ebb_reals(dx), dx.stride, ebb_reals(middle), middle.stride, &g);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_widen(b, name, x.c, x.c + 2, 1);
}

const ebb_layer_ops ebb_widen_ops = {
    .name = "widen",
    .formula = "y = (0, mean of each window, 0)",
    .source = "Gomez et al. 2017, authors' code",
    .ignores_x = true,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .make = make,
};

ebb_layer *ebb_widen(ebb_builder *b, const char *name, int in, int out, int stride)
{
  EBB_ASSERT(out >= in && (out - in) % 2 == 0, "from %d to %d channels", in, out);
  widen *l = (widen *)ebb_layer_new(b, &ebb_widen_ops, name, sizeof *l);
  l->in = in;
  l->out = out;
  l->stride = stride;
  return &l->base;
}
