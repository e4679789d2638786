/* mixing.c -- orthogonal mixing of channels at every site of the stream: y = M x, in groups of neighbours.
 * Owns: M's parameters, how they begin, and M as reflections, which a forward computes once and the way back reuses.
 * Behind a squeeze, whose patches are the groups, it is learned downsampling; transposed, in front of an unsqueeze,
 * upsampling. The stream is mixed exactly (kernels.h); gradients are those of M: dx = M^T dy, dM = sum of dy x^T.
 * Source: Etmann et al. 2020, "iUNets", section 4. Forward is within sqrt(k / 12) steps of the grid of M x, root mean square. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct mixing {
  ebb_layer          base;
  ebb_mixing_options o;
  int                groups, k, matrices;
  const ebb_param   *weight;     /* ([matrices,] rows, k); NULL: fixed                              */
  const ebb_param   *base_matrix; /* (k, k), what the parameters' matrix is multiplied on; NULL: I  */
} mixing;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const mixing *l = (const mixing *)layer;
  return x.stream && x.c == l->o.channels ? x : ebb_shape_none();
}

/* ---- memory --------------------------------------------------------------------------------------------------------- */
static size_t square(const mixing *l)
{
  return (size_t)l->k * (size_t)l->k;
}

static size_t matrix_values(const mixing *l)
{
  return (size_t)l->matrices * square(l);
}

/* m, a, beta, turn, sign */
static size_t saved_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)x;
  const mixing *l = (const mixing *)layer;
  return (2 * matrix_values(l) + 3 * (size_t)l->matrices * (size_t)l->k) * sizeof(ebb_real);
}

static ebbk_mixing saved(const ebb_run *r, const mixing *l)
{
  const ebb_real *m = ebb_saved(r, &l->base), *a = m + matrix_values(l), *beta = a + matrix_values(l);
  const ebb_real *turn = beta + (size_t)l->matrices * (size_t)l->k, *sign = turn + (size_t)l->matrices * (size_t)l->k;
  return (ebbk_mixing){.groups = l->groups, .k = l->k, .matrices = l->matrices, .m = m, .a = a, .beta = beta, .turn = turn, .sign = sign};
}

/* In double: four matrices, three vectors, and what the parametrisation takes. */
enum { MATRICES = 4 };
static size_t double_bytes(const mixing *l)
{
  return (MATRICES * square(l) + 3 * (size_t)l->k + ebb_orthogonal_scratch(l->k)) * sizeof(double);
}

/* double_bytes, dM, and the gradient kernel's. */
static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)x;
  const mixing *l = (const mixing *)layer;
  ebbk_mixing   g = {.groups = l->groups, .k = l->k, .matrices = l->matrices};
  return ebb_align(double_bytes(l)) + ebb_align(matrix_values(l) * sizeof(ebb_real)) + ebbk->mix_scratch(&g, 0);
}

/* ---- the matrix ------------------------------------------------------------------------------------------------------- */
static void to_double(double *to, const ebb_real *from, size_t count)
{
  for (size_t i = 0; i < count; i++) to[i] = (double)from[i];
}

static void to_real(ebb_real *to, const double *from, size_t count)
{
  for (size_t i = 0; i < count; i++) to[i] = (ebb_real)from[i];
}

static size_t weight_values(const mixing *l)
{
  return (size_t)ebb_orthogonal_rows(l->o.kind, l->k) * (size_t)l->k;
}

/* c = a b, or a^T b */
static void product(double *c, const double *a, const double *b, int n, bool transposed)
{
  memset(c, 0, (size_t)n * (size_t)n * sizeof *c);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double f = transposed ? a[j * n + i] : a[i * n + j];
      for (int e = 0; e < n; e++) c[i * n + e] += f * b[j * n + e];
    }
}

/* m = base Q(w) of matrix `which`, with d as scratch: w, Q, base, then the parametrisation's. */
static void matrix(double *m, const mixing *l, const ebb_run *r, int which, double *d)
{
  double *w = d, *q = w + square(l), *base = q + square(l), *rest = base + square(l);
  if (l->weight) {
    to_double(w, ebb_weights(r, l->weight) + (size_t)which * weight_values(l), weight_values(l));
    ebb_orthogonal_matrix(l->base_matrix ? q : m, l->o.kind, w, l->k, rest);
  }
  if (!l->base_matrix) return;
  to_double(base, ebb_states(r, l->base_matrix), square(l));
  if (l->weight) product(m, base, q, l->k, false);
  else memcpy(m, base, square(l) * sizeof *m);
}

/* Where the matrix by which the stream is multiplied has entry (p, q) of M. */
static size_t place(const mixing *l, int p, int q)
{
  int k = l->k, row = p + l->o.turn_out, column = q + k - l->o.turn_in;
  return (size_t)((row < k ? row : row - k) * k + (column < k ? column : column - k));
}

/* What is saved as m, from a double matrix, and back: where M is used transposed, it is saved so. */
static size_t saved_place(const mixing *l, int p, int q)
{
  size_t at = place(l, p, q), k = (size_t)l->k;
  if (!l->o.transposed) return at;
  return at % k * k + at / k;
}

/* Computes all matrices and their reflections into what is saved. */
static void prepare(const mixing *l, ebb_run *r, void *scratch)
{
  double     *m = scratch, *beta = m + square(l), *turn = beta + l->k, *sign = turn + l->k, *a = sign + l->k, *turned = a + square(l);
  ebbk_mixing g = saved(r, l);
  for (int i = 0; i < l->matrices; i++) {
    size_t    at = (size_t)i * square(l), row = (size_t)i * (size_t)l->k;
    ebb_real *to = (ebb_real *)(size_t)g.m + at;
    matrix(m, l, r, i, a);
    for (int p = 0; p < l->k; p++)
      for (int q = 0; q < l->k; q++) {
        to[saved_place(l, p, q)] = (ebb_real)m[p * l->k + q];
        turned[place(l, p, q)] = m[p * l->k + q];
      }
    ebb_orthogonal_reflections(a, beta, sign, turned, l->k);
    ebb_orthogonal_turns(turn, a, beta, l->k);
    to_real((ebb_real *)(size_t)g.a + at, a, square(l));
    to_real((ebb_real *)(size_t)g.beta + row, beta, (size_t)l->k);
    to_real((ebb_real *)(size_t)g.turn + row, turn, (size_t)l->k);
    to_real((ebb_real *)(size_t)g.sign + row, sign, (size_t)l->k);
  }
}

/* A matrix kept as m is: M, or the gradient of what the kernel multiplies by. */
static void unsave(double *to, const mixing *l, const ebb_real *from)
{
  for (int p = 0; p < l->k; p++)
    for (int q = 0; q < l->k; q++) to[p * l->k + q] = (double)from[saved_place(l, p, q)];
}

/* to = base^T to, where there is a base: from M to Q(w), and from M's gradient to Q's. */
static void take_base_off(double *to, const mixing *l, const ebb_run *r, double *scratch)
{
  double *base = scratch, *from = base + square(l);
  if (!l->base_matrix) return;
  to_double(base, ebb_states(r, l->base_matrix), square(l));
  memcpy(from, to, square(l) * sizeof *to);
  product(to, base, from, l->k, true);
}

/* dw += from dm */
static void weight_gradient(const mixing *l, ebb_run *r, const ebb_real *dm, double *scratch)
{
  size_t      values = weight_values(l);
  ebbk_mixing kept = saved(r, l);
  double     *g = scratch, *q = g + square(l), *w = q + square(l), *dq = w + square(l), *rest = dq + square(l);
  for (int i = 0; i < l->matrices; i++) {
    ebb_real *dw = ebb_grads(r, l->weight) + (size_t)i * values;
    unsave(g, l, dm + (size_t)i * square(l));
    unsave(q, l, kept.m + (size_t)i * square(l));
    take_base_off(g, l, r, rest);
    take_base_off(q, l, r, rest);
    to_double(w, ebb_weights(r, l->weight) + (size_t)i * values, values);
    ebb_orthogonal_gradient(dq, l->o.kind, g, w, q, l->k, rest);
    for (size_t j = 0; j < values; j++) dw[j] += (ebb_real)dq[j];
  }
}

/* ---- the layer ---------------------------------------------------------------------------------------------------------- */
static void mix(const mixing *l, ebb_run *r, ebb_view x, bool undo)
{
  ebbk_range  range = {0};
  ebbk_mixing g = saved(r, l);
  if (undo == l->o.transposed) ebbk->mix(ebb_fixeds(x), x.stride, &g, ebb_sites(x.s), &range);
  else ebbk->unmix(ebb_fixeds(x), x.stride, &g, ebb_sites(x.s), &range);
  if (!undo) ebb_note_range(r, &l->base, range.count, range.worst);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const mixing *l = (const mixing *)layer;
  if (r->pass != EBB_REPLAY) prepare(l, r, scratch);
  mix(l, r, y, false);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  if (!r->dry) mix((const mixing *)layer, r, y, true);
}

/* In place on dy. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  const mixing *l = (const mixing *)layer;
  ebbk_mixing   g = saved(r, l);
  char         *p = scratch;
  ebb_real     *dm = (ebb_real *)(void *)(p + ebb_align(double_bytes(l)));
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  memset(dm, 0, matrix_values(l) * sizeof *dm);
  ebbk->mix_grad(dm, ebb_reals(dx), dx.stride, ebb_fixeds(x), x.stride, &g, ebb_sites(x.s),
                 dm + ebb_align(matrix_values(l) * sizeof *dm) / sizeof *dm);
  if (l->weight) weight_gradient(l, r, dm, scratch);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  inverse(layer, r, y);
  ebb_backward_layer(layer, r, y, dy, dy);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_mixing(b, name, (ebb_mixing_options){.channels = x.c, .kind = EBB_CAYLEY, .init = EBB_MIX_RANDOM});
}

const ebb_layer_ops ebb_mixing_ops = {
    .name = "mixing",
    .formula = "y = M x, M orthogonal",
    .source = "Etmann et al. 2020, section 4",
    .in_place = true,
    .shape = shape,
    .scratch = scratch_bytes,
    .saved = saved_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .make = make,
};

/* ---- how parameters begin ------------------------------------------------------------------------------------------------ */
/* The orthogonal matrix of one axis: Haar's for 2, the discrete cosine transform (type II) else. */
static double axis_matrix(int n, int row, int column)
{
  if (n == 2) return (row && column ? -1 : 1) * sqrt(0.5);
  return sqrt((row ? 2.0 : 1.0) / n) * cos(3.14159265358979323846 * (column + 0.5) * row / n);
}

/* Kronecker's product of the axes, D slowest: the patch's order. */
static double *haar(const mixing *l, ebb_pool *pool)
{
  const int *s = l->o.stride;
  double    *m = ebb_pool_take(pool, square(l) * sizeof *m);
  EBB_ASSERT(s[0] * s[1] * s[2] == l->k, "strides %d %d %d for groups of %d", s[0], s[1], s[2], l->k);
  for (int i = 0; i < l->k; i++)
    for (int j = 0; j < l->k; j++)
      m[i * l->k + j] = axis_matrix(s[0], i / (s[1] * s[2]), j / (s[1] * s[2])) *
                        axis_matrix(s[1], i / s[2] % s[1], j / s[2] % s[1]) * axis_matrix(s[2], i % s[2], j % s[2]);
  return m;
}

/* iUNets' own parameters of a Haar-like M (rows +-1/sqrt(k)), upper entries (row, column, value) of W; NULL: they have none.
 * For the exponential all values are pi / 4 by sign; for Cayley in 1-D and 3-D others. */
typedef struct entry { int row, column, sign, cayley; } entry;
static const entry haar_1d[] = {{0, 1, 1, 1}, {-1, 0, 0, 0}};
static const entry haar_2d[] = {{0, 2, 1, 0}, {0, 3, 1, 0}, {1, 2, -1, 0}, {1, 3, -1, 0}, {-1, 0, 0, 0}};
static const entry haar_3d[] = {{0, 1, 1, 2}, {0, 2, 1, 2}, {0, 4, 1, 2}, {1, 3, 1, 2}, {1, 5, 1, 2}, {2, 3, 1, 2}, {2, 6, 1, 2},
                                {3, 7, 1, 2}, {4, 5, 1, 2}, {4, 6, 1, 2}, {5, 7, 1, 2}, {6, 7, 1, 2}, {0, 7, 0, 3}, {3, 4, 0, 3},
                                {1, 6, 0, 4}, {2, 5, 0, 4}, {-1, 0, 0, 0}};

static const entry *haar_entries(const mixing *l)
{
  const int *s = l->o.stride;
  bool       halves = s[0] <= 2 && s[1] <= 2 && s[2] <= 2;
  if (!halves || l->o.kind == EBB_HOUSEHOLDER) return NULL;
  return l->k == 2 ? haar_1d : l->k == 4 ? haar_2d : l->k == 8 ? haar_3d : NULL;
}

static double haar_value(const entry *e, ebb_orthogonal kind)
{
  const double q = sqrt(0.5), cayley[] = {0.5 * e->sign, -sqrt(2) / (2 - sqrt(2)), -q, 1 - q, q - 1};
  return kind == EBB_CAYLEY ? cayley[e->cayley] : 0.78539816339744830962 * e->sign;
}

/* W's beginning, (rows, k). */
static double *first_weights(const mixing *l, const entry *entries, ebb_pool *pool)
{
  double *w = ebb_pool_take(pool, weight_values(l) * sizeof *w); /* zero: the identity */
  for (const entry *e = entries; e && e->row >= 0; e++) w[e->row * l->k + e->column] = haar_value(e, l->o.kind);
  for (int i = 0; l->o.kind == EBB_HOUSEHOLDER && i < ebb_orthogonal_rows(l->o.kind, l->k); i++)
    w[i * l->k + i / 2] = 1; /* pairs of equal reflections: the identity */
  return w;
}

static void add_weight(mixing *l, ebb_builder *b, const entry *entries)
{
  int       rows = ebb_orthogonal_rows(l->o.kind, l->k);
  ebb_param p = {.kind = EBB_WEIGHT, .rank = 2, .dims = {rows, l->k}, .fill = EBB_FILL_NORMAL, .scale = 1};
  if (l->matrices > 1) p.rank = 3, p.dims[0] = l->matrices, p.dims[1] = rows, p.dims[2] = l->k;
  if (l->o.init != EBB_MIX_RANDOM) {
    p.fill = EBB_FILL_TABLE;
    p.values = first_weights(l, entries, b->pool);
    p.period = weight_values(l);
  }
  l->weight = ebb_param_new(b, &l->base, "weight", p);
}

static void add_base(mixing *l, ebb_builder *b)
{
  ebb_param p = {.kind = EBB_STATE, .rank = 2, .dims = {l->k, l->k}, .fill = EBB_FILL_TABLE, .period = square(l)};
  double   *values = l->o.init == EBB_MIX_HAAR ? haar(l, b->pool) : ebb_pool_take(b->pool, square(l) * sizeof *values);
  if (l->o.init == EBB_MIX_GIVEN) memcpy(values, l->o.given, square(l) * sizeof *values);
  if (l->o.init == EBB_MIX_IDENTITY)
    for (int i = 0; i < l->k; i++) values[i * l->k + i] = 1;
  p.values = values;
  l->base_matrix = ebb_param_new(b, &l->base, "base", p);
}

ebb_layer *ebb_mixing(ebb_builder *b, const char *name, ebb_mixing_options o)
{
  if (o.group == 0) o.group = o.channels;
  EBB_ASSERT(o.group > 0 && o.channels % o.group == 0, "%d channels in groups of %d", o.channels, o.group);
  EBB_ASSERT((o.turn_in == 0 && o.turn_out == 0) || (o.group == o.channels && !o.transposed), "%s: one matrix is turned", name);
  mixing *l = (mixing *)ebb_layer_new(b, &ebb_mixing_ops, name, sizeof *l);
  l->o = o;
  l->k = o.group;
  l->groups = o.channels / o.group;
  l->matrices = o.shared || o.fixed ? 1 : l->groups;
  const entry *entries = o.init == EBB_MIX_HAAR && !o.fixed ? haar_entries(l) : NULL;
  if (!o.fixed) add_weight(l, b, entries);
  if (o.fixed || o.init == EBB_MIX_GIVEN || (o.init == EBB_MIX_HAAR && !entries)) add_base(l, b);
  return &l->base;
}
