/* mixing_grad.c -- the gradient of orthogonal mixing: dM, and dx = M^T dy in place. Formulas: kernels.h.
 * Owns: the order of dM's sums. Cost 2 k^2 multiply-adds a group and row. */
#include "kernels/deal.h"
#include "kernels/fast.h"

enum {
  CHUNKS = 16,                    /* of rows, each with sums of its own           */
  ROWS_LEAST = 64,                /* in a chunk                                   */
  TILE = 8,                       /* rows of dM whose sums are in registers       */
  WIDE = REGISTERS == 32 ? 2 : 1, /* vectors of columns in a tile                 */
  SMALL_GROUP = 8,                /* channels of groups that share vectors        */
  SUMMED = 2048,                  /* values a work item adds up                   */
};

/* Rows are cut into at most CHUNKS pieces, each with sums of its own, added in order. */
static size_t chunk_rows(size_t rows)
{
  size_t length = (rows + CHUNKS - 1) / CHUNKS;
  return length < ROWS_LEAST ? ROWS_LEAST : length;
}

static size_t matrix_values(const ebbk_mixing *g)
{
  return (size_t)g->groups * (size_t)g->k * (size_t)g->k;
}

size_t NAME(mix_scratch)(const ebbk_mixing *g, int threads)
{
  (void)threads;
  return CHUNKS * matrix_values(g) * sizeof(float);
}

/* dm (`tile` rows from r, `vectors` of columns from j, of which the last has n) = sum over rows of dy_r x_j, x of the stream as
 * reals */
INLINE void grad_tile(float *dm, const float *dy, int dys, const int32_t *x, int xs, int k, int r, const int tile, int j,
                      const int vectors, int n, size_t rows)
{
  vec sum[TILE][WIDE] = {{{0}}}, v[WIDE];
  dy += r;
  x += j;
  for (size_t i = 0; i < rows; i++, dy += dys, x += xs) {
    UNROLL
    for (int c = 0; c < vectors; c++) v[c] = from_int(load_tail_int(x + c * VL, c == vectors - 1 ? n : VL));
    UNROLL
    for (int u = 0; u < tile; u++)
      UNROLL
      for (int c = 0; c < vectors; c++) sum[u][c] += dy[u] * v[c];
  }
  for (int u = 0; u < tile; u++)
    for (int c = 0; c < vectors; c++)
      store_tail(dm + (r + u) * k + j + c * VL, sum[u][c] * (1 / (float)EBB_FIXED_ONE), c == vectors - 1 ? n : VL);
}

NOINLINE void wide_grad(float *dm, const float *dy, int dys, const int32_t *x, int xs, int k, int r, int j, size_t rows)
{
  grad_tile(dm, dy, dys, x, xs, k, r, TILE, j, WIDE, VL, rows);
}

static void grad_matrix(float *dm, const float *dy, int dys, const int32_t *x, int xs, int k, size_t rows)
{
  for (int r = 0; r < k; r += TILE) {
    int j = 0;
    for (; r + TILE <= k && j + WIDE * VL <= k; j += WIDE * VL) wide_grad(dm, dy, dys, x, xs, k, r, j, rows);
    for (; j < k; j += VL) {
      int n = k - j < VL ? k - j : VL;
      if (r + TILE <= k) grad_tile(dm, dy, dys, x, xs, k, r, TILE, j, 1, n, rows);
      else grad_tile(dm, dy, dys, x, xs, k, r, k - r, j, 1, n, rows);
    }
  }
}

/* d (rows, k) = d M, each row by itself: (M^T d)^T */
INLINE void transpose_rows(float *d, int ds, const float *m, int k, const int rows)
{
  float in[TILE][EBBK_MIX_MOST];
  for (int i = 0; i < rows; i++) memcpy(in[i], d + (size_t)i * (size_t)ds, (size_t)k * sizeof *d);
  for (int j = 0; j < k; j += VL) {
    int n = k - j < VL ? k - j : VL;
    vec s[TILE] = {{0}};
    for (int r = 0; r < k; r++) {
      vec v = load_tail(m + (size_t)r * (size_t)k + j, n);
      UNROLL
      for (int i = 0; i < rows; i++) s[i] += in[i][r] * v;
    }
    for (int i = 0; i < rows; i++) store_tail(d + (size_t)i * (size_t)ds + j, s[i], n);
  }
}

NOINLINE void transpose_tile(float *d, int ds, const float *m, int k)
{
  transpose_rows(d, ds, m, k, TILE);
}

NOINLINE void transpose_row(float *d, int ds, const float *m, int k)
{
  transpose_rows(d, ds, m, k, 1);
}

/* One matrix: dm = sum over rows of dx x^T, dx = M^T dx. */
static void grad_group(float *dm, float *dx, int dxs, const int32_t *x, int xs, const float *m, int k, size_t rows)
{
  size_t i = 0;
  grad_matrix(dm, dx, dxs, x, xs, k, rows);
  for (; i + TILE <= rows; i += TILE) transpose_tile(dx + i * (size_t)dxs, dxs, m, k);
  for (; i < rows; i++) transpose_row(dx + i * (size_t)dxs, dxs, m, k);
}

/* The same of all groups that fit into a vector, the first of which is number `group`. */
INLINE void grad_vector(float *dm, float *dx, int dxs, const int32_t *x, int xs, const ebbk_mixing *g, int group, const int k,
                        size_t rows)
{
  int  left = (g->groups - group) * k, lanes = left < VL ? left : VL;
  vec  m[SMALL_GROUP], sum[SMALL_GROUP] = {{0}};
  veci at[SMALL_GROUP];
  for (int u = 0; u < k; u++) {
    float   row[VL] = {0};
    int32_t from[VL];
    for (int l = 0; l < VL; l++) from[l] = l / k * k + u;
    for (int l = 0; l < lanes; l++) row[l] = g->m[ebbk_matrix_of(g, group + l / k) * (size_t)(k * k) + (size_t)(u * k + l % k)];
    m[u] = load(row), at[u] = load_tail_int(from, VL);
  }
  for (size_t i = 0; i < rows; i++, dx += dxs, x += xs) {
    vec d = load_tail(dx, lanes), v = from_int(load_tail_int(x, lanes)), out = {0};
    UNROLL
    for (int u = 0; u < k; u++) {
      vec b = permute(d, at[u]);
      sum[u] += b * v;
      out += b * m[u];
    }
    store_tail(dx, out, lanes);
  }
  for (int u = 0; u < k; u++)
    for (int l = 0; l < lanes; l++) dm[l / k * k * k + u * k + l % k] = sum[u][l] * (1 / (float)EBB_FIXED_ONE);
}

/* A chunk of rows; groups of 2, 4 and 8, those of squeezed pixels, share vectors. */
static void grad_chunk(float *dm, float *dx, int dxs, const int32_t *x, int xs, const ebbk_mixing *g, size_t rows)
{
  int k = g->k, step = k < VL && (k == 2 || k == 4 || k == 8) ? VL / k : 1;
  for (int group = 0; group < g->groups; group += step) {
    size_t         at = (size_t)group * (size_t)k;
    float         *dmi = dm + at * (size_t)k, *dxi = dx + at;
    const int32_t *xi = x + at;
    if (step == 1) grad_group(dmi, dxi, dxs, xi, xs, g->m + ebbk_matrix_of(g, group) * (size_t)(k * k), k, rows);
    else if (k == 2) grad_vector(dmi, dxi, dxs, xi, xs, g, group, 2, rows);
    else if (VL > 4 && k == 4) grad_vector(dmi, dxi, dxs, xi, xs, g, group, 4, rows);
    else if (VL > 8) grad_vector(dmi, dxi, dxs, xi, xs, g, group, 8, rows);
  }
}

/* dm (period) += partial (count / period, period), row by row */
static void add_partials(float *dm, const float *partial, size_t period, size_t count)
{
#pragma omp parallel for if (period > SUMMED)
  for (size_t first = 0; first < period; first += SUMMED) {
    size_t end = first + SUMMED < period ? first + SUMMED : period;
    for (size_t row = 0; row < count; row += period)
      for (size_t i = first; i < end; i++) dm[i] += partial[row + i];
  }
}

void NAME(mix_grad)(float *dm, float *dx, int dxs, const int32_t *x, int xs, const ebbk_mixing *g, size_t rows, void *scratch)
{
  size_t length = chunk_rows(rows), values = matrix_values(g);
  int    k = g->k, chunks = (int)((rows + length - 1) / length);
  float *partial = scratch;
  deal   d = deal_out((size_t)chunks, omp_get_max_threads());
#pragma omp parallel num_threads(d.threads)
  FOR_DEALT(chunk, d)
  {
    size_t first = (size_t)chunk * length, count = rows - first < length ? rows - first : length;
    grad_chunk(partial + (size_t)chunk * values, dx + first * (size_t)dxs, dxs, x + first * (size_t)xs, xs, g, count);
  }
  add_partials(dm, partial, (size_t)g->matrices * (size_t)k * (size_t)k, (size_t)chunks * values);
}
