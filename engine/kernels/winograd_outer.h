/* winograd_outer.h -- the weight gradient of convolutions with 3x3 kernels, as the adjoint of Winograd's minimal filtering
 * (winograd_parts.h) with respect to w:
 *   dw = G^T [ sum over tiles of (B^T d B) (A dY A^T) ] G
 * where the products, point by point, are outer products of input and output channels.
 * Owns: sums in the transformed domain and their order. Private to winograd_weight.c and winograd_backward.c.
 *
 * The groups of tiles are cut into chunks and the input channels into groups, as in conv_direct_weight.c: a unit of work is one
 * group of channels in one chunk and adds to the chunk's partial sums, which depend on the sizes only. A tap of depth is an
 * offset among the transformed tiles, so that all depths of an item are one sum.
 * Cost: 72 depth taps Cin Cout / 16 FLOP an output pixel, and the transforms. */
#pragma once
#include "kernels/partials.h"
#include "kernels/winograd_parts.h"

enum {
  STEP = 8,                             /* input channels are padded to this                     */
  CHANNELS = REGISTERS == 32 ? 8 : 4,   /* whose sums are in registers together, with two vectors */
  NARROW_CHANNELS = 8,                  /* with one                                              */
  GROUP = 32,                           /* input channels in a group, about                      */
  PARTIAL_BYTES = 3 << 19,              /* of all chunks, unless one is larger                   */
  CHUNKS_MOST = 32,
  UNITS_WANTED = 4,                     /* more would be more sums to write and read: 6 took 1.3 times as long at 128 channels, 12^3 */
  NARROW_BYTES = 112 << 10,             /* of an item's transformed input, with one group: room for a sweep */
  OUTER_BYTES = 256 << 10,              /* with several                                          */
  OUTER_LEAST = 32,                     /* tiles of an item                                      */
  OUTER_TILES = 240,
};

typedef struct outer_plan {
  grid         g;
  int          ci, co, padded, vectors;
  int          group, channel_groups;   /* channels in a group, their number */
  int          chunks;
  const float *dy;
  size_t       dys;
} outer_plan;

/* Sums: (point, tap, ci, lanes) */
static size_t sums_row(const outer_plan *p)
{
  return (size_t)(p->vectors * VL);
}

static size_t sums_floats(const outer_plan *p)
{
  return POINTS * (size_t)p->g.taps * (size_t)p->padded * sums_row(p);
}

static outer_plan outer_of(const ebbk_conv *c)
{
  outer_plan p = {.ci = c->ci, .co = c->co, .g = grid_of(c, false)};
  p.vectors = parts(p.co, VL);
  p.padded = parts(p.ci, STEP) * STEP;
  p.channel_groups = parts(p.padded, GROUP);
  p.group = parts(parts(p.padded, p.channel_groups), STEP) * STEP;
  p.channel_groups = parts(p.padded, p.group);
  int bytes = p.channel_groups > 1 ? OUTER_BYTES : NARROW_BYTES;
  int tiles = (int)((size_t)bytes / (POINTS * sizeof(float) * (size_t)p.group));
  grid_plan(&p.g, most(OUTER_LEAST * p.g.taps, least(OUTER_TILES, tiles)), parts(UNITS_WANTED, p.channel_groups), OUTER_LEAST);
  p.chunks = CHUNKS_MOST; /* halved, so that powers of two threads share them evenly */
  while (p.chunks > 1 && sums_floats(&p) * sizeof(float) * (size_t)p.chunks > PARTIAL_BYTES) p.chunks /= 2;
  p.chunks = least(most(p.chunks, parts(UNITS_WANTED, p.channel_groups)), grid_items(&p.g));
  return p;
}

/* The partial sums of all chunks. */
static size_t partials_bytes(const outer_plan *p)
{
  return aligned(sizeof(float) * sums_floats(p) * (size_t)p->chunks);
}

/* The items of a chunk. */
typedef struct span { int begin, end; } span;

static span chunk_items(const outer_plan *p, int chunk)
{
  int items = grid_items(&p->g);
  return (span){share(items, p->chunks, chunk), share(items, p->chunks, chunk + 1)};
}

/* The transformed gradient of a panel. */
static size_t gradient_point(const outer_plan *p)
{
  return point_floats((size_t)(grid_tiles(&p->g, false) * least(WIDE, p->vectors) * VL));
}

static size_t gradient_bytes(const outer_plan *p)
{
  return aligned(sizeof(float) * POINTS * gradient_point(p));
}

/* ---- A dY A^T of a panel of channels: (point, tile, lanes) --------------------------------------------------------- */
static void gradient_tile(float *to, size_t point, const float *dy, size_t row, size_t pixel, size_t plane, int rows, int columns,
                          int n)
{
  vec  t[PATCH][OUT];
  bool whole = rows == OUT && columns == OUT && n == VL;
  UNROLL
  for (int c = 0; c < OUT; c++) {
    vec d[OUT];
    if (whole)
      for (int r = 0; r < OUT; r++) {
        d[r] = load(dy + (size_t)r * row + (size_t)c * pixel);
        if (plane) ask(dy + (size_t)r * row + (size_t)c * pixel, plane);
      }
    else
      for (int r = 0; r < OUT; r++)
        d[r] = r < rows && c < columns ? load_tail(dy + (size_t)r * row + (size_t)c * pixel, n) : (vec){0};
    output_line_adjoint(&t[0][c], OUT, d, 1);
  }
  for (int r = 0; r < PATCH; r++) {
    vec y[PATCH];
    output_line_adjoint(y, 1, t[r], 1);
    for (int j = 0; j < PATCH; j++, to += point) store(to, y[j]);
  }
}

static void transform_gradient(float *to, const outer_plan *p, const item *k, int panel, int vectors)
{
  const grid *g = &p->g;
  size_t      row = (size_t)g->out[2] * p->dys, plane = next_plane(g->out, p->dys);
  int         tiles = k->depths * k->strips * g->strip;
  for (int i = 0; i < tiles; i++) {
    tile_place q = tile_at(g, k, i);
    for (int v = 0; v < vectors; v++) {
      int channel = (panel + v) * VL;
      gradient_tile(to + (i * vectors + v) * VL, gradient_point(p), p->dy + q.pixel * p->dys + channel, row, p->dys, plane, q.rows,
                    q.columns, least(VL, p->co - channel));
    }
  }
}

/* ---- outer products ------------------------------------------------------------------------------------------------ */
typedef struct outer_factors {
  const float *x, *dy;   /* (tiles, x_row), (tiles, lanes) */
  size_t       x_row;
  int          tiles;
  bool         add;
} outer_factors;

/* sum[i, v] = or += sum over tiles of x[tile, i] dy[tile, v] */
INLINE void outer_product(const int channels, const int vectors, float *sum, size_t sum_row, const outer_factors *f)
{
  vec          acc[OUTER_MOST][2], b[WIDE];
  const float *x = f->x, *dy = f->dy;
  outer_clear(channels, vectors, acc);
  for (int t = 0; t < f->tiles; t++, x += f->x_row, dy += vectors * VL) {
    UNROLL
    for (int v = 0; v < vectors; v++) b[v] = load(dy + v * VL);
    outer_add(channels, vectors, acc, x, b);
  }
  UNROLL
  for (int i = 0; i < channels; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) {
      float *to = sum + (size_t)i * sum_row + v * VL;
      store(to, f->add ? load(to) + acc[i][v] : acc[i][v]);
    }
}

NOINLINE void wide_outer(float *sum, size_t sum_row, const outer_factors *f)
{
  outer_product(CHANNELS, WIDE, sum, sum_row, f);
}

NOINLINE void narrow_outer(float *sum, size_t sum_row, const outer_factors *f)
{
  outer_product(NARROW_CHANNELS, 1, sum, sum_row, f);
}

/* ---- an item: sums (point, tap, channels, lanes) = or += ... ------------------------------------------------------ */
static void add_products(const outer_plan *p, float *sum, bool add, const transformed *in, const float *dy, const item *k, int channels,
                         int vectors, ahead next[2])
{
  size_t        row = sums_row(p), tap = (size_t)p->padded * row;
  int           plane = k->strips * p->g.strip, step = vectors == WIDE ? CHANNELS : NARROW_CHANNELS;
  outer_factors f = {.x_row = (size_t)in->width, .tiles = k->depths * plane, .add = add};
  for (int point = 0; point < POINTS; point++)
    for (int t = 0; t < p->g.taps; t++)
      for (int i = 0; i < channels; i += step) {
        float *to = sum + (size_t)(point * p->g.taps + t) * tap + (size_t)i * row;
        f.x = in->v + (size_t)point * in->point + (size_t)(t * plane * in->width + i);
        f.dy = dy + (size_t)point * gradient_point(p);
        if (vectors == WIDE) wide_outer(to, row, &f);
        else narrow_outer(to, row, &f);
        look_ahead(&next[0]);
        look_ahead(&next[1]);
      }
}

/* What the item k, which follows, will read of x and dy. */
static void outer_ahead(ahead next[2], const outer_plan *p, const source *x, const item *k, int channels)
{
  int  steps = p->vectors / WIDE * parts(channels, CHANNELS) + p->vectors % WIDE * parts(channels, NARROW_CHANNELS);
  int  calls = POINTS * p->g.taps * steps;
  next[0] = input_ahead(x, &p->g, k, calls);
  next[1] = strips_ahead(p->dy, p->dys, p->co, p->g.out, &p->g, k, 0, OUT, calls);
}

/* All panels of an item whose input is transformed, from a channel on that `sum` begins with; dy: memory of a panel. */
static void outer_item(const outer_plan *p, float *sum, bool add, const transformed *in, float *dy, const item *k, int channels,
                       ahead next[2])
{
  for (int panel = 0; panel < p->vectors; panel += WIDE) {
    int vectors = least(WIDE, p->vectors - panel);
    transform_gradient(dy, p, k, panel, vectors);
    add_products(p, sum + panel * VL, add, in, dy, k, channels, vectors, next);
  }
}

/* dw += G^T (sum of the partials, whose halves are folded) G, of one input channel, tap of depth and vector */
static void finish(const outer_plan *p, float *dw, const float *partials, int t, int i, int v)
{
  size_t row = sums_row(p), tap = (size_t)p->padded * row, out = (size_t)p->ci * (size_t)p->co;
  int    n = least(VL, p->co - v * VL);
  vec    columns[3][PATCH];
  for (int c = 0; c < PATCH; c++) {
    vec d[PATCH];
    for (int r = 0; r < PATCH; r++) {
      const float *from = partials + (size_t)((r * PATCH + c) * p->g.taps + t) * tap + (size_t)i * row + v * VL;
      d[r] = folded(from, sums_floats(p), p->chunks);
    }
    weight_line_adjoint(&columns[0][c], PATCH, d, 1);
  }
  for (int r = 0; r < 3; r++) {
    vec y[3];
    weight_line_adjoint(y, 1, columns[r], 1);
    for (int c = 0; c < 3; c++) {
      float *to = dw + (size_t)(t * 9 + r * 3 + c) * out + (size_t)i * (size_t)p->co + v * VL;
      store_tail(to, load_tail(to, n) + y[c], n);
    }
  }
}

/* Channel by channel, so that threads find the sums of their own groups. */
static void finish_all(const outer_plan *p, float *dw, float *partials)
{
  fold_halves(partials, sums_floats(p), p->chunks);
#pragma omp parallel for
  for (int i = 0; i < p->g.taps * p->ci; i++)
    for (int v = 0; v < p->vectors; v++) finish(p, dw, partials, i % p->g.taps, i / p->g.taps, v);
}
