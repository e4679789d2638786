/* invertible_conv.c -- y = W x at every site, W any invertible matrix: the invertible 1x1 convolution.
 * Owns: W and what comes of it. log|det| of a sample is sites log|det W|; W and its inverse are factored in double at each
 * call that needs them, 8/3 c^3 FLOP, little beside the 2 c^2 a site.
 * Source: Kingma and Dhariwal 2018 (Glow), section 3.2. */
#include <math.h>

#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct invertible_conv {
  ebb_layer        base;
  int              channels;
  const ebb_param *weight;   /* (c, c, 1, 1): out, in */
} invertible_conv;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const invertible_conv *)layer)->channels ? x : ebb_shape_none();
}

/* ---- memory: in double W, its inverse and what that takes; the inverse in real; some rows ---------------------------- */
enum { ROWS = 4096 };

typedef struct desk {
  double   *w, *inverse, *work;
  ebb_real *back, *rows;
} desk;

static size_t square(int c)
{
  return (size_t)c * (size_t)c;
}

static size_t double_bytes(int c)
{
  return ebb_align((2 * square(c) + EBBK_INVERT_WORK(c)) * sizeof(double));
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return double_bytes(x.c) + ebb_align(square(x.c) * sizeof(ebb_real)) + ROWS * (size_t)x.c * sizeof(ebb_real);
}

static desk desk_of(void *scratch, int c)
{
  desk k = {.w = scratch};
  k.inverse = k.w + square(c), k.work = k.inverse + square(c);
  k.back = (ebb_real *)(void *)((char *)scratch + double_bytes(c));
  k.rows = (ebb_real *)(void *)((char *)k.back + ebb_align(square(c) * sizeof(ebb_real)));
  return k;
}

/* ---- W -------------------------------------------------------------------------------------------------------------- */
/* log|det W|; the inverse in double and real. A singular W is an event. */
static double factor(const invertible_conv *l, ebb_run *r, const desk *k)
{
  const ebb_real *w = ebb_weights(r, l->weight);
  for (size_t i = 0; i < square(l->channels); i++) k->w[i] = (double)w[i];
  double logdet = ebbk_invert(k->inverse, k->w, l->channels, k->work);
  if (!isfinite(logdet)) ebb_note_singular(r, &l->base);
  for (size_t i = 0; i < square(l->channels); i++) k->back[i] = (ebb_real)k->inverse[i];
  return logdet;
}

/* v = v M^T or, of transposed, v M, in place, some rows at a time. */
static void multiply(ebb_view v, const ebb_real *m, bool transposed, ebb_real *rows)
{
  int c = v.s.c;
  for (size_t i = 0, n; i < ebb_sites(v.s); i += n) {
    ebb_real *at = ebb_reals(v) + i * (size_t)v.stride;
    n = ebb_sites(v.s) - i < ROWS ? ebb_sites(v.s) - i : ROWS;
    ebbk->gemm(rows, c, at, v.stride, false, m, c, !transposed, (int)n, c, c, false);
    ebbk->copy(at, v.stride, rows, c, n, c);
  }
}

/* ---- the layer -------------------------------------------------------------------------------------------------------- */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const invertible_conv *l = (const invertible_conv *)layer;
  desk                   k = desk_of(scratch, y.s.c);
  double                *logdet = ebb_logdet(r), sites = (double)ebb_sites(y.s) / y.s.n;
  if (logdet) {
    double each = sites * factor(l, r, &k);
    for (int i = 0; i < y.s.n; i++) logdet[i] += each;
  }
  multiply(y, ebb_weights(r, l->weight), false, k.rows);
}

/* dW = sum of dy x^T + n sites dlogdet W^-T;  dx = W^T dy, in place. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)dx;
  const invertible_conv *l = (const invertible_conv *)layer;
  int                    c = x.s.c;
  desk                   k = desk_of(scratch, c);
  ebb_real              *dw = ebb_grads(r, l->weight);
  double                 weight = (double)ebb_sites(x.s) * r->dlogdet;
  ebbk->gemm(dw, c, ebb_reals(dy), dy.stride, true, ebb_reals(x), x.stride, false, c, c, (int)ebb_sites(x.s), true);
  multiply(dy, ebb_weights(r, l->weight), true, k.rows);
  if (weight == 0) return;
  factor(l, r, &k);
  for (int i = 0; i < c; i++)
    for (int j = 0; j < c; j++) dw[i * c + j] += (ebb_real)(weight * k.inverse[j * c + i]);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const invertible_conv *l = (const invertible_conv *)layer;
  desk                   k = desk_of(ebb_arena_high(r->arena, scratch_bytes(layer, y.s)), y.s.c);
  if (r->dry) return;
  factor(l, r, &k);
  multiply(y, k.back, false, k.rows);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_invertible_conv(b, name, x.c);
}

const ebb_layer_ops ebb_invertible_conv_ops = {
    .name = "invertible_conv",
    .formula = "y = W x at every site",
    .source = "Kingma and Dhariwal 2018, section 3.2",
    .in_place = true,
    .logdet = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .make = make,
};

ebb_layer *ebb_invertible_conv(ebb_builder *b, const char *name, int channels)
{
  invertible_conv *l = (invertible_conv *)ebb_layer_new(b, &ebb_invertible_conv_ops, name, sizeof *l);
  ebb_param        p = {.kind = EBB_WEIGHT, .rank = 4, .dims = {channels, channels, 1, 1}, .decay = true, .fill = EBB_FILL_ORTHOGONAL};
  l->channels = channels;
  l->weight = ebb_param_new(b, &l->base, "weight", p);
  return &l->base;
}
