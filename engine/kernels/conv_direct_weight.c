/* conv_direct_weight.c -- the weight gradient of the convolution, by direct sums.
 * Owns: tiles of input x output channels in registers, the chunks and the order of their sums. Must not know: conv_direct.c.
 *
 * dw[k, ci, co] += sum over n, q of x[n, q stride + k - pad, ci] dy[n, q, co]
 *
 * The pixels are cut into chunks and the input channels into groups; a unit of work is one group in one chunk. It packs
 * its channels of x and dy row block by row block (x as a ring of planes in depth) and adds to the chunk's partial dw
 * in scratch; at the end the partials are added up in the order of the chunks. The number of chunks depends on the sizes
 * only: many for small weights, few for large ones, whose groups are enough to share.
 *
 * Packed, x is (blocks of STEP channels, planes, rows, columns, STEP) with its zero border, dy (vectors, pixels, VL):
 * what a tile reads is contiguous, so that a piece of pixels stays in L1 for all taps and channels, whatever the number
 * of channels, and odd channel counts are zeros. Where a row has three taps and stride 1, a tile takes those three
 * together, with each dy in a register for all of them. Cost: 2 taps Cin Cout FLOP an output pixel. */
#include "kernels/conv_parts.h"
#include "kernels/conv_ways.h"
#include "kernels/deal.h"

enum {
  STEP = 8,                                           /* input channels in a block                    */
  CHANNELS = REGISTERS == 32 ? 8 : 4,                 /* of a tile, with two vectors or three taps    */
  ROW_TAPS = 3,
  GROUP_MOST = 64,                                    /* channels                                     */
  GROUP_LEAST = 16,
  CHUNKS_MOST = 32,
  UNITS_WANTED = 16,
  PARTIAL_BYTES = 2 << 20,                            /* of all chunks, unless one is larger          */
  PACKED_BYTES = 192 << 10,                           /* of a row block's x: fits L2 together with dy */
  PIECE_PIXELS = 192,                                 /* fit L1 with both operands                    */
  FLOPS_PARALLEL = 1 << 18,
};

typedef struct plan {
  int          n, ci, co;
  axis         a[3];
  ebbk_input   x;
  const float *dy;
  size_t       dys;
  int          taps, vectors, padded;             /* padded: ci up to a multiple of STEP                */
  int          group, groups;                     /* channels in a group, their number                  */
  int          rows, row_blocks, items, chunks;   /* item: one depth of one row block of one sample     */
} plan;

/* Floats of one block of STEP channels of x, of `rows` output rows: one plane, all planes of the ring. */
static size_t plane_floats(const plan *p, int rows)
{
  return (size_t)axis_reach(&p->a[1], rows) * (size_t)axis_reach(&p->a[2], p->a[2].count) * STEP;
}

static size_t input_floats(const plan *p, int rows)
{
  return plane_floats(p, rows) * (size_t)p->a[0].taps * (size_t)(p->group / STEP);
}

static size_t partial_floats(const plan *p)
{
  return (size_t)p->taps * (size_t)p->padded * (size_t)(p->vectors * VL);
}

static plan make_plan(const ebbk_conv *g)
{
  plan p = {.n = g->n, .ci = g->ci, .co = g->co};
  for (int i = 0; i < 3; i++) p.a[i] = axis_forward(g, i);
  p.taps = p.a[0].taps * p.a[1].taps * p.a[2].taps;
  p.vectors = parts(p.co, VL);
  p.padded = parts(p.ci, STEP) * STEP;
  p.group = least(GROUP_MOST, p.padded);
  size_t chunks = PARTIAL_BYTES / (partial_floats(&p) * sizeof(float));
  p.chunks = chunks < 1 ? 1 : chunks > CHUNKS_MOST ? CHUNKS_MOST : (int)chunks;
  while (p.group >= 2 * GROUP_LEAST && p.chunks * parts(p.padded, p.group) < UNITS_WANTED)
    p.group = parts(p.group / 2, STEP) * STEP;
  p.groups = parts(p.padded, p.group);
  p.rows = p.a[1].count;
  while (p.rows > 1 && input_floats(&p, p.rows) * sizeof(float) > PACKED_BYTES) p.rows = (p.rows + 1) / 2;
  while (p.rows > 8 && p.n * p.a[0].count * parts(p.a[1].count, p.rows) < p.chunks) p.rows = (p.rows + 1) / 2;
  p.row_blocks = parts(p.a[1].count, p.rows);
  p.items = p.n * p.row_blocks * p.a[0].count;
  p.chunks = least(p.chunks, p.items);
  return p;
}

/* ---- scratch: the partials, then one slice a thread: x, dy ------------------------------------------------------- */
static size_t partials_bytes(const plan *p)
{
  return aligned(sizeof(float) * partial_floats(p) * (size_t)p->chunks);
}

static size_t input_bytes(const plan *p)
{
  return aligned(sizeof(float) * input_floats(p, p->rows));
}

static size_t slice_bytes(const plan *p)
{
  return input_bytes(p) + aligned(sizeof(float) * (size_t)p->rows * (size_t)p->a[2].count * (size_t)(p->vectors * VL));
}

size_t NAME(direct_weight_scratch)(const ebbk_conv *g, int threads)
{
  plan p = make_plan(g);
  return partials_bytes(&p) + (size_t)threads * slice_bytes(&p);
}

/* ---- packing ---------------------------------------------------------------------------------------------------- */
/* Pixel by pixel, so that memory is read in its order. */
static void pack_pixels(float *to, size_t block, const source *s, const float *x, int sample, int pixels)
{
  float values[GROUP_MOST + VL];
  int   whole = s->c / STEP * STEP;
  for (int w = 0; w < pixels; w++, x += s->xs, to += STEP) {
    float       *at = to;
    const float *from = s->how == PLAIN ? x : values;
    if (s->how != PLAIN) source_pixel(values, s, x, sample, s->c);
    for (int i = 0; i < whole; i += STEP, at += block) memcpy(at, from + i, sizeof *to * STEP);
    if (whole < s->c) memcpy(at, from + whole, sizeof *to * (size_t)(s->c - whole));
  }
}

/* One row of a sample's channels into their blocks; zeros outside of the image and beyond the channels. */
static void pack_row(float *to, size_t block, const plan *p, const source *s, int sample, int d, int h)
{
  const axis *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  int columns = axis_reach(aw, aw->count), begin = most(0, -aw->shift), end = least(columns, aw->in - aw->shift);
  bool        outside = d < 0 || d >= ad->in || h < 0 || h >= ah->in || begin >= end;
  for (int i = 0; i < s->c; i += STEP) {
    float *row = to + (size_t)(i / STEP) * block;
    if (outside || s->c - i < STEP) memset(row, 0, sizeof *to * (size_t)columns * STEP);
    else {
      if (begin > 0) memset(row, 0, sizeof *to * (size_t)begin * STEP);
      if (end < columns) memset(row + end * STEP, 0, sizeof *to * (size_t)(columns - end) * STEP);
    }
  }
  if (outside) return;
  size_t line = ((size_t)sample * (size_t)ad->in + (size_t)d) * (size_t)ah->in + (size_t)h;
  size_t pixel = line * (size_t)aw->in + (size_t)(begin + aw->shift);
  pack_pixels(to + begin * STEP, block, s, s->x + pixel * s->xs, sample, end - begin);
}

static void pack_output(float *to, const plan *p, const float *dy, size_t pixels)
{
  for (size_t i = 0; i < pixels; i++, dy += p->dys)
    for (int v = 0; v < p->vectors; v++)
      store(to + ((size_t)v * pixels + i) * VL, load_tail(dy + v * VL, least(VL, p->co - v * VL)));
}

/* ---- tiles ------------------------------------------------------------------------------------------------------ */
/* Pixels of both operands: x from the tile's first channel and tap on, dy from its first vector on. */
typedef struct piece {
  const float *x, *dy;
  size_t       x_row, x_pixel, dy_vector; /* dy's pixels follow one another, VL apart */
  int          rows, columns;
} piece;

INLINE void add_to(float *sum, vec v)
{
  store(sum, load(sum) + v);
}

/* sum[i, v] += sum over pixels of x[i] dy[v] */
INLINE void tile(const int channels, const int vectors, float *sum, size_t sum_row, const piece *s)
{
  vec          acc[OUTER_MOST][2], b[2];
  const float *dy = s->dy;
  outer_clear(channels, vectors, acc);
  for (int r = 0; r < s->rows; r++) {
    const float *x = s->x + (size_t)r * s->x_row;
    for (int w = 0; w < s->columns; w++, x += s->x_pixel, dy += VL) {
      UNROLL
      for (int v = 0; v < vectors; v++) b[v] = load(dy + (size_t)v * s->dy_vector);
      outer_add(channels, vectors, acc, x, b);
    }
  }
  UNROLL
  for (int i = 0; i < channels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) add_to(sum + (size_t)i * sum_row + v * VL, acc[i][v]);
}

NOINLINE void wide_tile(float *sum, size_t sum_row, const piece *s)
{
  tile(CHANNELS, 2, sum, sum_row, s);
}

NOINLINE void narrow_tile(float *sum, size_t sum_row, const piece *s)
{
  tile(STEP, 1, sum, sum_row, s);
}

/* The channels of a column of x meet taps `first` to `last`, whose dy are in b[tap]. */
INLINE void add_column(vec acc[ROW_TAPS][STEP], const float *x, const vec b[ROW_TAPS], const int first, const int last)
{
  UNROLL
  for (int i = 0; i < CHANNELS; i++) {
    vec a = broadcast(x[i]);
    UNROLL
    for (int j = first; j <= last; j++) acc[j][i] += a * b[j];
  }
}

/* The same for three neighbouring taps of a row with stride 1, sums `sum_tap` apart: column c of x meets dy of columns
 * c, c - 1 and c - 2. Rows of at least two columns. */
NOINLINE void row_tile(float *sum, size_t sum_tap, size_t sum_row, const piece *s)
{
  vec          acc[ROW_TAPS][STEP], b[ROW_TAPS];
  const float *dy = s->dy;
  UNROLL
  for (int j = 0; j < ROW_TAPS; j++)
    UNROLL
    for (int i = 0; i < CHANNELS; i++) acc[j][i] = (vec){0};
  for (int r = 0; r < s->rows; r++, dy += s->columns * VL) {
    const float *x = s->x + (size_t)r * s->x_row, *at = dy, *end = dy + s->columns * VL;
    b[0] = load(at);
    add_column(acc, x, b, 0, 0);
    b[1] = b[0], b[0] = load(at + VL);
    add_column(acc, x + STEP, b, 0, 1);
    for (x += 2 * STEP, at += 2 * VL; at < end; x += STEP, at += VL) {
      b[2] = b[1], b[1] = b[0], b[0] = load(at);
      add_column(acc, x, b, 0, 2);
    }
    b[2] = b[1], b[1] = b[0];
    add_column(acc, x, b, 1, 2);
    b[2] = b[1];
    add_column(acc, x + STEP, b, 2, 2);
  }
  UNROLL
  for (int j = 0; j < ROW_TAPS; j++)
    UNROLL
    for (int i = 0; i < CHANNELS; i++) add_to(sum + (size_t)j * sum_tap + (size_t)i * sum_row, acc[j][i]);
}

/* ---- a row block: pieces of pixels, then output vectors, input channels, taps ------------------------------------ */
/* The packed operands of a row block. */
typedef struct window {
  const float *x, *dy;
  size_t       block, plane, row, pixels; /* of x: floats in a channel block, a plane, a row; of dy: its pixels */
  int          first_plane;               /* of the ring */
} window;

static const float *tap_at(const plan *p, const window *in, int channel, int t)
{
  int td = t / (p->a[1].taps * p->a[2].taps), th = t / p->a[2].taps % p->a[1].taps, tw = t % p->a[2].taps;
  return in->x + (size_t)(channel / STEP) * in->block + (size_t)((in->first_plane + td) % p->a[0].taps) * in->plane +
         (size_t)th * in->row + (size_t)tw * STEP + channel % STEP;
}

static bool takes_rows(const plan *p)
{
  return p->a[2].taps == ROW_TAPS && p->a[2].stride == 1 && p->a[2].count >= 2;
}

/* sum (taps, padded, lanes) += the products of `rows` rows from `row` on */
static void add_piece(const plan *p, float *sum, const window *in, int row, int rows, int channels, ahead next[2])
{
  size_t lanes = (size_t)(p->vectors * VL), tap = (size_t)p->padded * lanes;
  bool   by_rows = takes_rows(p);
  int    columns = p->a[2].count;
  for (int v = 0, vectors; v < p->vectors; v += vectors) {
    vectors = by_rows ? 1 : least(2, p->vectors - v);
    int step = by_rows || vectors == 2 ? CHANNELS : STEP;
    for (int i = 0; i < channels; i += step)
      for (int t = 0; t < p->taps; t += by_rows ? ROW_TAPS : 1) {
        float *to = sum + (size_t)t * tap + (size_t)i * lanes + (size_t)(v * VL);
        piece  s = {.x = tap_at(p, in, i, t) + (size_t)(row * p->a[1].stride) * in->row,
                    .dy = in->dy + ((size_t)v * in->pixels + (size_t)(row * columns)) * VL,
                    .x_row = (size_t)p->a[1].stride * in->row, .x_pixel = (size_t)p->a[2].stride * STEP,
                    .dy_vector = in->pixels * VL, .rows = rows, .columns = columns};
        if (by_rows) row_tile(to, tap, lanes, &s);
        else if (vectors == 2) wide_tile(to, lanes, &s);
        else narrow_tile(to, lanes, &s);
        look_ahead(&next[0]);
        look_ahead(&next[1]);
      }
  }
}

/* Rows of a piece: all pieces of a block about equal. */
static int piece_rows(const plan *p, int rows)
{
  return parts(rows, parts(rows, most(1, PIECE_PIXELS / p->a[2].count)));
}

static int tiles(const plan *p, int rows, int channels)
{
  int pieces = parts(rows, piece_rows(p, rows));
  if (takes_rows(p)) return pieces * p->vectors * parts(channels, CHANNELS) * (p->taps / ROW_TAPS);
  return pieces * parts(p->vectors, 2) * parts(channels, CHANNELS) * p->taps;
}

static void add_block(const plan *p, float *sum, const window *in, int rows, int channels, ahead next[2])
{
  int step = piece_rows(p, rows);
  for (int row = 0; row < rows; row += step) add_piece(p, sum, in, row, least(step, rows - row), channels, next);
}

/* ---- units ------------------------------------------------------------------------------------------------------ */
/* Packs the planes of x that output depth d reads, but those below `loaded`, which the ring holds; returns the next. */
static int pack_input(const plan *p, float *to, const window *in, int n, int d, int row, int rows, int channel,
                      int loaded)
{
  const axis  *ad = &p->a[0], *ah = &p->a[1];
  source       s = source_of(&p->x, p->ci, channel, least(p->group, p->ci - channel));
  int          front = d * ad->stride, top = row * ah->stride + ah->shift, height = axis_reach(ah, rows);
  for (loaded = most(loaded, front); loaded < front + ad->taps; loaded++)
    for (int r = 0; r < height; r++)
      pack_row(to + (size_t)(loaded % ad->taps) * in->plane + (size_t)r * in->row, in->block, p, &s, n, loaded + ad->shift,
               top + r);
  return loaded;
}

/* Item i: output depth d of a row block of sample n; its first output pixel. */
typedef struct place {
  int    n, d, row, rows;
  size_t pixel;
} place;

static place place_of(const plan *p, int i)
{
  int   depths = p->a[0].count, row = i / depths % p->row_blocks * p->rows;
  place q = {.n = i / depths / p->row_blocks, .d = i % depths, .row = row, .rows = least(p->rows, p->a[1].count - row)};
  q.pixel =
      (((size_t)q.n * (size_t)depths + (size_t)q.d) * (size_t)p->a[1].count + (size_t)row) * (size_t)p->a[2].count;
  return q;
}

static void plan_ahead(ahead next[2], const plan *p, const place *q, int channel, int channels, int calls)
{
  const axis  *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  int          in[3] = {ad->in, ah->in, aw->in}, out[3] = {1, q->rows, aw->count};
  size_t       xs = (size_t)p->x.stride;
  const float *image = (const float *)p->x.x + (size_t)q->n * (size_t)ad->in * (size_t)ah->in * (size_t)aw->in * xs + channel;
  next[0] = ahead_rows(image, xs, in, channels, q->d * ad->stride + ad->shift + ad->taps - 1,
                       q->row * ah->stride + ah->shift, axis_reach(ah, q->rows), calls);
  next[1] = ahead_rows(p->dy + q->pixel * p->dys, p->dys, out, p->co, 0, 0, q->rows, calls);
}

static void unit(const plan *p, float *partial, char *slice, int chunk, int group)
{
  int    channel = group * p->group, channels = least(p->group, p->padded - channel), loaded = 0;
  int    begin = (int)((int64_t)p->items * chunk / p->chunks), end = (int)((int64_t)p->items * (chunk + 1) / p->chunks);
  size_t lanes = (size_t)(p->vectors * VL);
  float *sum = partial + (size_t)channel * lanes, *x = (float *)slice, *dy = (float *)(slice + input_bytes(p));
  for (int t = 0; t < p->taps; t++)
    memset(sum + (size_t)t * (size_t)p->padded * lanes, 0, sizeof *sum * (size_t)channels * lanes);
  for (int i = begin; i < end; i++) {
    place  q = place_of(p, i), following = place_of(p, least(i + 1, p->items - 1));
    ahead  next[2];
    window in = {.x = x, .dy = dy, .plane = plane_floats(p, q.rows), .pixels = (size_t)q.rows * (size_t)p->a[2].count,
                 .row = (size_t)axis_reach(&p->a[2], p->a[2].count) * STEP, .first_plane = q.d * p->a[0].stride};
    in.block = in.plane * (size_t)p->a[0].taps;
    if (q.d == 0) loaded = 0; /* another sample or row block: the ring starts again */
    loaded = pack_input(p, x, &in, q.n, q.d, q.row, q.rows, channel, loaded);
    pack_output(dy, p, p->dy + q.pixel * p->dys, in.pixels);
    plan_ahead(next, p, &following, channel, channels, tiles(p, q.rows, channels));
    add_block(p, sum, &in, q.rows, channels, next);
  }
}

/* dw += partial 0 + partial 1 + ... */
static void add_partials(const plan *p, float *dw, const float *partials)
{
  size_t lanes = (size_t)(p->vectors * VL);
#pragma omp parallel for if (partial_floats(p) * (size_t)p->chunks > 65536)
  for (int row = 0; row < p->taps * p->ci; row++) {
    const float *from = partials + ((size_t)(row / p->ci) * (size_t)p->padded + (size_t)(row % p->ci)) * lanes;
    float       *to = dw + (size_t)row * (size_t)p->co;
    for (int v = 0; v < p->vectors; v++) {
      vec sum = load(from + v * VL);
      int n = least(VL, p->co - v * VL);
      for (int c = 1; c < p->chunks; c++) sum += load(from + (size_t)c * partial_floats(p) + v * VL);
      store_tail(to + v * VL, load_tail(to + v * VL, n) + sum, n);
    }
  }
}

void NAME(direct_grad_weight)(float *dw, ebbk_input x, const float *dy, int dys, const ebbk_conv *g, void *scratch)
{
  plan   p = make_plan(g);
  float *partials = scratch;
  char  *slices = (char *)scratch + partials_bytes(&p);
  double flops = 2.0 * p.taps * p.ci * p.co * p.n * p.a[0].count * p.a[1].count * p.a[2].count;
  p.x = x, p.dy = dy, p.dys = (size_t)dys;
  deal d = deal_out((size_t)(p.chunks * p.groups), flops > FLOPS_PARALLEL ? omp_get_max_threads() : 1);
#pragma omp parallel num_threads(d.threads)
  FOR_DEALT(u, d)
  {
    int chunk = (int)u / p.groups, group = (int)u % p.groups;
    unit(&p, partials + (size_t)chunk * partial_floats(&p), slices + (size_t)omp_get_thread_num() * slice_bytes(&p), chunk, group);
  }
  add_partials(&p, dw, partials);
}
