/* conv_direct_weight.c -- the weight gradient of the convolution, by direct sums.
 * Owns: tiles of input x output channels in registers, the chunks and the order of their sums. Must not know: conv_direct.c.
 *
 * dw[k, ci, co] += sum over n, q of x[n, q stride + k - pad, ci] dy[n, q, co]
 *
 * The pixels are cut into chunks and the input channels into groups; a unit of work is one group in one chunk. It packs
 * its channels of x and dy row block by row block (x as a ring of planes in depth) and adds to the chunk's partial dw
 * in scratch; at the end the partials are added up (partials.h). The number of chunks depends on the sizes
 * only: many for small weights, few for large ones, whose groups are enough to share.
 *
 * Packed, x is (blocks of STEP channels, samples, planes, rows, columns, STEP) with its zero border, dy (vectors, pixels, VL):
 * what a tile reads is contiguous, so that a piece of pixels stays in L1 for all taps and channels, whatever the number
 * of channels, and odd channel counts are zeros. Where a row has three taps and stride 1, a tile takes those three
 * together, with each dy in a register for all of them. Of small flat images several samples are packed at a time: the fewer
 * pixels a tile adds up, the more often its sums go to L2 and back. Planes and rows of taps outside the image are left out.
 * Cost: 2 taps Cin Cout FLOP an output pixel. */
#include "kernels/conv_parts.h"
#include "kernels/conv_ways.h"
#include "kernels/deal.h"
#include "kernels/partials.h"

enum {
  STEP = 8,                                           /* input channels in a block                    */
  CHANNELS = REGISTERS == 32 ? 8 : 4,                 /* of a tile, with two vectors or three taps    */
  ROW_TAPS = 3,
  GROUP_MOST = 64,                                    /* channels                                     */
  GROUP_LEAST = 16,
  CHUNKS_MOST = 32,
  CHUNK_PIXELS = 384,                                 /* at least: a chunk's partial is added to dw   */
  UNITS_WANTED = 8,
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
  int          samples, rows, row_blocks;         /* in an item; its depth is one                       */
  int          items, chunks;
} plan;

/* Floats of x, of `rows` output rows: one plane of a block of STEP channels; all of an item. */
static size_t plane_floats(const plan *p, int rows)
{
  return (size_t)axis_reach(&p->a[1], rows) * (size_t)axis_reach(&p->a[2], p->a[2].count) * STEP;
}

static size_t input_floats(const plan *p, int rows)
{
  return plane_floats(p, rows) * (size_t)p->a[0].taps * (size_t)p->samples * (size_t)(p->group / STEP);
}

static size_t partial_floats(const plan *p)
{
  return (size_t)p->taps * (size_t)p->padded * (size_t)(p->vectors * VL);
}

static size_t pixels_of(const plan *p)
{
  return (size_t)p->a[0].count * (size_t)p->a[1].count * (size_t)p->a[2].count;
}

/* As many as their partials have room for, and pixels. */
static int chunks_of(const plan *p)
{
  size_t room = PARTIAL_BYTES / (partial_floats(p) * sizeof(float)), fill = (size_t)p->n * pixels_of(p) / CHUNK_PIXELS;
  size_t chunks = room < fill ? room : fill;
  return chunks < 1 ? 1 : chunks > CHUNKS_MOST ? CHUNKS_MOST : (int)chunks;
}

/* Whole samples of flat images: as many as fill a piece and fit, but some for each chunk. */
static int samples_of(const plan *p)
{
  size_t fill = PIECE_PIXELS / pixels_of(p), fit = PACKED_BYTES / (input_floats(p, p->rows) * sizeof(float));
  if (p->a[0].count > 1 || p->a[0].taps > 1 || p->row_blocks > 1) return 1;
  return most(1, least(least((int)fill, (int)fit), p->n / p->chunks));
}

static plan make_plan(const ebbk_conv *g)
{
  plan p = {.n = g->n, .ci = g->ci, .co = g->co, .samples = 1};
  for (int i = 0; i < 3; i++) p.a[i] = axis_forward(g, i);
  p.taps = p.a[0].taps * p.a[1].taps * p.a[2].taps;
  p.vectors = parts(p.co, VL);
  p.padded = parts(p.ci, STEP) * STEP;
  p.group = least(GROUP_MOST, p.padded);
  p.chunks = chunks_of(&p);
  while (p.group >= 2 * GROUP_LEAST && p.chunks * parts(p.padded, p.group) < UNITS_WANTED)
    p.group = parts(p.group / 2, STEP) * STEP;
  p.groups = parts(p.padded, p.group);
  p.rows = p.a[1].count;
  while (p.rows > 1 && input_floats(&p, p.rows) * sizeof(float) > PACKED_BYTES) p.rows = (p.rows + 1) / 2;
  while (p.rows > 8 && p.n * p.a[0].count * parts(p.a[1].count, p.rows) < p.chunks) p.rows = (p.rows + 1) / 2;
  p.row_blocks = parts(p.a[1].count, p.rows);
  p.samples = samples_of(&p);
  p.items = parts(p.n, p.samples) * p.row_blocks * p.a[0].count;
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
  size_t pixels = (size_t)p->samples * (size_t)p->rows * (size_t)p->a[2].count;
  return input_bytes(p) + aligned(sizeof(float) * pixels * (size_t)(p->vectors * VL));
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
  size_t       x_sample, x_row, x_pixel, dy_sample, dy_vector; /* dy's pixels follow one another, VL apart */
  int          samples, rows, columns;
  ahead       *next;                                /* of both operands: a step a row */
} piece;

/* Row i of x, counted through all samples. */
INLINE const float *row_of(const piece *s, int i)
{
  return s->x + (size_t)(i / s->rows) * s->x_sample + (size_t)(i % s->rows) * s->x_row;
}

INLINE const float *results_of(const piece *s, int i)
{
  return s->dy + (size_t)(i / s->rows) * s->dy_sample + (size_t)(i % s->rows) * (size_t)s->columns * VL;
}

INLINE void add_to(float *sum, vec v)
{
  store(sum, load(sum) + v);
}

/* Asks for the sums of some channels, which are often in L2, while their products are computed. */
INLINE void ask_for(const int channels, const int vectors, const float *sum, size_t sum_row)
{
  UNROLL
  for (int i = 0; i < channels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) __builtin_prefetch(sum + (size_t)i * sum_row + v * VL, 1);
}

/* sum[i, v] += sum over pixels of x[i] dy[v] */
INLINE void tile(const int channels, const int vectors, float *sum, size_t sum_row, const piece *s)
{
  vec acc[OUTER_MOST][2], b[2];
  outer_clear(channels, vectors, acc);
  ask_for(channels, vectors, sum, sum_row);
  for (int i = 0; i < s->samples * s->rows; i++) {
    const float *x = row_of(s, i), *dy = results_of(s, i);
    look_ahead(&s->next[0]);
    look_ahead(&s->next[1]);
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
  vec acc[ROW_TAPS][STEP], b[ROW_TAPS];
  UNROLL
  for (int j = 0; j < ROW_TAPS; j++)
    UNROLL
    for (int i = 0; i < CHANNELS; i++) acc[j][i] = (vec){0};
  for (int r = 0; r < s->samples * s->rows; r++) {
    const float *x = row_of(s, r), *at = results_of(s, r), *end = at + s->columns * VL;
    look_ahead(&s->next[0]);
    look_ahead(&s->next[1]);
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
  size_t       block, sample, plane, row; /* floats of x in a channel block, a sample, a plane, a row */
  size_t       pixels;                    /* of dy */
  int          samples;
  int          depth, top;                /* the first result's */
} window;

/* x at the first tap of a row of taps. */
static const float *taps_at(const plan *p, const window *in, int channel, int td, int th)
{
  int plane = (in->depth * p->a[0].stride + td) % p->a[0].taps; /* of the ring */
  return in->x + (size_t)(channel / STEP) * in->block + (size_t)plane * in->plane + (size_t)th * in->row + channel % STEP;
}

/* What a piece from `row` on has of rows for which row th of the taps is inside the image: the others add zeros. */
static piece rows_inside(const plan *p, const window *in, piece s, int row, int th)
{
  const axis *a = &p->a[1];
  int         first = 0, end = s.rows;
  while (first < end && taps_inside(a, in->top + row + first).first > th) first++;
  while (first < end && taps_inside(a, in->top + row + end - 1).end <= th) end--;
  s.x += (size_t)first * s.x_row;
  s.dy += (size_t)(first * s.columns) * VL;
  s.rows = end - first;
  return s;
}

static bool takes_rows(const plan *p)
{
  return p->a[2].taps == ROW_TAPS && p->a[2].stride == 1 && p->a[2].count >= 2;
}

/* One row of taps: sum (taps, padded, lanes) from its first on += the products of a piece, from the channel on where the piece
 * has it. */
static void add_taps(const plan *p, float *sum, piece s, int vectors)
{
  size_t lanes = (size_t)(p->vectors * VL), tap = (size_t)p->padded * lanes;
  if (takes_rows(p)) {
    row_tile(sum, tap, lanes, &s);
    return;
  }
  for (int t = 0; t < p->a[2].taps; t++, sum += tap, s.x += STEP) {
    if (vectors == 2) wide_tile(sum, lanes, &s);
    else narrow_tile(sum, lanes, &s);
  }
}

/* sum += the products of `rows` rows from `row` on; of all rows if there are several samples */
static void add_piece(const plan *p, float *sum, const window *in, int row, int rows, int channels, ahead next[2])
{
  size_t lanes = (size_t)(p->vectors * VL), line = (size_t)p->a[2].taps * (size_t)p->padded * lanes;
  int    columns = p->a[2].count;
  inside deep = taps_inside(&p->a[0], in->depth);
  piece  s = {.x_sample = in->sample, .x_row = (size_t)p->a[1].stride * in->row, .x_pixel = (size_t)p->a[2].stride * STEP,
              .dy_sample = in->pixels / (size_t)in->samples * VL, .dy_vector = in->pixels * VL, .samples = in->samples,
              .rows = rows, .columns = columns, .next = next};
  for (int v = 0, vectors; v < p->vectors; v += vectors) {
    vectors = takes_rows(p) ? 1 : least(2, p->vectors - v);
    int step = takes_rows(p) || vectors == 2 ? CHANNELS : STEP;
    s.dy = in->dy + ((size_t)v * in->pixels + (size_t)(row * columns)) * VL;
    for (int i = 0; i < channels; i += step) {
      float *to = sum + (size_t)i * lanes + (size_t)(v * VL);
      for (int td = deep.first; td < deep.end; td++)
        for (int th = 0; th < p->a[1].taps; th++) {
          s.x = taps_at(p, in, i, td, th) + (size_t)row * s.x_row;
          piece part = rows_inside(p, in, s, row, th);
          if (part.rows) add_taps(p, to + (size_t)(td * p->a[1].taps + th) * line, part, vectors);
        }
    }
  }
}

/* Rows of a piece: all pieces of a block about equal; whole samples if there are several. */
static int piece_rows(const plan *p, int rows)
{
  if (p->samples > 1) return rows;
  return parts(rows, parts(rows, most(1, PIECE_PIXELS / p->a[2].count)));
}

static void add_block(const plan *p, float *sum, const window *in, int rows, int channels, ahead next[2])
{
  int step = piece_rows(p, rows);
  for (int row = 0; row < rows; row += step) add_piece(p, sum, in, row, least(step, rows - row), channels, next);
}

/* ---- units ------------------------------------------------------------------------------------------------------ */
/* Item i: output depth d of a row block of some samples, from sample n on; its first output pixel. */
typedef struct place {
  int    n, samples, d, row, rows;
  size_t pixel;
} place;

static place place_of(const plan *p, int i)
{
  int   depths = p->a[0].count, row = i / depths % p->row_blocks * p->rows, n = i / depths / p->row_blocks * p->samples;
  place q = {.n = n, .samples = least(p->samples, p->n - n), .d = i % depths, .row = row, .rows = least(p->rows, p->a[1].count - row)};
  q.pixel =
      (((size_t)q.n * (size_t)depths + (size_t)q.d) * (size_t)p->a[1].count + (size_t)row) * (size_t)p->a[2].count;
  return q;
}

static window window_of(const plan *p, const place *q, const float *x, const float *dy)
{
  window in = {.x = x, .dy = dy, .plane = plane_floats(p, q->rows), .samples = q->samples, .depth = q->d, .top = q->row};
  in.row = (size_t)axis_reach(&p->a[2], p->a[2].count) * STEP;
  in.sample = in.plane * (size_t)p->a[0].taps;
  in.block = in.sample * (size_t)q->samples;
  in.pixels = (size_t)q->samples * (size_t)q->rows * (size_t)p->a[2].count;
  return in;
}

/* Packs the planes of x that an item reads, but those below `loaded`, which the ring holds; returns the next. */
static int pack_input(const plan *p, float *to, const window *in, const place *q, int channel, int loaded)
{
  const axis *ad = &p->a[0], *ah = &p->a[1];
  source      s = source_of(&p->x, p->ci, channel, least(p->group, p->ci - channel));
  int         front = q->d * ad->stride, end = front + ad->taps, top = q->row * ah->stride + ah->shift;
  for (int plane = most(loaded, front); plane < end; plane++)
    for (int i = 0; i < q->samples; i++)
      for (int r = 0; r < axis_reach(ah, q->rows); r++)
        pack_row(to + (size_t)i * in->sample + (size_t)(plane % ad->taps) * in->plane + (size_t)r * in->row, in->block, p, &s,
                 q->n + i, plane + ad->shift, top + r);
  return end;
}

/* The last plane of an item's first sample, as its others may be in the ring, and the rows of dy; of several samples all. */
static void plan_ahead(ahead next[2], const plan *p, const place *q, int channel, int channels, int calls)
{
  const axis  *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  int          in[3] = {ad->in, q->samples * ah->in, aw->in}, out[3] = {1, q->samples * q->rows, aw->count};
  size_t       xs = (size_t)p->x.stride;
  const float *image = (const float *)p->x.x + (size_t)q->n * (size_t)ad->in * (size_t)ah->in * (size_t)aw->in * xs + channel;
  next[0] = ahead_rows(image, xs, in, channels, q->d * ad->stride + ad->shift + ad->taps - 1, q->row * ah->stride + ah->shift,
                       (q->samples - 1) * ah->in + axis_reach(ah, q->rows), calls);
  next[1] = ahead_rows(p->dy + q->pixel * p->dys, p->dys, out, p->co, 0, 0, q->samples * q->rows, calls);
}

/* Rows that all tiles of an item go through. */
static int steps(const plan *p, const place *q, int channels)
{
  int rows = q->samples * q->rows;
  if (takes_rows(p)) return rows * p->vectors * parts(channels, CHANNELS) * (p->taps / ROW_TAPS);
  return rows * parts(p->vectors, 2) * parts(channels, CHANNELS) * p->taps;
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
    window in = window_of(p, &q, x, dy);
    ahead  next[2];
    if (q.d == 0) loaded = 0; /* other samples or another row block: the ring starts again */
    loaded = pack_input(p, x, &in, &q, channel, loaded);
    pack_output(dy, p, p->dy + q.pixel * p->dys, in.pixels);
    plan_ahead(next, p, &following, channel, channels, steps(p, &q, channels));
    add_block(p, sum, &in, q.rows, channels, next);
  }
}

/* dw += the sum of the partials */
static void add_partials(const plan *p, float *dw, float *partials)
{
  size_t lanes = (size_t)(p->vectors * VL);
  fold_halves(partials, partial_floats(p), p->chunks);
#pragma omp parallel for if (partial_floats(p) * (size_t)p->chunks > 65536)
  for (int row = 0; row < p->taps * p->ci; row++) {
    const float *from = partials + ((size_t)(row / p->ci) * (size_t)p->padded + (size_t)(row % p->ci)) * lanes;
    float       *to = dw + (size_t)row * (size_t)p->co;
    for (int v = 0; v < p->vectors; v++) {
      int n = least(VL, p->co - v * VL);
      store_tail(to + v * VL, load_tail(to + v * VL, n) + folded(from + v * VL, partial_floats(p), p->chunks), n);
    }
  }
}

void NAME(direct_grad_weight)(float *dw, ebbk_input x, const float *dy, int dys, const ebbk_conv *g, void *scratch)
{
  plan   p = make_plan(g);
  float *partials = scratch;
  char  *slices = (char *)scratch + partials_bytes(&p);
  double flops = 2.0 * p.taps * p.ci * p.co * p.n * (double)pixels_of(&p);
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
