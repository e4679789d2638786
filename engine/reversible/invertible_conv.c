/* invertible_conv.c -- y = W x at every site, W any invertible matrix: the invertible 1x1 convolution, plain and as
 *   W = P L (U + diag(s)),
 * P a permutation and the signs of s fixed, L unit lower and U strictly upper triangular, log|s| learned.
 * Owns: W and what comes of it. log|det| of a sample is sites log|det W|, which is sites sum log|s|; W and its inverse are
 * factored, or put together, in double at each call that needs them, 8/3 c^3 FLOP, little beside the 2 c^2 a site.
 * Source: Kingma and Dhariwal 2018 (Glow), section 3.2, Eq. 9-11. */
#include <math.h>

#include "kernels/kernels.h"
#include "reversible/reversible.h"
#include "reversible/site_matrix.h"

typedef struct invertible_conv {
  ebb_layer        base;
  int              channels;
  const ebb_param *weight;   /* (c, c, 1, 1): out, in; PLU (c, c): L below the diagonal, U above it, on it log|s| */
  const ebb_param *order, *sign; /* (c) PLU: row order[i] of W is row i of L (U + diag(s)); signs of s */
} invertible_conv;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const invertible_conv *)layer)->channels ? x : ebb_shape_none();
}

/* ---- memory: in double W, its inverse and what that takes; the inverse in real; some rows ---------------------------- */
typedef struct desk {
  double   *w, *inverse, *work;
  ebb_real *back, *rows;
} desk;

static size_t square(int c)
{
  return (size_t)c * (size_t)c;
}

static size_t doubles(int c)
{
  return 2 * square(c) + EBBK_INVERT_WORK(c);
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return ebb_site_scratch(doubles(x.c), x.c);
}

static desk desk_of(void *scratch, int c)
{
  ebb_site_desk d = ebb_site_desk_of(scratch, doubles(c), c);
  return (desk){.w = d.doubles, .inverse = d.doubles + square(c), .work = d.doubles + 2 * square(c), .back = d.matrix, .rows = d.rows};
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
  ebb_site_matrix(y, ebb_weights(r, l->weight), false, k.rows);
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
  ebb_site_matrix(dy, ebb_weights(r, l->weight), true, k.rows);
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
  ebb_site_matrix(y, k.back, false, k.rows);
}

/* ---- PLU --------------------------------------------------------------------------------------------------------------- */
/* Into k->work L and V = U + diag(s), one below the other's diagonal. Returns sum log|s|; an s that is as good as 0 is an event. */
static double factors(const invertible_conv *l, ebb_run *r, const desk *k)
{
  int             c = l->channels;
  const ebb_real *w = ebb_weights(r, l->weight), *sign = ebb_states(r, l->sign);
  double         *f = k->work, logdet = 0, largest = 0;
  for (size_t i = 0; i < square(c); i++) f[i] = (double)w[i];
  for (int i = 0; i < c; i++) {
    logdet += f[i * c + i];
    f[i * c + i] = (double)sign[i] * exp(f[i * c + i]);
    largest = fmax(largest, fabs(f[i * c + i]));
  }
  for (int i = 0; i < c; i++)
    if (!(fabs(f[i * c + i]) > EBBK_SINGULAR * largest)) ebb_note_singular(r, &l->base);
  return logdet;
}

/* W, real, of the factors. */
static void multiply_out(const invertible_conv *l, const ebb_run *r, const desk *k)
{
  int             c = l->channels;
  const ebb_real *order = ebb_states(r, l->order);
  const double   *f = k->work;
  for (int i = 0; i < c; i++)
    for (int j = 0; j < c; j++) {
      double sum = i <= j ? f[i * c + j] : 0; /* L's diagonal is 1 */
      for (int m = 0; m < i && m <= j; m++) sum += f[i * c + m] * f[m * c + j];
      k->back[(int)order[i] * c + j] = (ebb_real)sum;
    }
}

/* W^-1 = V^-1 L^-1 P^T, real, of the factors: column by column. */
static void invert(const invertible_conv *l, const ebb_run *r, const desk *k)
{
  int             c = l->channels;
  const ebb_real *order = ebb_states(r, l->order);
  const double   *f = k->work;
  double         *z = k->work + square(c);
  for (int p = 0; p < c; p++) {
    for (int i = 0; i < c; i++) {
      z[i] = i == p;
      for (int m = p; m < i; m++) z[i] -= f[i * c + m] * z[m];
    }
    for (int i = c - 1; i >= 0; i--) {
      for (int m = i + 1; m < c; m++) z[i] -= f[i * c + m] * z[m];
      z[i] /= f[i * c + i];
      k->back[i * c + (int)order[p]] = (ebb_real)z[i];
    }
  }
}

static void forward_plu(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const invertible_conv *l = (const invertible_conv *)layer;
  desk                   k = desk_of(scratch, y.s.c);
  double                *logdet = ebb_logdet(r), each = (double)ebb_sites(y.s) / y.s.n * factors(l, r, &k);
  for (int i = 0; logdet && i < y.s.n; i++) logdet[i] += each;
  multiply_out(l, r, &k);
  ebb_site_matrix(y, k.back, false, k.rows);
}

/* M = P^T dW, dW the sum of dy x^T, gives  dL = M V^T,  dV = L^T M  where these are not fixed;  dlog|s| = s dV + n sites dlogdet. */
static void gradient(const invertible_conv *l, const ebb_run *r, const desk *k, const ebb_real *dw, double weight)
{
  int             c = l->channels;
  const ebb_real *order = ebb_states(r, l->order);
  const double   *f = k->work;
  ebb_real       *d = ebb_grads(r, l->weight);
  for (int i = 0; i < c; i++)
    for (int j = 0; j < c; j++) k->w[i * c + j] = (double)dw[(int)order[i] * c + j];
  for (int i = 0; i < c; i++)
    for (int j = 0; j < c; j++) {
      double sum = i <= j ? k->w[i * c + j] : 0;
      for (int m = j; i > j && m < c; m++) sum += k->w[i * c + m] * f[j * c + m];
      for (int m = i + 1; i <= j && m < c; m++) sum += f[m * c + i] * k->w[m * c + j];
      d[i * c + j] += (ebb_real)(i == j ? f[i * c + i] * sum + weight : sum);
    }
}

static void backward_plu(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)dx;
  const invertible_conv *l = (const invertible_conv *)layer;
  int                    c = x.s.c;
  desk                   k = desk_of(scratch, c);
  factors(l, r, &k);
  ebbk->gemm(k.back, c, ebb_reals(dy), dy.stride, true, ebb_reals(x), x.stride, false, c, c, (int)ebb_sites(x.s), false);
  gradient(l, r, &k, k.back, (double)ebb_sites(x.s) * r->dlogdet);
  multiply_out(l, r, &k);
  ebb_site_matrix(dy, k.back, true, k.rows);
}

static void inverse_plu(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const invertible_conv *l = (const invertible_conv *)layer;
  desk                   k = desk_of(ebb_arena_high(r->arena, scratch_bytes(layer, y.s)), y.s.c);
  if (r->dry) return;
  factors(l, r, &k);
  invert(l, r, &k);
  ebb_site_matrix(y, k.back, false, k.rows);
}

static void swap_rows(ebb_real *w, int c, int a, int b)
{
  for (int j = 0; j < c; j++) {
    ebb_real t = w[a * c + j];
    w[a * c + j] = w[b * c + j];
    w[b * c + j] = t;
  }
}

/* The factors of the orthogonal matrix that was drawn, by elimination with pivots. */
static void begin_plu(const ebb_layer *layer, ebb_real *weights, ebb_real *state)
{
  const invertible_conv *l = (const invertible_conv *)layer;
  ebb_real              *w = weights + l->weight->offset, *order = state + l->order->offset, *sign = state + l->sign->offset;
  int                    c = l->channels;
  for (int i = 0; i < c; i++) order[i] = (ebb_real)i;
  for (int i = 0; i < c; i++) {
    int best = i;
    for (int m = i + 1; m < c; m++)
      if (fabs((double)w[m * c + i]) > fabs((double)w[best * c + i])) best = m;
    swap_rows(w, c, i, best);
    swap_rows(order, 1, i, best);
    for (int m = i + 1; m < c; m++) {
      w[m * c + i] /= w[i * c + i];
      for (int j = i + 1; j < c; j++) w[m * c + j] -= w[m * c + i] * w[i * c + j];
    }
  }
  for (int i = 0; i < c; i++) {
    sign[i] = w[i * c + i] < 0 ? -1 : 1;
    w[i * c + i] = (ebb_real)log(fabs((double)w[i * c + i]));
  }
}

/* ---- catalogue --------------------------------------------------------------------------------------------------------- */
static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_invertible_conv(b, name, x.c);
}

static ebb_layer *make_plu(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_plu_conv(b, name, x.c);
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

const ebb_layer_ops ebb_plu_conv_ops = {
    .name = "plu_conv",
    .formula = "y = P L (U + diag(s)) x at every site",
    .source = "Kingma and Dhariwal 2018, Eq. 10-11",
    .in_place = true,
    .logdet = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward_plu,
    .backward = backward_plu,
    .inverse = inverse_plu,
    .begin = begin_plu,
    .make = make_plu,
};

ebb_layer *ebb_invertible_conv(ebb_builder *b, const char *name, int channels)
{
  invertible_conv *l = (invertible_conv *)ebb_layer_new(b, &ebb_invertible_conv_ops, name, sizeof *l);
  ebb_param        p = {.kind = EBB_WEIGHT, .rank = 4, .dims = {channels, channels, 1, 1}, .decay = true, .fill = EBB_FILL_ORTHOGONAL};
  l->channels = channels;
  l->weight = ebb_param_new(b, &l->base, "weight", p);
  return &l->base;
}

ebb_layer *ebb_plu_conv(ebb_builder *b, const char *name, int channels)
{
  invertible_conv *l = (invertible_conv *)ebb_layer_new(b, &ebb_plu_conv_ops, name, sizeof *l);
  ebb_param        weight = {.kind = EBB_WEIGHT, .rank = 2, .dims = {channels, channels}, .decay = true, .fill = EBB_FILL_ORTHOGONAL};
  ebb_param        p = {.kind = EBB_STATE, .rank = 1, .dims = {channels}, .fill = EBB_FILL_ONE};
  l->channels = channels;
  l->weight = ebb_param_new(b, &l->base, "weight", weight);
  l->sign = ebb_param_new(b, &l->base, "sign", p);
  p.places = true;
  l->order = ebb_param_new(b, &l->base, "order", p);
  return &l->base;
}
