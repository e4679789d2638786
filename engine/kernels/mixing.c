/* mixing.c -- orthogonal mixing of channels on the stream, and its gradient. Formulas: kernels.h.
 * Owns: the order of sums, which mixing and its inverse must share. A block of rows is transposed, so that a lane is a
 * row and a reflection is a walk along the channels. Cost k^2 + k multiply-adds and k^2 / 2 roundings a group and row. */
#include "kernels/fixed.h"
#include "kernels/lines.h"

enum {
  MOST_CHANNELS = 1024,
  CHUNKS = 16,
  ROWS_LEAST = 64,
  PARTS = REGISTERS == 32 ? 4 : 1, /* vectors of rows that share what is loaded of a, and fill each other's waits */
  SUMS = REGISTERS == 32 ? 2 : 4,  /* with these there are sums enough to hide an addition's latency */
  BLOCK_ROWS = PARTS * VL,
};

/* One channel of a block of rows, on the stream and as reals. */
typedef struct fixeds { veci of[PARTS]; } fixeds;
typedef struct reals { vec of[PARTS]; } reals;

#define EACH_PART(p) UNROLL for (int p = 0; p < PARTS; p++)

/* ---- one reflection ----------------------------------------------------------------------------------------------- */
/* x += q(v) or x -= q(v); *bad: lanes that left the range, if `check` asks. */
INLINE veci shear(veci x, vec v, bool minus, bool check, veci *bad)
{
  bool in = true;
  veci q = check ? quantise(v, &in) : round_to_int(v);
  veci sum = minus ? (veci)((vecu)x - (vecu)q) : (veci)((vecu)x + (vecu)q);
  if (check) *bad |= ~((v >= -limit) & (v < limit)) | ((minus ? (x ^ q) & (x ^ sum) : (x ^ sum) & (q ^ sum)) < 0);
  return sum;
}

/* The weighted sum of reflection i, sum over j > i of a_j x_j, in an order that can be had on the way to it from either
 * side: SUMS sums, of j = k - 1, k - 1 - SUMS .. down to i + 2, of k - 2 .. and so on; these in pairs; then j = i + 1. */
typedef struct sums { reals of[SUMS], last; } sums;

INLINE reals total(const sums *s)
{
  reals t;
  EACH_PART(p)
  {
    t.of[p] = s->of[0].of[p] + s->of[1].of[p];
    if (SUMS == 4) t.of[p] += s->of[SUMS - 2].of[p] + s->of[SUMS - 1].of[p];
    t.of[p] += s->last.of[p];
  }
  return t;
}

/* sum += a v */
INLINE void add_product(reals *sum, float a, const reals *v)
{
  vec w = broadcast(a);
  EACH_PART(p) sum->of[p] = multiply_add(w, v->of[p], sum->of[p]);
}

/* The same to sum number `which`, a variable, of registers. */
INLINE void add_to(sums *s, int which, float a, const reals *v)
{
  UNROLL
  for (int u = 0; u < SUMS; u++)
    if (u == which) add_product(&s->of[u], a, v);
}

INLINE reals last_of(float a, const reals *v)
{
  reals r;
  EACH_PART(p) r.of[p] = settled(a * v->of[p]);
  return r;
}

INLINE reals to_reals(const fixeds *x)
{
  reals r;
  EACH_PART(p) r.of[p] = from_int(x->of[p]);
  return r;
}

static reals weighted_sum(const fixeds *x, const float *a, int i, int k)
{
  sums  s = {.last = {{{0}}}};
  reals v;
  for (int j = k - 1; j > i + 1; j--) {
    v = to_reals(&x[j]);
    add_to(&s, (k - 1 - j) % SUMS, a[j], &v);
  }
  v = to_reals(&x[i + 1]);
  s.last = last_of(a[i + 1], &v);
  return total(&s);
}

/* x_j -= q(a_j t), returned as reals */
INLINE reals shear_one(fixeds *x, float a, const reals *t, bool check, veci *bad)
{
  vec w = broadcast(a);
  EACH_PART(p) x->of[p] = shear(x->of[p], w * t->of[p], true, check, &bad[p]);
  return to_reals(x);
}

/* H_i, whose first weighted sum is `first`; returns that of the reflection that follows, of row `b`: i + 1 if `up`, else
 * i - 1. One pass over x, which serves three sums. */
INLINE reals reflect(fixeds *x, const float *a, float beta, int i, int k, reals first, const float *b, const bool up,
                     const bool check, veci *bad)
{
  sums  own = {.last = {{{0}}}}, next = {.last = {{{0}}}};
  int   j = k - 1, end = i + 3;
  reals t, v;
  EACH_PART(p)
  {
    x[i].of[p] = shear(x[i].of[p], first.of[p], false, check, &bad[p]);
    t.of[p] = beta * from_int(x[i].of[p]);
  }
  for (; j - SUMS + 1 >= end; j -= SUMS) {
    UNROLL
    for (int u = 0; u < SUMS; u++) {
      v = shear_one(&x[j - u], a[j - u], &t, check, bad);
      add_product(&own.of[u], a[j - u], &v);
      add_product(&next.of[u], b[j - u], &v);
    }
  }
  for (int u = 0; j >= end; j--, u++) { /* fewer than SUMS */
    v = shear_one(&x[j], a[j], &t, check, bad);
    add_to(&own, u, a[j], &v);
    add_to(&next, u, b[j], &v);
  }
  if (i + 2 < k) {
    v = shear_one(&x[i + 2], a[i + 2], &t, check, bad);
    add_to(&own, (k - 3 - i) % SUMS, a[i + 2], &v);
    if (up) next.last = last_of(b[i + 2], &v);
    else add_to(&next, (k - 3 - i) % SUMS, b[i + 2], &v);
  }
  v = shear_one(&x[i + 1], a[i + 1], &t, check, bad);
  own.last = last_of(a[i + 1], &v);
  if (!up) add_to(&next, (k - 2 - i) % SUMS, b[i + 1], &v);
  reals all = total(&own);
  EACH_PART(p) x[i].of[p] = shear((veci)(0 - (vecu)x[i].of[p]), all.of[p], true, check, &bad[p]);
  v = to_reals(&x[i]);
  if (!up) next.last = last_of(b[i], &v);
  return total(&next);
}

/* ---- one group of one block ----------------------------------------------------------------------------------------- */
INLINE void signs(fixeds *x, const float *sign, int k)
{
  for (int j = 0; j < k; j++)
    if (sign[j] < 0) EACH_PART(p) x[j].of[p] = (veci)(0 - (vecu)x[j].of[p]);
}

/* The rows of a are walked up or down; the last has no next one, and takes itself for it. */
INLINE void mix_group(fixeds *x, const ebbk_mixing *g, int group, const bool undo, const bool check, veci *bad)
{
  int          k = g->k;
  size_t       at = ebbk_matrix_of(g, group) * (size_t)k;
  const float *a = g->a + at * (size_t)k, *beta = g->beta + at, *sign = g->sign + at;
  if (!undo) signs(x, sign, k);
  if (k > 1) {
    int   i = undo ? 0 : k - 2;
    reals first = weighted_sum(x, a + (size_t)i * (size_t)k, i, k);
    for (int step = 0; step < k - 1; step++, i += undo ? 1 : -1) {
      const float *row = a + (size_t)i * (size_t)k;
      const float *next = step == k - 2 ? row : undo ? row + k : row - k;
      first = reflect(x, row, beta[i], i, k, first, next, undo, check, bad);
    }
  }
  if (undo) signs(x, sign, k);
}

NOINLINE void mix_unchecked(fixeds *x, const ebbk_mixing *g, int group, bool undo)
{
  veci bad[PARTS];
  if (undo) mix_group(x, g, group, true, false, bad);
  else mix_group(x, g, group, false, false, bad);
}

NOINLINE void mix_checked(fixeds *x, const ebbk_mixing *g, int group, bool undo, veci *bad)
{
  if (undo) mix_group(x, g, group, true, true, bad);
  else mix_group(x, g, group, false, true, bad);
}

/* No value on the way is larger than |x| sqrt(k): what H_i's first shear makes is (v^T x), and |v|^2 <= k. Where that is
 * within the range, nothing needs a check. */
INLINE bool may_leave(const fixeds *x, int k, reals *norm2)
{
  reals sum = {{{0}}};
  bool  may = false;
  for (int j = 0; j < k; j++) {
    reals v = to_reals(&x[j]);
    EACH_PART(p) sum.of[p] += v.of[p] * v.of[p];
  }
  *norm2 = sum;
  EACH_PART(p) may |= any_negative(~(sum.of[p] < 0.99f * (limit * limit / (float)k)));
  return may;
}

/* Only lanes below `lanes` are somebody's. */
static void mix_block(fixeds *x, const ebbk_mixing *g, int group, bool undo, int lanes, ebbk_range *seen)
{
  reals norm2;
  veci  bad[PARTS] = {{0}};
  if (!may_leave(x, g->k, &norm2)) {
    mix_unchecked(x, g, group, undo);
    return;
  }
  mix_checked(x, g, group, undo, bad);
  for (int i = 0; i < lanes; i++)
    if (bad[i / VL][i % VL]) note(seen, sqrt((double)norm2.of[i / VL][i % VL]) / (double)EBB_FIXED_ONE);
}

/* ---- all rows ----------------------------------------------------------------------------------------------------- */
/* VL rows of `channels` channels become part p of those channels, and back. Lanes without a row are zeros. */
static void gather(fixeds *x, int p, const int32_t *from, int stride, int channels, int lanes)
{
  for (int j = 0; j < channels; j += VL) {
    veci square[VL];
    int  n = channels - j < VL ? channels - j : VL;
    for (int i = 0; i < VL; i++) square[i] = i < lanes ? load_tail_int(from + (size_t)i * (size_t)stride + j, n) : (veci){0};
    transpose(square);
    for (int i = 0; i < n; i++) x[j + i].of[p] = square[i];
  }
}

static void scatter(int32_t *to, int stride, const fixeds *x, int p, int channels, int lanes)
{
  for (int j = 0; j < channels; j += VL) {
    veci square[VL];
    int  n = channels - j < VL ? channels - j : VL;
    for (int i = 0; i < VL; i++) square[i] = i < n ? x[j + i].of[p] : (veci){0};
    transpose(square);
    for (int i = 0; i < lanes; i++) store_tail_int(to + (size_t)i * (size_t)stride + j, square[i], n);
  }
}

/* Rows of part p among `lanes`. */
INLINE int part_lanes(int p, int lanes)
{
  int left = lanes - p * VL;
  return left < 0 ? 0 : left < VL ? left : VL;
}

/* As many groups at a time as a block has room for. */
static void mix_lanes(int32_t *x, int xs, const ebbk_mixing *g, int lanes, bool undo, ebbk_range *seen)
{
  fixeds block[MOST_CHANNELS];
  int    room = MOST_CHANNELS / g->k;
  for (int first = 0; first < g->groups; first += room) {
    int      count = g->groups - first < room ? g->groups - first : room, channels = count * g->k;
    int32_t *rows = x + (size_t)first * (size_t)g->k;
    for (int p = 0; p < PARTS; p++)
      gather(block, p, rows + (size_t)(p * VL) * (size_t)xs, xs, channels, part_lanes(p, lanes));
    for (int i = 0; i < count; i++) mix_block(block + i * g->k, g, first + i, undo, lanes, seen);
    for (int p = 0; p < PARTS; p++)
      scatter(rows + (size_t)(p * VL) * (size_t)xs, xs, block, p, channels, part_lanes(p, lanes));
  }
}

static void mix_rows(int32_t *x, int xs, const ebbk_mixing *g, size_t rows, bool undo, ebbk_range *range)
{
  ptrdiff_t blocks = (ptrdiff_t)((rows + BLOCK_ROWS - 1) / BLOCK_ROWS);
  uint64_t  count = 0;
  double    worst = 0;
  EBB_ASSERT(g->k <= MOST_CHANNELS, "mixing of %d channels, at most %d", g->k, MOST_CHANNELS);
#pragma omp parallel for schedule(dynamic, 4) if (blocks > 2) reduction(+ : count) reduction(max : worst)
  for (ptrdiff_t b = 0; b < blocks; b++) {
    ebbk_range seen = {0};
    size_t     first = (size_t)b * BLOCK_ROWS;
    int        lanes = rows - first < BLOCK_ROWS ? (int)(rows - first) : BLOCK_ROWS;
    mix_lanes(x + first * (size_t)xs, xs, g, lanes, undo, &seen);
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

enum {
  TILE = 8,
  WIDE = REGISTERS == 32 ? 2 : 1, /* vectors of columns in a tile */
  SMALL_GROUP = 8,                /* of those that share vectors  */
  SUMMED = 2048,                  /* values a work item adds up   */
};

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
  float in[TILE][MOST_CHANNELS];
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
#pragma omp parallel for schedule(static)
  for (int chunk = 0; chunk < chunks; chunk++) {
    size_t first = (size_t)chunk * length, count = rows - first < length ? rows - first : length;
    grad_chunk(partial + (size_t)chunk * values, dx + first * (size_t)dxs, dxs, x + first * (size_t)xs, xs, g, count);
  }
  add_partials(dm, partial, (size_t)g->matrices * (size_t)k * (size_t)k, (size_t)chunks * values);
}
