/* mixing.c -- orthogonal mixing of channels on the stream, and its gradient. Formulas: kernels.h.
 * Owns: the order of sums, which mixing and its inverse must share. A block of VL rows is transposed, so that a lane is a
 * row and a reflection is a walk along the channels. Cost k^2 + k multiply-adds and k^2 / 2 roundings a group and row. */
#include "kernels/fixed.h"
#include "kernels/lines.h"

enum { MOST_CHANNELS = 1024, CHUNKS = 16, ROWS_LEAST = 64 };

/* ---- one block -------------------------------------------------------------------------------------------------- */
/* sum over first <= j < k of a_j x_j, in an order of its own. */
INLINE vec weighted_sum(const veci *x, const float *a, int first, int k)
{
  vec s[4] = {{0}};
  int j = first;
  for (; j + 4 <= k; j += 4)
    for (int u = 0; u < 4; u++) s[u] += a[j + u] * from_int(x[j + u]);
  for (; j < k; j++) s[0] += a[j] * from_int(x[j]);
  return (s[0] + s[1]) + (s[2] + s[3]);
}

/* x += q(v) or x -= q(v); *bad: lanes that left the range, if `check` asks. */
INLINE veci shear(veci x, vec v, bool minus, bool check, veci *bad)
{
  bool in = true;
  veci q = check ? quantise(v, &in) : round_to_int(v);
  veci sum = minus ? (veci)((vecu)x - (vecu)q) : (veci)((vecu)x + (vecu)q);
  if (check) *bad |= ~((v >= -limit) & (v < limit)) | ((minus ? (x ^ q) & (x ^ sum) : (x ^ sum) & (q ^ sum)) < 0);
  return sum;
}

INLINE void reflect(veci *x, const float *a, float beta, int i, int k, bool check, veci *bad)
{
  x[i] = shear(x[i], weighted_sum(x, a, i + 1, k), false, check, bad);
  vec t = beta * from_int(x[i]);
  for (int j = i + 1; j < k; j++) x[j] = shear(x[j], a[j] * t, true, check, bad);
  x[i] = (veci)(0 - (vecu)x[i]);
  x[i] = shear(x[i], weighted_sum(x, a, i + 1, k), true, check, bad);
}

INLINE void signs(veci *x, const float *sign, int k)
{
  for (int j = 0; j < k; j++)
    if (sign[j] < 0) x[j] = (veci)(0 - (vecu)x[j]);
}

INLINE void mix_group(veci *x, const ebbk_mixing *g, int group, bool undo, bool check, veci *bad)
{
  int          k = g->k;
  size_t       at = ebbk_matrix_of(g, group) * (size_t)k;
  const float *a = g->a + at * (size_t)k, *beta = g->beta + at, *sign = g->sign + at;
  if (!undo) signs(x, sign, k);
  for (int step = 0; step < k - 1; step++) {
    int i = undo ? step : k - 2 - step;
    reflect(x, a + (size_t)i * (size_t)k, beta[i], i, k, check, bad);
  }
  if (undo) signs(x, sign, k);
}

NOINLINE void mix_unchecked(veci *x, const ebbk_mixing *g, int group, bool undo)
{
  veci bad;
  mix_group(x, g, group, undo, false, &bad);
}

NOINLINE void mix_checked(veci *x, const ebbk_mixing *g, int group, bool undo, veci *bad)
{
  mix_group(x, g, group, undo, true, bad);
}

/* No value on the way is larger than |x| sqrt(k): what H_i's first shear makes is (v^T x), and |v|^2 <= k. Where that is
 * within the range, nothing needs a check. */
INLINE bool may_leave(const veci *x, int k, vec *norm2)
{
  vec sum = {0};
  for (int j = 0; j < k; j++) {
    vec v = from_int(x[j]);
    sum += v * v;
  }
  *norm2 = sum;
  return any(~(sum < 0.99f * (limit * limit / (float)k)));
}

/* Only lanes below `lanes` are somebody's. */
static void mix_block(veci *x, const ebbk_mixing *g, int group, bool undo, int lanes, ebbk_range *seen)
{
  vec  norm2;
  veci bad = {0};
  if (!may_leave(x, g->k, &norm2)) {
    mix_unchecked(x, g, group, undo);
    return;
  }
  mix_checked(x, g, group, undo, &bad);
  for (int i = 0; i < lanes; i++)
    if (bad[i]) note(seen, sqrt((double)norm2[i]) / (double)EBB_FIXED_ONE);
}

/* ---- all rows ----------------------------------------------------------------------------------------------------- */
INLINE void gather(veci *x, const int32_t *p, int stride, int k, int lanes)
{
  int32_t *to = (int32_t *)x;
  for (int i = 0; i < lanes; i++)
    for (int j = 0; j < k; j++) to[j * VL + i] = p[(size_t)i * (size_t)stride + (size_t)j];
  for (int i = lanes; i < VL; i++)
    for (int j = 0; j < k; j++) to[j * VL + i] = 0;
}

INLINE void scatter(int32_t *p, int stride, const veci *x, int k, int lanes)
{
  const int32_t *from = (const int32_t *)x;
  for (int i = 0; i < lanes; i++)
    for (int j = 0; j < k; j++) p[(size_t)i * (size_t)stride + (size_t)j] = from[j * VL + i];
}

static void mix_rows(int32_t *x, int xs, const ebbk_mixing *g, size_t rows, bool undo, ebbk_range *range)
{
  ptrdiff_t blocks = (ptrdiff_t)((rows + VL - 1) / VL);
  uint64_t  count = 0;
  double    worst = 0;
  EBB_ASSERT(g->k <= MOST_CHANNELS, "mixing of %d channels, at most %d", g->k, MOST_CHANNELS);
#pragma omp parallel for schedule(static) if (blocks > 4) reduction(+ : count) reduction(max : worst)
  for (ptrdiff_t b = 0; b < blocks; b++) {
    veci       block[MOST_CHANNELS];
    ebbk_range seen = {0};
    size_t     first = (size_t)b * VL;
    int        lanes = rows - first < VL ? (int)(rows - first) : VL;
    for (int group = 0; group < g->groups; group++) {
      int32_t *p = x + first * (size_t)xs + (size_t)group * (size_t)g->k;
      gather(block, p, xs, g->k, lanes);
      mix_block(block, g, group, undo, lanes, &seen);
      scatter(p, xs, block, g->k, lanes);
    }
    count += seen.count;
    worst = seen.worst > worst ? seen.worst : worst;
  }
  add_range(range, count, worst);
}

void NAME(mix)(int32_t *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range)
{
  mix_rows(x, xs, g, rows, false, range);
}

void NAME(unmix)(int32_t *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range)
{
  mix_rows(x, xs, g, rows, true, range);
}

/* ---- gradient --------------------------------------------------------------------------------------------------- */
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

enum { TILE = 8 };

/* dm (TILE or fewer rows from r, up to VL columns from j) = sum over rows of dy_r x_j, x of the stream as reals */
INLINE void grad_tile(float *dm, const float *dy, int dys, const int32_t *x, int xs, int k, int r, int tile, int j,
                      size_t rows)
{
  int n = k - j < VL ? k - j : VL;
  vec sum[TILE] = {{0}};
  for (size_t i = 0; i < rows; i++) {
    vec          v = from_int(load_tail_int(x + i * (size_t)xs + j, n));
    const float *d = dy + i * (size_t)dys + r;
    for (int u = 0; u < tile; u++) sum[u] += d[u] * v;
  }
  for (int u = 0; u < tile; u++) store_tail(dm + (r + u) * k + j, sum[u] * (1 / (float)EBB_FIXED_ONE), n);
}

static void grad_matrix(float *dm, const float *dy, int dys, const int32_t *x, int xs, int k, size_t rows)
{
  for (int r = 0; r < k; r += TILE)
    for (int j = 0; j < k; j += VL) {
      if (k - r >= TILE) grad_tile(dm, dy, dys, x, xs, k, r, TILE, j, rows);
      else grad_tile(dm, dy, dys, x, xs, k, r, k - r, j, rows);
    }
}

/* d (k) = M^T d */
INLINE void transpose_product(float *d, const float *m, int k)
{
  float out[MOST_CHANNELS];
  for (int j = 0; j < k; j += VL) {
    int n = k - j < VL ? k - j : VL;
    vec s[2] = {{0}};
    int r = 0;
    for (; r + 2 <= k; r += 2)
      for (int u = 0; u < 2; u++) s[u] += d[r + u] * load_tail(m + (size_t)(r + u) * (size_t)k + j, n);
    if (r < k) s[0] += d[r] * load_tail(m + (size_t)r * (size_t)k + j, n);
    store_tail(out + j, s[0] + s[1], n);
  }
  memcpy(d, out, (size_t)k * sizeof *d);
}

void NAME(mix_grad)(float *dm, float *dx, int dxs, const int32_t *x, int xs, const ebbk_mixing *g, size_t rows, void *scratch)
{
  size_t length = chunk_rows(rows), values = matrix_values(g);
  int    k = g->k, chunks = (int)((rows + length - 1) / length);
  float *partial = scratch;
#pragma omp parallel for schedule(static)
  for (int chunk = 0; chunk < chunks; chunk++) {
    size_t first = (size_t)chunk * length, count = rows - first < length ? rows - first : length;
    for (int group = 0; group < g->groups; group++) {
      size_t       at = (size_t)group * (size_t)k;
      float       *d = dx + first * (size_t)dxs + at;
      const float *m = g->m + ebbk_matrix_of(g, group) * (size_t)k * (size_t)k;
      grad_matrix(partial + (size_t)chunk * values + at * (size_t)k, d, dxs, x + first * (size_t)xs + at, xs, k, count);
      for (size_t i = 0; i < count; i++) transpose_product(d + i * (size_t)dxs, m, k);
    }
  }
  size_t period = (size_t)g->matrices * (size_t)k * (size_t)k;
  for (size_t i = 0; i < (size_t)chunks * values; i++) dm[i % values % period] += partial[i];
}
