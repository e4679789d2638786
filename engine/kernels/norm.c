/* norm.c -- statistics over pixels, a channel each, and the affine map with activation that they feed.
 * Owns: the chunks of rows and the precision of sums. Must not know: which norm it is.
 *
 * Sums run over fixed chunks of rows: in float over runs of RUN rows, in double beyond, then over the chunks in their
 * order. Partial sums live on the caller's stack (64 KiB). Bound by memory: one pass over each operand. */
#include "kernels/fast.h"

enum {
  BLOCK = 64,              /* channels of a partial sum     */
  CHUNKS = 64,             /* partial sums at a time        */
  CHUNK_ROWS = 1024,       /* at least                      */
  RUN = 32,                /* rows summed in float          */
  PARALLEL_VALUES = 1 << 15,
  MAP_VALUES = 1 << 14,    /* of an element-wise work item  */
  ASK_ROWS = 16,           /* rows asked for in advance     */
};

typedef double partial[2][BLOCK];

typedef struct job {
  const float *x, *dy, *mean, *scale, *shift; /* what a kernel does not use is NULL */
  float       *out[2];
  size_t       xs, dys, sites, c;
  float        slope;
  bool         add;                           /* to what `out` holds */
} job;

/* Rows and channels of one partial sum. */
typedef struct part {
  size_t instance, first, rows; /* `first` counts from the start of the tensor */
  size_t channel, channels;
} part;

typedef void part_fn(partial sum, const job *j, const part *p);
typedef void finish_fn(const job *j, const part *whole, const partial *sums, size_t chunks, size_t chunk_rows);

static size_t smaller(size_t a, size_t b)
{
  return a < b ? a : b;
}

static size_t ceiling(size_t a, size_t b)
{
  return (a + b - 1) / b;
}

/* Every (instance, channel block) in chunks; as many of them at a time as there are partial sums for. */
static void reduce(const job *j, size_t instances, part_fn *f, finish_fn *finish)
{
  partial sums[CHUNKS];
  size_t  rows = ceiling(j->sites, CHUNKS) < CHUNK_ROWS ? CHUNK_ROWS : ceiling(j->sites, CHUNKS);
  size_t  chunks = ceiling(j->sites, rows), blocks = ceiling(j->c, BLOCK), units = instances * blocks;
  size_t  batch = CHUNKS / chunks;
  bool    parallel = instances * j->sites * j->c > PARALLEL_VALUES;
  for (size_t u = 0; u < units; u += batch) {
    size_t tasks = smaller(batch, units - u) * chunks;
#pragma omp parallel for schedule(static) if (parallel)
    for (size_t t = 0; t < tasks; t++) {
      size_t unit = u + t / chunks, row = t % chunks * rows, channel = unit % blocks * BLOCK;
      part p = {.instance = unit / blocks,
                .first = unit / blocks * j->sites + row,
                .rows = smaller(rows, j->sites - row),
                .channel = channel,
                .channels = smaller(BLOCK, j->c - channel)};
      f(sums[t], j, &p);
    }
    for (size_t t = 0; t < tasks; t += chunks) {
      size_t unit = u + t / chunks, channel = unit % blocks * BLOCK;
      part   whole = {.instance = unit / blocks, .channel = channel, .channels = smaller(BLOCK, j->c - channel)};
      finish(j, &whole, (const partial *)&sums[t], chunks, rows);
    }
  }
}

/* Lanes of vector v of a part: VL, or what is left. */
INLINE int lanes(const part *p, size_t v)
{
  return (int)smaller(VL, p->channels - v);
}

static void add_chunks(const job *j, const part *whole, const partial *sums, size_t chunks, size_t chunk_rows)
{
  (void)chunk_rows;
  for (int k = 0; k < 2 && j->out[k]; k++)
    for (size_t i = 0; i < whole->channels; i++) {
      double sum = 0;
      for (size_t c = 0; c < chunks; c++) sum += sums[c][k][i];
      float *to = &j->out[k][whole->instance * j->c + whole->channel + i];
      *to = (float)sum + (j->add ? *to : 0);
    }
}

/* ---- sums of columns -------------------------------------------------------------------------------------------- */
static void column_part(partial sum, const job *j, const part *p)
{
  memset(sum, 0, sizeof(partial));
  for (size_t r = 0; r < p->rows; r += RUN)
    for (size_t v = 0; v < p->channels; v += VL) {
      const float *x = j->x + (p->first + r) * j->xs + p->channel + v;
      int          l = lanes(p, v);
      size_t       n = smaller(RUN, p->rows - r);
      vec          s = {0};
      for (size_t i = 0; i < n; i++, x += j->xs) {
        ask(x, RUN * j->xs);
        s += load_tail(x, l);
      }
      add_lanes(sum[0] + v, s);
    }
}

void NAME(column_sums)(float *sum, const float *x, int xs, size_t rows, int c)
{
  job j = {.x = x, .xs = (size_t)xs, .sites = rows, .c = (size_t)c, .out = {sum, NULL}, .add = true};
  if (rows) reduce(&j, 1, column_part, add_chunks);
}

/* ---- moments ---------------------------------------------------------------------------------------------------- */
/* Mean and sum of squared deviations of a chunk, about a pivot near the mean (that of the chunk's first run):
 *   mean = pivot + S/n, M2 = Q - S^2/n with S = sum of (x - pivot), Q = sum of (x - pivot)^2 */
static void moments_part(partial sum, const job *j, const part *p)
{
  float pivot[BLOCK];
  memset(sum, 0, sizeof(partial));
  for (size_t r = 0; r < p->rows; r += RUN)
    for (size_t v = 0; v < p->channels; v += VL) {
      const float *x = j->x + (p->first + r) * j->xs + p->channel + v;
      size_t       n = smaller(RUN, p->rows - r);
      int          l = lanes(p, v);
      vec          s = {0}, q = {0};
      if (r == 0) {
        for (size_t i = 0; i < n; i++) s += load_tail(x + i * j->xs, l);
        store(pivot + v, s / (float)n);
        s = (vec){0};
      }
      vec k = load(pivot + v);
      for (size_t i = 0; i < n; i++, x += j->xs) {
        vec d = load_tail(x, l) - k;
        ask(x, RUN * j->xs);
        s += d;
        q += d * d;
      }
      add_lanes(sum[0] + v, s);
      add_lanes(sum[1] + v, q);
    }
  for (size_t i = 0; i < p->channels; i++) {
    double mean = sum[0][i] / (double)p->rows;
    sum[1][i] -= sum[0][i] * mean;
    sum[0][i] = (double)pivot[i] + mean;
  }
}

/* Chan, Golub & LeVeque 1983, eq. 2.1: with delta = mean_b - mean, n = n_a + n_b,
 *   mean += delta n_b/n, M2 += M2_b + delta^2 n_a n_b/n */
static void moments_finish(const job *j, const part *whole, const partial *sums, size_t chunks, size_t chunk_rows)
{
  for (size_t i = 0; i < whole->channels; i++) {
    double mean = sums[0][0][i], m2 = sums[0][1][i], n = (double)smaller(chunk_rows, j->sites);
    for (size_t c = 1; c < chunks; c++) {
      double nb = (double)smaller(chunk_rows, j->sites - c * chunk_rows), delta = sums[c][0][i] - mean;
      m2 += sums[c][1][i] + delta * delta * n * nb / (n + nb);
      mean += delta * nb / (n + nb);
      n += nb;
    }
    j->out[0][whole->instance * j->c + whole->channel + i] = (float)mean;
    j->out[1][whole->instance * j->c + whole->channel + i] = m2 > 0 || m2 != m2 ? (float)(m2 / n) : 0;
  }
}

void NAME(moments)(float *mean, float *var, const float *x, int xs, size_t instances, size_t sites, int c)
{
  job j = {.x = x, .xs = (size_t)xs, .sites = sites, .c = (size_t)c, .out = {mean, var}};
  reduce(&j, instances, moments_part, moments_finish);
}

/* ---- affine map and activation ---------------------------------------------------------------------------------- */
/* act(z) = z > 0 ? z : slope z at z = x scale + shift; the three kernels must agree on the sign of z to the bit */
INLINE vec affine(vec x, vec scale, vec shift)
{
  return x * scale + shift;
}

/* Rows [first, end) of work item t, and where their instance's statistics begin. */
typedef struct stretch { size_t first, end, k; } stretch;

static size_t stretches(size_t sites, size_t c)
{
  return ceiling(sites, ceiling(MAP_VALUES, c));
}

static stretch stretch_at(size_t t, size_t sites, size_t c)
{
  size_t per = stretches(sites, c), rows = ceiling(MAP_VALUES, c), row = t % per * rows, start = t / per * sites;
  return (stretch){start + row, start + smaller(sites, row + rows), t / per * c};
}

#define PARALLEL_STRETCHES                                                                                             \
  _Pragma("omp parallel for schedule(static) if (instances * sites * channels > PARALLEL_VALUES)")

void NAME(affine_act)(float *y, int ys, const float *x, int xs, const float *scale, const float *shift, float slope,
                      size_t instances, size_t sites, int c)
{
  size_t channels = (size_t)c;
  PARALLEL_STRETCHES
  for (size_t t = 0; t < instances * stretches(sites, channels); t++) {
    stretch s = stretch_at(t, sites, channels);
    for (size_t r = s.first; r < s.end; r++)
      for (size_t v = 0; v < channels; v += VL) {
        int    n = (int)smaller(VL, channels - v);
        size_t k = s.k + v;
        ask(x + r * (size_t)xs + v, ASK_ROWS * (size_t)xs);
        ask(y + r * (size_t)ys + v, ASK_ROWS * (size_t)ys);
        vec z = affine(load_tail(x + r * (size_t)xs + v, n), load_tail(scale + k, n), load_tail(shift + k, n));
        store_tail(y + r * (size_t)ys + v, choose(z > 0, z, slope * z), n);
      }
  }
}

static void affine_act_part(partial sum, const job *j, const part *p)
{
  size_t at = p->instance * j->c + p->channel;
  memset(sum, 0, sizeof(partial));
  for (size_t r = 0; r < p->rows; r += RUN)
    for (size_t v = 0; v < p->channels; v += VL) {
      int          l = lanes(p, v);
      size_t       n = smaller(RUN, p->rows - r);
      const float *x = j->x + (p->first + r) * j->xs + p->channel + v;
      const float *dy = j->dy + (p->first + r) * j->dys + p->channel + v;
      vec          mean = load_tail(j->mean + at + v, l), s = {0}, sx = {0};
      vec          scale = load_tail(j->scale + at + v, l), shift = load_tail(j->shift + at + v, l);
      for (size_t i = 0; i < n; i++, x += j->xs, dy += j->dys) {
        vec value = load_tail(x, l), d = load_tail(dy, l);
        ask(x, RUN * j->xs);
        ask(dy, RUN * j->dys);
        vec dz = choose(affine(value, scale, shift) > 0, d, j->slope * d);
        s += dz;
        sx += dz * (value - mean);
      }
      add_lanes(sum[0] + v, s);
      add_lanes(sum[1] + v, sx);
    }
}

void NAME(affine_act_sums)(float *sum_dz, float *sum_dzx, const float *x, int xs, const float *dy, int dys,
                           const float *mean, const float *scale, const float *shift, float slope, size_t instances,
                           size_t sites, int c)
{
  job j = {.x = x, .xs = (size_t)xs, .dy = dy, .dys = (size_t)dys, .mean = mean, .scale = scale, .shift = shift,
           .slope = slope, .sites = sites, .c = (size_t)c, .out = {sum_dz, sum_dzx}};
  reduce(&j, instances, affine_act_part, add_chunks);
}

void NAME(affine_act_grad)(float *dx, int dxs, const float *x, int xs, const float *dy, int dys, const float *a,
                           const float *b, const float *e, const float *mean, const float *scale, const float *shift,
                           float slope, size_t instances, size_t sites, int c)
{
  size_t channels = (size_t)c;
  PARALLEL_STRETCHES
  for (size_t t = 0; t < instances * stretches(sites, channels); t++) {
    stretch s = stretch_at(t, sites, channels);
    for (size_t r = s.first; r < s.end; r++)
      for (size_t v = 0; v < channels; v += VL) {
        int    n = (int)smaller(VL, channels - v);
        size_t k = s.k + v;
        ask(x + r * (size_t)xs + v, ASK_ROWS * (size_t)xs);
        ask(dy + r * (size_t)dys + v, ASK_ROWS * (size_t)dys);
        ask(dx + r * (size_t)dxs + v, ASK_ROWS * (size_t)dxs);
        vec    value = load_tail(x + r * (size_t)xs + v, n), d = load_tail(dy + r * (size_t)dys + v, n);
        vec    z = affine(value, load_tail(scale + k, n), load_tail(shift + k, n)), dz = choose(z > 0, d, slope * d);
        vec    rest = load_tail(b + k, n) * (value - load_tail(mean + k, n)) + load_tail(e + k, n);
        store_tail(dx + r * (size_t)dxs + v, load_tail(a + k, n) * dz + rest, n);
      }
  }
}
