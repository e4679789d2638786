/* norm.c -- statistics over pixels, a channel each, and the affine map with activation that they feed.
 * Owns: the chunks of rows and the precision of sums. Must not know: which norm it is.
 *
 * Sums run over fixed chunks of rows: in float over runs of RUN rows, in double beyond, then over the chunks in their
 * order. Partial sums live on the caller's stack (64 KiB). Bound by memory: one pass over each operand. */
#include "kernels/deal.h"
#include "kernels/sums.h"

enum {
  BLOCK = 64,              /* channels of a partial sum     */
  CHUNKS = 64,             /* partial sums at a time        */
  CHUNK_ROWS = 1024,       /* at least                      */
  RUN = 32,                /* rows summed in float          */
  PARALLEL_VALUES = 1 << 15,
  MAP_VALUES = 1 << 14,    /* of an element-wise work item  */
  ASK_ROWS = 32,           /* rows asked for in advance     */
};

typedef double partial[2][BLOCK];

typedef struct job {
  const float *x, *dy, *mean, *scale, *shift; /* what a kernel does not use is NULL */
  float       *out[2];
  size_t       xs, dys, sites, c;
  float        slope;
  bool         stream;                        /* x is of the stream  */
  bool         add;                           /* to what `out` holds */
} job;

static job job_of(const ebbk_input *x, size_t sites, int c)
{
  return (job){.x = x->x, .xs = (size_t)x->stride, .scale = x->scale, .shift = x->shift, .slope = x->slope,
               .stream = x->stream, .sites = sites, .c = (size_t)c};
}

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
    deal   d = deal_out(tasks, parallel ? omp_get_max_threads() : 1);
#pragma omp parallel num_threads(d.threads)
    FOR_DEALT(t, d)
    {
      size_t unit = u + (size_t)t / chunks, row = (size_t)t % chunks * rows, channel = unit % blocks * BLOCK;
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
/* Mean and sum of squared deviations of a chunk, about a pivot near the mean: that of the chunk's first run. */
INLINE void moments_of(const bool stream, partial sum, const job *j, const part *p)
{
  float pivot[BLOCK];
  memset(sum, 0, sizeof(partial));
  for (size_t r = 0; r < p->rows; r += RUN)
    for (size_t v = 0; v < p->channels; v += VL) {
      const float *x = j->x + (p->first + r) * j->xs + p->channel + v;
      size_t       n = smaller(RUN, p->rows - r);
      int          l = lanes(p, v);
      if (r == 0) {
        vec s = {0};
        for (size_t i = 0; i < n; i++) s += read_vec(stream, x + i * j->xs, l);
        store(pivot + v, s / (float)n);
      }
      add_moments(stream, (double *[2]){sum[0] + v, sum[1] + v}, x, j->xs, n, l, load(pivot + v), RUN);
    }
  for (size_t i = 0; i < p->channels; i++)
    spread_of(&sum[0][i], &sum[1][i], (double)p->rows, (double)pivot[i], sum[0][i], sum[1][i]);
}

static void moments_part(partial sum, const job *j, const part *p)
{
  if (j->stream) moments_of(true, sum, j, p);
  else moments_of(false, sum, j, p);
}

static void moments_finish(const job *j, const part *whole, const partial *sums, size_t chunks, size_t chunk_rows)
{
  for (size_t i = 0; i < whole->channels; i++) {
    size_t at = whole->instance * j->c + whole->channel + i;
    double mean = 0, m2 = 0;
    for (size_t c = 0; c < chunks; c++) mean += (double)smaller(chunk_rows, j->sites - c * chunk_rows) * sums[c][0][i];
    mean /= (double)j->sites;
    for (size_t c = 0; c < chunks; c++) {
      double off = sums[c][0][i] - mean;
      m2 += sums[c][1][i] + (double)smaller(chunk_rows, j->sites - c * chunk_rows) * off * off;
    }
    j->out[0][at] = (float)mean;
    j->out[1][at] = variance_of(m2, (double)j->sites);
  }
}

void NAME(moments)(float *mean, float *var, ebbk_input x, size_t instances, size_t sites, int c)
{
  job j = job_of(&x, sites, c);
  j.out[0] = mean, j.out[1] = var;
  reduce(&j, instances, moments_part, moments_finish);
}

/* ---- affine map and activation ---------------------------------------------------------------------------------- */
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

static deal deal_stretches(size_t instances, size_t sites, size_t c)
{
  return deal_out(instances * stretches(sites, c), instances * sites * c > PARALLEL_VALUES ? omp_get_max_threads() : 1);
}

INLINE void act_rows(const bool stream, const ebbk_write how, const ebbk_output *out, const ebbk_input *in, const stretch *s,
                     size_t channels, ebbk_range *seen)
{
  size_t xs = (size_t)in->stride, ys = (size_t)out->stride;
  for (size_t v = 0; v < channels; v += VL) {
    int          n = (int)smaller(VL, channels - v);
    vec          scale = load_tail(in->scale + s->k + v, n), shift = load_tail(in->shift + s->k + v, n);
    const float *x = (const float *)in->x + s->first * xs + v;
    float       *y = (float *)out->y + s->first * ys + v;
    for (size_t r = s->first; r < s->end; r++, x += xs, y += ys) {
      ask(x, ASK_ROWS * xs);
      ask(y, ASK_ROWS * ys);
      write_vec(how, y, activated(affine(read_vec(stream, x, n), scale, shift), in->slope), n, seen);
    }
  }
}

static void act_stretch(const ebbk_output *y, const ebbk_input *x, const stretch *s, size_t channels, ebbk_range *seen)
{
#define CASE(how)                                                                                                      \
  case how:                                                                                                            \
    if (x->stream) act_rows(true, how, y, x, s, channels, seen);                                                       \
    else act_rows(false, how, y, x, s, channels, seen);                                                                \
    break;
  switch (y->how) {
    CASE(EBBK_SET)
    CASE(EBBK_ADD)
    CASE(EBBK_STREAM_ADD)
    CASE(EBBK_STREAM_SUBTRACT)
  }
#undef CASE
}

void NAME(affine_act)(ebbk_output y, ebbk_input x, size_t instances, size_t sites, int c)
{
  size_t channels = (size_t)c;
  deal   d = deal_stretches(instances, sites, channels);
#pragma omp parallel num_threads(d.threads)
  FOR_DEALT(t, d)
  {
    stretch    s = stretch_at((size_t)t, sites, channels);
    ebbk_range seen = {0};
    act_stretch(&y, &x, &s, channels, &seen);
    join_range(y.range, &seen);
  }
}

INLINE void affine_act_of(const bool stream, partial sum, const job *j, const part *p)
{
  size_t at = p->instance * j->c + p->channel;
  memset(sum, 0, sizeof(partial));
  for (size_t r = 0; r < p->rows; r += RUN)
    for (size_t v = 0; v < p->channels; v += VL) {
      int     l = lanes(p, v);
      size_t  row = p->first + r, channel = p->channel + v;
      act_map m = {load_tail(j->scale + at + v, l), load_tail(j->shift + at + v, l), load_tail(j->mean + at + v, l), j->slope};
      add_act_sums(stream, (double *[2]){sum[0] + v, sum[1] + v}, j->x + row * j->xs + channel, j->xs, j->dy + row * j->dys + channel,
                   j->dys, smaller(RUN, p->rows - r), l, &m, RUN);
    }
}

static void affine_act_part(partial sum, const job *j, const part *p)
{
  if (j->stream) affine_act_of(true, sum, j, p);
  else affine_act_of(false, sum, j, p);
}

void NAME(affine_act_sums)(float *sum_dz, float *sum_dzx, ebbk_input x, const float *dy, int dys, const float *mean,
                           size_t instances, size_t sites, int c)
{
  job j = job_of(&x, sites, c);
  j.dy = dy, j.dys = (size_t)dys, j.mean = mean, j.out[0] = sum_dz, j.out[1] = sum_dzx;
  reduce(&j, instances, affine_act_part, add_chunks);
}

typedef struct coefficients { const float *a, *b, *e, *mean; } coefficients;

/* `undo`: z -= the map's result. */
INLINE void grad_rows(const bool stream, const ebbk_write how, const bool undo, const ebbk_output *out, const ebbk_output *undone,
                      const ebbk_input *in, const float *dy, size_t dys, const coefficients *k, const stretch *s, size_t channels)
{
  size_t xs = (size_t)in->stride, dxs = (size_t)out->stride, zs = undo ? (size_t)undone->stride : 0;
  for (size_t v = 0; v < channels; v += VL) {
    int          n = (int)smaller(VL, channels - v);
    size_t       at = s->k + v;
    vec          scale = load_tail(in->scale + at, n), shift = load_tail(in->shift + at, n), mean = load_tail(k->mean + at, n);
    vec          a = load_tail(k->a + at, n), b = load_tail(k->b + at, n), e = load_tail(k->e + at, n);
    const float *x = (const float *)in->x + s->first * xs + v, *d = dy + s->first * dys + v;
    float       *dx = (float *)out->y + s->first * dxs + v, *z = undo ? (float *)undone->y + s->first * zs + v : NULL;
    for (size_t r = s->first; r < s->end; r++, x += xs, d += dys, dx += dxs, z += zs) {
      ask(x, ASK_ROWS * xs);
      ask(d, ASK_ROWS * dys);
      ask(dx, ASK_ROWS * dxs);
      if (undo) ask(z, ASK_ROWS * zs);
      vec value = read_vec(stream, x, n), grad = load_tail(d, n), result = affine(value, scale, shift);
      vec dz = if_positive(result, grad, in->slope * grad);
      if (undo) write_vec(EBBK_STREAM_SUBTRACT, z, activated(result, in->slope), n, NULL);
      write_vec(how, dx, multiply_add(a, dz, multiply_add(b, value - mean, e)), n, NULL);
    }
  }
}

INLINE void grad_stretch(const bool undo, const ebbk_output *dx, const ebbk_output *z, const ebbk_input *x, const float *dy, size_t dys,
                         const coefficients *k, const stretch *s, size_t channels)
{
  if (x->stream && dx->how == EBBK_ADD) grad_rows(true, EBBK_ADD, undo, dx, z, x, dy, dys, k, s, channels);
  else if (x->stream) grad_rows(true, EBBK_SET, undo, dx, z, x, dy, dys, k, s, channels);
  else if (dx->how == EBBK_ADD) grad_rows(false, EBBK_ADD, undo, dx, z, x, dy, dys, k, s, channels);
  else grad_rows(false, EBBK_SET, undo, dx, z, x, dy, dys, k, s, channels);
}

void NAME(affine_act_grad)(ebbk_output dx, ebbk_output z, ebbk_input x, const float *dy, int dys, const float *a, const float *b,
                           const float *e, const float *mean, size_t instances, size_t sites, int c)
{
  size_t       channels = (size_t)c, stride = (size_t)dys;
  coefficients k = {a, b, e, mean};
  deal         d = deal_stretches(instances, sites, channels);
#pragma omp parallel num_threads(d.threads)
  FOR_DEALT(t, d)
  {
    stretch s = stretch_at((size_t)t, sites, channels);
    if (z.y) grad_stretch(true, &dx, &z, &x, dy, stride, &k, &s, channels);
    else grad_stretch(false, &dx, &z, &x, dy, stride, &k, &s, channels);
  }
}
