/* orthogonal_conv.c -- y = Q x at every site on real values, Q orthogonal and learned, the product of reflections: a mixing of
 * channels whose inverse is its transpose, which stretches nothing, and whose log|det| is 0. (The stream's is mixing.c.)
 * Owns: Q's parameters; Q is put together in double at each call, 2 c^3 multiply-adds.
 * Source: Householder 1958; Etmann et al. 2020, section 4. */
#include "kernels/kernels.h"
#include "reversible/reversible.h"
#include "reversible/site_matrix.h"

typedef struct orthogonal_conv {
  ebb_layer        base;
  int              channels;
  const ebb_param *weight; /* (c or c - 1, c): the reflections' normals */
} orthogonal_conv;

static const ebb_orthogonal kind = EBB_HOUSEHOLDER;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return !x.stream && x.c == ((const orthogonal_conv *)layer)->channels ? x : ebb_shape_none();
}

/* ---- memory: in double the normals, Q, their gradients, and what these take; in real Q or its gradient; some rows (site_matrix.h) */
typedef struct desk {
  double   *w, *q, *dw, *dq, *work;
  ebb_real *matrix, *rows;
} desk;

static size_t square(int c)
{
  return (size_t)c * (size_t)c;
}

static size_t doubles(int c)
{
  return 4 * square(c) + ebb_orthogonal_scratch(c);
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return ebb_site_scratch(doubles(x.c), x.c);
}

static desk desk_of(void *scratch, int c)
{
  ebb_site_desk d = ebb_site_desk_of(scratch, doubles(c), c);
  desk          k = {.w = d.doubles, .matrix = d.matrix, .rows = d.rows};
  k.q = k.w + square(c), k.dw = k.q + square(c), k.dq = k.dw + square(c), k.work = k.dq + square(c);
  return k;
}

/* Q, in double and real. */
static void build(const orthogonal_conv *l, const ebb_run *r, const desk *k)
{
  const ebb_real *w = ebb_weights(r, l->weight);
  for (size_t i = 0; i < l->weight->count; i++) k->w[i] = (double)w[i];
  ebb_orthogonal_matrix(k->q, kind, k->w, l->channels, k->work);
  for (size_t i = 0; i < square(l->channels); i++) k->matrix[i] = (ebb_real)k->q[i];
}

/* ---- the layer ---------------------------------------------------------------------------------------------------------- */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  desk k = desk_of(scratch, y.s.c);
  build((const orthogonal_conv *)layer, r, &k);
  ebb_site_matrix(y, k.matrix, false, k.rows);
}

/* dQ = sum of dy x^T;  dx = Q^T dy, in place. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)dx;
  const orthogonal_conv *l = (const orthogonal_conv *)layer;
  int                    c = x.s.c;
  desk                   k = desk_of(scratch, c);
  ebb_real              *dw = ebb_grads(r, l->weight);
  ebbk->gemm(k.matrix, c, ebb_reals(dy), dy.stride, true, ebb_reals(x), x.stride, false, c, c, (int)ebb_sites(x.s), false);
  for (size_t i = 0; i < square(c); i++) k.dq[i] = (double)k.matrix[i];
  build(l, r, &k);
  ebb_orthogonal_gradient(k.dw, kind, k.dq, k.w, k.q, c, k.work);
  for (size_t i = 0; i < l->weight->count; i++) dw[i] += (ebb_real)k.dw[i];
  ebb_site_matrix(dy, k.matrix, true, k.rows);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  desk k = desk_of(ebb_arena_high(r->arena, scratch_bytes(layer, y.s)), y.s.c);
  if (r->dry) return;
  build((const orthogonal_conv *)layer, r, &k);
  ebb_site_matrix(y, k.matrix, true, k.rows);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_orthogonal_conv(b, name, x.c);
}

const ebb_layer_ops ebb_orthogonal_conv_ops = {
    .name = "orthogonal_conv",
    .formula = "y = Q x at every site, Q orthogonal",
    .source = "Householder 1958",
    .in_place = true,
    .logdet = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .make = make,
};

ebb_layer *ebb_orthogonal_conv(ebb_builder *b, const char *name, int channels)
{
  orthogonal_conv *l = (orthogonal_conv *)ebb_layer_new(b, &ebb_orthogonal_conv_ops, name, sizeof *l);
  ebb_param        p = {.kind = EBB_WEIGHT, .rank = 2, .dims = {ebb_orthogonal_rows(kind, channels), channels}, .fill = EBB_FILL_NORMAL, .scale = 1};
  l->channels = channels;
  l->weight = ebb_param_new(b, &l->base, "weight", p);
  return &l->base;
}
