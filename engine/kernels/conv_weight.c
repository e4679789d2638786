/* conv_weight.c -- the weight gradient of the convolution.
 * Owns: tiles of input x output channels in registers, the chunks and the order of their sums. Must not know: conv.c.
 *
 * dw[k, ci, co] += sum over n, q of x[n, q stride + k - pad, ci] dy[n, q, co]
 *
 * The pixels are cut into chunks and the input channels into groups; a unit of work is one group in one chunk. It packs
 * its channels of x row block by row block (a ring of planes in depth) and adds to the chunk's partial dw in scratch;
 * at the end the partials are added up in the order of the chunks. The number of chunks depends on the sizes only:
 * many for small weights, few for large ones, whose groups are enough to share. Inside, a tile of P input channels x
 * V vectors of output channels is summed over a piece of pixels that stays in L1 for all taps and channels.
 * Cost: 2 taps Cin Cout FLOP an output pixel. */
#include "kernels/conv_parts.h"

#include <omp.h>

/* Tiles: input channels by vectors of output channels. Groups are multiples of STEP channels. */
enum {
  WIDE_CHANNELS = REGISTERS == 32 ? 8 : 4,
  NARROW_CHANNELS = REGISTERS == 32 ? 16 : 8,
  STEP = 8,
  GROUP_MOST = 64,
  GROUP_LEAST = 16,
  CHUNKS_MOST = 32,
  UNITS_WANTED = 16,
  PARTIAL_BYTES = 2 << 20,   /* of all chunks, unless one is larger */
  PACKED_BYTES = 256 << 10,  /* of a row block's input: fits L2     */
  PIECE_PIXELS = 160,        /* fit L1 with both operands           */
  FLOPS_PARALLEL = 1 << 18,
};

typedef struct plan {
  int          n, ci, co;
  axis         a[3];
  const float *x, *dy;
  size_t       xs, dys;
  int          taps, vectors, padded;             /* padded: ci up to a multiple of STEP           */
  int          group, groups;                     /* channels in a group, their number             */
  int          rows, row_blocks, items, chunks;   /* item: one depth of one row block of one sample */
  bool         packed;
} plan;

static size_t plane_floats(const plan *p, int rows)
{
  return (size_t)axis_reach(&p->a[1], rows) * (size_t)axis_reach(&p->a[2], p->a[2].count) * (size_t)p->group;
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
  p.packed = p.ci != p.padded || axis_needs_border(&p.a[0]) || axis_needs_border(&p.a[1]) || axis_needs_border(&p.a[2]);
  size_t chunks = PARTIAL_BYTES / (partial_floats(&p) * sizeof(float));
  p.chunks = chunks < 1 ? 1 : chunks > CHUNKS_MOST ? CHUNKS_MOST : (int)chunks;
  while (p.group >= 2 * GROUP_LEAST && p.chunks * parts(p.padded, p.group) < UNITS_WANTED) p.group /= 2;
  p.groups = parts(p.padded, p.group);
  p.rows = p.a[1].count;
  while (p.rows > 1 && plane_floats(&p, p.rows) * (size_t)p.a[0].taps * sizeof(float) > PACKED_BYTES) p.rows = (p.rows + 1) / 2;
  while (p.rows > 8 && p.n * p.a[0].count * parts(p.a[1].count, p.rows) < p.chunks) p.rows = (p.rows + 1) / 2;
  p.row_blocks = parts(p.a[1].count, p.rows);
  p.items = p.n * p.row_blocks * p.a[0].count;
  p.chunks = least(p.chunks, p.items);
  return p;
}

/* ---- scratch: the partials, then one slice a thread ------------------------------------------------------------- */
static size_t partials_bytes(const plan *p)
{
  return aligned(sizeof(float) * partial_floats(p) * (size_t)p->chunks);
}

static size_t slice_bytes(const plan *p)
{
  return p->packed ? aligned(sizeof(float) * (size_t)p->a[0].taps * plane_floats(p, p->rows)) : 0;
}

size_t NAME(conv_weight_scratch)(const ebbk_conv *g, int threads)
{
  plan p = make_plan(g);
  return partials_bytes(&p) + (size_t)threads * slice_bytes(&p);
}

/* ---- tiles ------------------------------------------------------------------------------------------------------ */
/* Pixels of both operands; x is at the tile's first input channel, dy at its first output channel. */
typedef struct piece {
  const float *x, *dy;
  size_t       x_row, x_pixel, dy_pixel; /* dy's rows follow one another */
  int          rows, columns, tail;      /* tail: channels in the last vector of dy */
} piece;

/* sum[i, v] += sum over pixels of x[i] dy[v] */
INLINE void tile(const int channels, const int vectors, const bool whole, float *sum, size_t sum_row, const piece *s)
{
  vec          acc[16][2], b[2];
  const float *dy = s->dy;
  UNROLL
  for (int i = 0; i < channels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};
  for (int r = 0; r < s->rows; r++) {
    const float *x = s->x + (size_t)r * s->x_row;
    for (int w = 0; w < s->columns; w++, x += s->x_pixel, dy += s->dy_pixel) {
      UNROLL
      for (int v = 0; v < vectors; v++) b[v] = whole || v < vectors - 1 ? load(dy + v * VL) : load_part(dy + v * VL, s->tail);
      UNROLL
      for (int i = 0; i < channels; i++) {
        vec a = broadcast(x[i]);
        UNROLL
        for (int v = 0; v < vectors; v++) acc[i][v] += a * b[v];
      }
    }
  }
  UNROLL
  for (int i = 0; i < channels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) {
      float *to = sum + (size_t)i * sum_row + v * VL;
      store(to, load(to) + acc[i][v]);
    }
}

NOINLINE void wide_tile(float *sum, size_t sum_row, const piece *s)
{
  if (s->tail == VL) tile(WIDE_CHANNELS, 2, true, sum, sum_row, s);
  else tile(WIDE_CHANNELS, 2, false, sum, sum_row, s);
}

NOINLINE void narrow_tile(float *sum, size_t sum_row, const piece *s)
{
  if (s->tail == VL) tile(NARROW_CHANNELS, 1, true, sum, sum_row, s);
  else tile(NARROW_CHANNELS, 1, false, sum, sum_row, s);
}

NOINLINE void small_tile(float *sum, size_t sum_row, const piece *s)
{
  tile(STEP, 1, false, sum, sum_row, s);
}

/* ---- a row block: pieces of pixels, then panels of output channels, tiles of input channels, taps ---------------- */
/* The input of a row block: where tap (td, th, tw) of its first pixel is. */
typedef struct window {
  const float *x;
  size_t       plane, row, pixel;
  int          first_plane, planes; /* of a ring if planes > 0 */
} window;

static const float *tap_at(const plan *p, const window *in, int t)
{
  int td = t / (p->a[1].taps * p->a[2].taps), th = t / p->a[2].taps % p->a[1].taps, tw = t % p->a[2].taps;
  int plane = in->planes ? (in->first_plane + td) % in->planes : td;
  return in->x + (size_t)plane * in->plane + (size_t)th * in->row + (size_t)tw * in->pixel;
}

static int tile_channels(int vectors, int left)
{
  if (vectors == 2) return WIDE_CHANNELS;
  return left >= NARROW_CHANNELS ? NARROW_CHANNELS : STEP;
}

/* sum (taps, padded, lanes) += the products of one piece; s holds its pixels for tap and channel 0 */
static void add_piece(const plan *p, float *sum, const piece *s, const window *in, int channels)
{
  size_t lanes = (size_t)(p->vectors * VL);
  for (int v = 0, vectors; v < p->vectors; v += vectors) {
    vectors = least(2, p->vectors - v);
    for (int i = 0, step; i < channels; i += step) {
      step = tile_channels(vectors, channels - i);
      for (int t = 0; t < p->taps; t++) {
        piece  q = *s;
        float *to = sum + ((size_t)t * (size_t)p->padded + (size_t)i) * lanes + (size_t)(v * VL);
        q.x = s->x + (tap_at(p, in, t) - in->x) + i;
        q.dy = s->dy + v * VL;
        q.tail = least(VL, p->co - (v + vectors - 1) * VL);
        if (vectors == 2) wide_tile(to, lanes, &q);
        else if (step == NARROW_CHANNELS) narrow_tile(to, lanes, &q);
        else small_tile(to, lanes, &q);
      }
    }
  }
}

static void add_block(const plan *p, float *sum, const window *in, const float *dy, int rows, int channels)
{
  int columns = p->a[2].count, step = most(1, PIECE_PIXELS / columns);
  for (int r = 0; r < rows; r += step) {
    piece s = {.x = in->x + (size_t)(r * p->a[1].stride) * in->row, .dy = dy + (size_t)r * (size_t)columns * p->dys,
               .x_row = (size_t)p->a[1].stride * in->row, .x_pixel = (size_t)p->a[2].stride * in->pixel,
               .dy_pixel = p->dys, .rows = least(step, rows - r), .columns = columns};
    add_piece(p, sum, &s, in, channels);
  }
}

/* ---- units ------------------------------------------------------------------------------------------------------ */
/* The rows of the input that an item reads, `loaded` planes of which are in the ring already. */
static int load_item(const plan *p, window *in, float *slice, int n, int d, int row, int rows, int channel, int loaded)
{
  const axis  *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  size_t       in_row = (size_t)aw->in * p->xs, in_plane = (size_t)ah->in * in_row;
  const float *x = p->x + (size_t)n * (size_t)ad->in * in_plane + channel;
  int          front = d * ad->stride, top = row * ah->stride + ah->shift;
  if (!p->packed) {
    x += (size_t)(front + ad->shift) * in_plane + (size_t)top * in_row + (size_t)aw->shift * p->xs;
    *in = (window){.x = x, .plane = in_plane, .row = in_row, .pixel = p->xs};
    return 0;
  }
  packing source = {.x = x, .xs = p->xs, .in = {ad->in, ah->in, aw->in}, .c = least(p->group, p->ci - channel),
                    .padded = p->group, .left = aw->shift, .columns = axis_reach(aw, aw->count)};
  *in = (window){.x = slice, .plane = plane_floats(p, rows), .row = (size_t)source.columns * (size_t)p->group,
                 .pixel = (size_t)p->group, .first_plane = front, .planes = ad->taps};
  for (loaded = most(loaded, front); loaded < front + ad->taps; loaded++)
    pack_plane(slice + (size_t)(loaded % ad->taps) * in->plane, &source, loaded + ad->shift, top, axis_reach(ah, rows));
  return loaded;
}

static void unit(const plan *p, float *partial, float *slice, int chunk, int group)
{
  int      channel = group * p->group, channels = least(p->group, p->padded - channel), depths = p->a[0].count;
  int      begin = (int)((int64_t)p->items * chunk / p->chunks), end = (int)((int64_t)p->items * (chunk + 1) / p->chunks);
  int      loaded = 0;
  size_t   lanes = (size_t)(p->vectors * VL);
  float   *sum = partial + (size_t)channel * lanes;
  for (int t = 0; t < p->taps; t++)
    memset(sum + (size_t)t * (size_t)p->padded * lanes, 0, sizeof *sum * (size_t)channels * lanes);
  for (int i = begin; i < end; i++) {
    window in;
    int    d = i % depths, row = i / depths % p->row_blocks * p->rows, n = i / depths / p->row_blocks;
    int    rows = least(p->rows, p->a[1].count - row);
    size_t pixel = (((size_t)n * (size_t)depths + (size_t)d) * (size_t)p->a[1].count + (size_t)row) * (size_t)p->a[2].count;
    if (d == 0) loaded = 0; /* another sample or row block: the ring starts again */
    loaded = load_item(p, &in, slice, n, d, row, rows, channel, loaded);
    add_block(p, sum, &in, p->dy + pixel * p->dys, rows, channels);
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

void NAME(conv_grad_weight)(float *dw, const float *x, int xs, const float *dy, int dys, const ebbk_conv *g,
                            void *scratch)
{
  plan   p = make_plan(g);
  float *partials = scratch;
  char  *slices = (char *)scratch + partials_bytes(&p);
  double flops = 2.0 * p.taps * p.ci * p.co * p.n * p.a[0].count * p.a[1].count * p.a[2].count;
  p.x = x, p.xs = (size_t)xs, p.dy = dy, p.dys = (size_t)dys;
#pragma omp parallel for schedule(dynamic) if (flops > FLOPS_PARALLEL)
  for (int u = 0; u < p.chunks * p.groups; u++)
    unit(&p, partials + (size_t)(u / p.groups) * partial_floats(&p),
         (float *)(slices + (size_t)omp_get_thread_num() * slice_bytes(&p)), u / p.groups, u % p.groups);
  add_partials(&p, dw, partials);
}
