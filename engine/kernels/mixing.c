/* mixing.c -- orthogonal mixing of channels on the stream. Formulas: kernels.h.
 * Owns: the order of sums, which mixing and its inverse must share. A block of rows is transposed, so that a lane is a
 * row and a pair of reflections is a walk along the channels. Cost 3/2 k^2 multiply-adds and k^2 / 4 roundings a group and row. */
#include "kernels/deal.h"
#include "kernels/fixed.h"

enum {
  PARTS = REGISTERS == 32 ? 4 : 2, /* vectors of rows that share what is loaded of a, and fill each other's waits */
  BLOCK_ROWS = PARTS * VL,
};

/* One channel of a block of rows, on the stream and as reals. */
typedef struct fixeds { veci of[PARTS]; } fixeds;
typedef struct reals { vec of[PARTS]; } reals;

#define EACH_PART(p) UNROLL for (int p = 0; p < PARTS; p++)

/* ---- a pair of reflections ---------------------------------------------------------------------------------------- */
/* x += q(v) or x -= q(v); *bad: lanes that left the range, if `check` asks. */
INLINE veci shear(veci x, vec v, bool minus, bool check, veci *bad)
{
  bool in = true;
  veci q = check ? quantise(v, &in) : round_to_int(v);
  veci sum = minus ? (veci)((vecu)x - (vecu)q) : (veci)((vecu)x + (vecu)q);
  if (check) *bad |= ~((v >= -limit) & (v < limit)) | ((minus ? (x ^ q) & (x ^ sum) : (x ^ sum) & (q ^ sum)) < 0);
  return sum;
}

INLINE reals to_reals(const fixeds *x)
{
  reals r;
  EACH_PART(p) r.of[p] = from_int(x->of[p]);
  return r;
}

/* H_i H_{i+1}: rows i and i + 1 of a, of which what is right of i + 1 is read, and numbers (kernels.h). */
typedef struct pair {
  int          i;
  const float *one, *two;
  float        across, beta[2], turn[2]; /* across: a_i,i+1 */
} pair;

static pair pair_of(const ebbk_mixing *g, size_t matrix, int i)
{
  size_t       k = (size_t)g->k, at = matrix * k + (size_t)i;
  const float *row = g->a + at * k;
  return (pair){.i = i, .one = row, .two = row + k, .across = row[i + 1], .beta = {g->beta[at], g->beta[at + 1]},
                .turn = {g->turn[at], g->turn[at + 1]}};
}

/* Two sums over channels j > i + 1, of a_ij x_j and of a_{i+1,j} x_j, from the last channel on: an order that can be had on the way
 * to the pair from either side. */
typedef struct sums { reals one, two; } sums;

INLINE void add_channel(sums *s, const pair *p, int j, const reals *x)
{
  vec one = broadcast(p->one[j]), two = broadcast(p->two[j]);
  EACH_PART(q)
  {
    s->one.of[q] = multiply_add(one, x->of[q], s->one.of[q]);
    s->two.of[q] = multiply_add(two, x->of[q], s->two.of[q]);
  }
}

static sums sums_of(const fixeds *x, const pair *p, int k)
{
  sums s = {.one = {{{0}}}};
  for (int j = k - 1; j > p->i + 1; j--) {
    reals v = to_reals(&x[j]);
    add_channel(&s, p, j, &v);
  }
  return s;
}

/* The pair's own channels += or -= q(U x). */
INLINE void add_sums(fixeds *own, const pair *p, const sums *s, bool minus, const bool check, veci *bad)
{
  vec across = broadcast(-p->across);
  EACH_PART(q)
  {
    own[0].of[q] = shear(own[0].of[q], multiply_add(across, s->two.of[q], s->one.of[q]), minus, check, &bad[q]);
    own[1].of[q] = shear(own[1].of[q], s->two.of[q], minus, check, &bad[q]);
  }
}

INLINE veci negative(veci x)
{
  return (veci)(0 - (vecu)x);
}

/* The pair's own channels times S, or its inverse. */
INLINE void turn(fixeds *own, const pair *p, bool undo, const bool check, veci *bad)
{
  float first = undo ? p->across : p->turn[0], last = undo ? p->turn[0] : p->across;
  EACH_PART(q)
  {
    veci a = own[0].of[q], b = own[1].of[q];
    if (undo) a = negative(a), b = negative(b);
    a = shear(a, first * from_int(b), false, check, &bad[q]);
    b = shear(b, p->turn[1] * from_int(a), undo, check, &bad[q]);
    a = shear(a, last * from_int(b), true, check, &bad[q]);
    if (!undo) a = negative(a), b = negative(b);
    own[0].of[q] = a, own[1].of[q] = b;
  }
}

/* What the other channels are sheared by: beta_i (z_i + turn_i z_{i+1}) and beta_{i+1} z_{i+1}, z being the pair's own. */
INLINE sums factors_of(const fixeds *own, const pair *p)
{
  sums s;
  EACH_PART(q)
  {
    vec a = from_int(own[0].of[q]), b = from_int(own[1].of[q]);
    s.one.of[q] = p->beta[0] * multiply_add(broadcast(p->turn[0]), b, a);
    s.two.of[q] = p->beta[1] * b;
  }
  return s;
}

/* x_j -= or += q(a_ij f.one + a_{i+1,j} f.two), returned as reals */
INLINE reals shear_channel(fixeds *x, const pair *p, int j, const sums *f, bool undo, const bool check, veci *bad)
{
  vec one = broadcast(p->one[j]), two = broadcast(p->two[j]);
  EACH_PART(q)
  {
    vec v = multiply_add(two, f->two.of[q], settled(one * f->one.of[q]));
    x[j].of[q] = shear(x[j].of[q], v, !undo, check, &bad[q]);
  }
  return to_reals(&x[j]);
}

/* H_i H_{i+1}, or its inverse, whose first sums are `first`; returns those of the pair that follows: i - 2, or i + 2 to undo.
 * One pass over x, which serves three uses of it. */
INLINE sums reflect(fixeds *x, const pair *p, int k, const sums *first, const pair *next, const bool undo, const bool check, veci *bad)
{
  fixeds *own = x + p->i;
  int     j = k - 1;
  sums    after = {.one = {{{0}}}}, ahead = {.one = {{{0}}}};
  reals   v;
  add_sums(own, p, first, false, check, bad);
  if (undo) turn(own, p, true, check, bad);
  sums f = factors_of(own, p);
  if (!undo) turn(own, p, false, check, bad);
  for (; j > p->i + (undo ? 3 : 1); j--) {
    v = shear_channel(x, p, j, &f, undo, check, bad);
    add_channel(&after, p, j, &v);
    add_channel(&ahead, next, j, &v);
  }
  for (; j > p->i + 1; j--) { /* what are the next pair's own, to undo */
    v = shear_channel(x, p, j, &f, undo, check, bad);
    add_channel(&after, p, j, &v);
  }
  add_sums(own, p, &after, true, check, bad);
  for (; j >= p->i && !undo; j--) {
    v = to_reals(&x[j]);
    add_channel(&ahead, next, j, &v);
  }
  return ahead;
}

/* The reflection of the last two channels, where k is even. */
INLINE void reflect_last(fixeds *x, float a, float beta, const bool check, veci *bad)
{
  EACH_PART(q)
  {
    veci one = x[0].of[q], two = x[1].of[q];
    one = shear(one, a * from_int(two), false, check, &bad[q]);
    two = shear(two, a * settled(beta * from_int(one)), true, check, &bad[q]);
    one = shear(negative(one), a * from_int(two), true, check, &bad[q]);
    x[0].of[q] = one, x[1].of[q] = two;
  }
}

/* ---- one group of one block ----------------------------------------------------------------------------------------- */
INLINE void signs(fixeds *x, const float *sign, int k)
{
  for (int j = 0; j < k; j++)
    if (sign[j] < 0) EACH_PART(p) x[j].of[p] = negative(x[j].of[p]);
}

/* Pairs are walked up or down; the last has no next one, and takes itself for it. */
INLINE void reflect_pairs(fixeds *x, const ebbk_mixing *g, size_t matrix, const bool undo, const bool check, veci *bad)
{
  int  count = (g->k - 1) / 2, step = undo ? 2 : -2;
  if (count == 0) return;
  pair p = pair_of(g, matrix, undo ? 0 : 2 * (count - 1));
  sums s = sums_of(x, &p, g->k);
  for (int left = count - 1; left >= 0; left--) {
    pair next = left ? pair_of(g, matrix, p.i + step) : p;
    s = reflect(x, &p, g->k, &s, &next, undo, check, bad);
    p = next;
  }
}

INLINE void mix_group(fixeds *x, const ebbk_mixing *g, int group, const bool undo, const bool check, veci *bad)
{
  size_t       matrix = ebbk_matrix_of(g, group), k = (size_t)g->k, last = matrix * k + k - 2;
  const float *sign = g->sign + matrix * k;
  if (!undo) signs(x, sign, g->k);
  if (undo) reflect_pairs(x, g, matrix, true, check, bad);
  if (k % 2 == 0) reflect_last(x + k - 2, g->a[last * k + k - 1], g->beta[last], check, bad);
  if (!undo) reflect_pairs(x, g, matrix, false, check, bad);
  if (undo) signs(x, sign, g->k);
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

/* No value on the way is larger than 4 |x|: |v|^2 is at most 2, and each is a sum of at most three of x_i, v^T x and a v^T x.
 * Where that is within the range, nothing needs a check. */
INLINE bool may_leave(const fixeds *x, int k, reals *norm2)
{
  reals sum = {{{0}}};
  bool  may = false;
  for (int j = 0; j < k; j++) {
    reals v = to_reals(&x[j]);
    EACH_PART(p) sum.of[p] += v.of[p] * v.of[p];
  }
  *norm2 = sum;
  EACH_PART(p) may |= any_negative(~(sum.of[p] < 0.99f * (limit * limit / 16)));
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
    for (int i = 0; i < VL; i++) {
      const int32_t *row = from + (size_t)i * (size_t)stride + j;
      square[i] = i < lanes ? load_tail_int(row, n) : (veci){0};
      ask(row, BLOCK_ROWS * (size_t)stride);
    }
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
  fixeds block[EBBK_MIX_MOST];
  int    room = EBBK_MIX_MOST / g->k;
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
  deal      d = deal_out((size_t)blocks, blocks > 2 ? omp_get_max_threads() : 1);
  EBB_ASSERT(g->k <= EBBK_MIX_MOST, "mixing of %d channels, at most %d", g->k, EBBK_MIX_MOST);
#pragma omp parallel num_threads(d.threads)
  FOR_DEALT(b, d)
  {
    ebbk_range seen = {0};
    size_t     first = (size_t)b * BLOCK_ROWS;
    int        lanes = rows - first < BLOCK_ROWS ? (int)(rows - first) : BLOCK_ROWS;
    mix_lanes(x + first * (size_t)xs, xs, g, lanes, undo, &seen);
    join_range(range, &seen);
  }
}

void NAME(mix)(int32_t *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range)
{
  mix_rows(x, xs, g, rows, false, range);
}

void NAME(unmix)(int32_t *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range)
{
  mix_rows(x, xs, g, rows, true, range);
}
