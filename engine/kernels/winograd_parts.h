/* winograd_parts.h -- what winograd.c and winograd_weight.c share: the transforms along one dimension, how tiles are
 * grouped, and the transform of the input. Private to them.
 *
 * Winograd's minimal filtering F(4x4,3x3): 4x4 results of a 3x3 kernel w on a patch d of 6x6 pixels are
 *   Y = A^T [ (G w G^T) * (B^T d B) ] A
 * with 36 products, point by point, where there were 144. In depth the taps are summed directly. Source: A. Lavin and
 * S. Gray, "Fast algorithms for convolutional neural networks", CVPR 2016, section 4; here with the points 0, +-5/8,
 * +-3/2 and infinity, whose error is a quarter of that of 0, +-1, +-2 (and all of A and B exact in float).
 *
 * Tiles stand in strips (neighbours in a row of tiles), strips in groups (of any samples). A work item is a group along a
 * run of depths; its tiles are numbered (depth, strip, tile), so that a tap of depth is an offset. */
#pragma once
#include "kernels/conv_parts.h"

enum { POINTS = 36, PATCH = 6, OUT = 4, STRIP_MOST = 12, STRIP_COLUMNS = STRIP_MOST * OUT + PATCH - OUT };
enum { WIDE = 2 }; /* vectors in a panel of output channels, 1 in the last if their number is odd */

static const float P = 0.625f, P2 = 0.390625f, P3 = 0.244140625f; /* the points and their powers */
static const float Q = 1.5f, Q2 = 2.25f, Q3 = 3.375f;

/* ---- along one dimension ---------------------------------------------------------------------------------------- */
/* In multiply-adds that are written out: variants of a kernel must round alike. */
INLINE vec plus(vec c, float a, vec b) /* c + a b */
{
  return multiply_add(broadcast(a), b, c);
}

/* y (6) = B^T d (6) */
INLINE void input_line(vec *y, const int ys, const vec *d, const int ds)
{
  vec even = plus(d[4 * ds], -Q2, d[2 * ds]), odd = plus(d[3 * ds], -Q2, d[ds]);
  y[0] = plus(plus(d[4 * ds], -(P2 + Q2), d[2 * ds]), P2 * Q2, d[0]);
  y[ys] = plus(even, P, odd);
  y[2 * ys] = plus(even, -P, odd);
  even = plus(d[4 * ds], -P2, d[2 * ds]), odd = plus(d[3 * ds], -P2, d[ds]);
  y[3 * ys] = plus(even, Q, odd);
  y[4 * ys] = plus(even, -Q, odd);
  y[5 * ys] = plus(plus(d[5 * ds], -(P2 + Q2), d[3 * ds]), P2 * Q2, d[ds]);
}

/* y (4) = A^T m (6) */
INLINE void output_line(vec *y, const int ys, const vec *m, const int ms)
{
  vec sum = m[ms] + m[2 * ms], difference = m[ms] - m[2 * ms];
  vec sum2 = m[3 * ms] + m[4 * ms], difference2 = m[3 * ms] - m[4 * ms];
  y[0] = m[0] + sum + sum2;
  y[ys] = plus(P * difference, Q, difference2);
  y[2 * ys] = plus(P2 * sum, Q2, sum2);
  y[3 * ys] = plus(plus(m[5 * ms], P3, difference), Q3, difference2);
}

/* y (6) = A d (4), the adjoint of output_line */
INLINE void output_line_adjoint(vec *y, const int ys, const vec *d, const int ds)
{
  vec even = plus(d[0], P2, d[2 * ds]), odd = plus(P * d[ds], P3, d[3 * ds]);
  y[0] = d[0];
  y[ys] = even + odd;
  y[2 * ys] = even - odd;
  even = plus(d[0], Q2, d[2 * ds]), odd = plus(Q * d[ds], Q3, d[3 * ds]);
  y[3 * ys] = even + odd;
  y[4 * ys] = even - odd;
  y[5 * ys] = d[3 * ds];
}

static const float G0 = 1 / (0.390625f * 2.25f);                          /* 1 / (P2 Q2)         */
static const float GP = 1 / (2 * 0.390625f * (0.390625f - 2.25f));        /* 1 / (2 P2 (P2 - Q2)) */
static const float GQ = 1 / (2 * 2.25f * (2.25f - 0.390625f));            /* 1 / (2 Q2 (Q2 - P2)) */

/* u (6) = G w (3) */
INLINE void weight_line(vec *u, const int us, const vec *w, const int ws)
{
  vec even = plus(GP * w[0], GP * P2, w[2 * ws]);
  u[0] = G0 * w[0];
  u[us] = plus(even, GP * P, w[ws]);
  u[2 * us] = plus(even, -GP * P, w[ws]);
  even = plus(GQ * w[0], GQ * Q2, w[2 * ws]);
  u[3 * us] = plus(even, GQ * Q, w[ws]);
  u[4 * us] = plus(even, -GQ * Q, w[ws]);
  u[5 * us] = w[2 * ws];
}

/* w (3) = G^T u (6) */
INLINE void weight_line_adjoint(vec *w, const int ws, const vec *u, const int us)
{
  vec sum = u[us] + u[2 * us], difference = u[us] - u[2 * us];
  vec sum2 = u[3 * us] + u[4 * us], difference2 = u[3 * us] - u[4 * us];
  w[0] = plus(plus(G0 * u[0], GP, sum), GQ, sum2);
  w[ws] = plus(GP * P * difference, GQ * Q, difference2);
  w[2 * ws] = plus(plus(u[5 * us], GP * P2, sum), GQ * Q2, sum2);
}

/* ---- tiles ------------------------------------------------------------------------------------------------------ */
/* The tiles over `out` of n samples; the patch of a tile begins `pad` before it. */
typedef struct grid {
  int n, in[3], out[3], pad[3], taps;
  int rows, columns;                 /* of tiles in a plane                              */
  int strip, pieces;                 /* tiles in a strip, strips in a row of tiles       */
  int strips, group;                 /* strips of all samples, and in a group            */
  int depths, runs;                  /* output depths in a work item, items along depth  */
} grid;

/* Of the results of a convolution, or of its data gradient; not yet planned. */
INLINE grid grid_of(const ebbk_conv *c, bool gradient)
{
  grid g = {.n = c->n, .taps = c->kernel[0]};
  for (int i = 0; i < 3; i++) {
    g.in[i] = gradient ? c->out[i] : c->in[i];
    g.out[i] = gradient ? c->in[i] : c->out[i];
    g.pad[i] = gradient ? c->kernel[i] - 1 - c->pad[i] : c->pad[i];
  }
  return g;
}

/* Where part i of `count` begins. */
INLINE int share(int whole, int count, int i)
{
  return (int)((int64_t)whole * i / count);
}

INLINE int grid_items(const grid *g)
{
  return parts(g->strips, g->group) * parts(g->out[0], g->depths);
}

/* A few groups become as many as two or four threads share evenly (weight gradients, 4 images: 96
 * channels of 24^2 took 0.81 instead of 0.65 ms). */
INLINE int even_groups(int groups, int runs)
{
  return runs == 1 && groups > 2 && groups <= 8 ? (groups + 1) / 4 * 4 : groups;
}

/* Groups and runs so that an item's transformed input has about `tiles` tiles, and there are `items` if they can have `few`
 * tiles of results each. */
INLINE void grid_plan(grid *g, int tiles, int items, int few)
{
  g->rows = parts(g->out[1], OUT);
  g->columns = parts(g->out[2], OUT);
  g->pieces = parts(g->columns, STRIP_MOST);
  g->strip = parts(g->columns, g->pieces);
  g->strips = g->n * g->rows * g->pieces;
  g->depths = g->taps > 1 ? most(1, least(g->out[0], tiles / g->strip - (g->taps - 1))) : 1;
  g->group = most(1, least(g->strips, tiles / (g->strip * (g->depths + g->taps - 1))));
  while (g->group > 1 && grid_items(g) < items && (g->group + 1) / 2 * g->strip * g->depths >= few) g->group = (g->group + 1) / 2;
  while (g->depths > 2 && grid_items(g) < items && (g->depths + 1) / 2 * g->strip * g->group >= few)
    g->depths = (g->depths + 1) / 2;
  g->runs = parts(g->out[0], g->depths);
  g->group = parts(g->strips, even_groups(parts(g->strips, g->group), g->runs));
  g->depths = parts(g->out[0], g->runs);
}

/* Tiles of an item's results at the most, and of its transformed input. */
INLINE int grid_tiles(const grid *g, bool input)
{
  return (g->depths + (input ? g->taps - 1 : 0)) * g->group * g->strip;
}

/* Item i: strips from `first` on, output depths from `depth` on. */
typedef struct item { int first, strips, depth, depths; } item;

INLINE item item_at(const grid *g, int i)
{
  int first = i / g->runs * g->group, depth = i % g->runs * g->depths;
  return (item){first, least(g->group, g->strips - first), depth, least(g->depths, g->out[0] - depth)};
}

/* Strip s: its sample and where its results begin. */
typedef struct place { int sample, row, column; } place;

INLINE place place_of(const grid *g, int s)
{
  return (place){s / (g->rows * g->pieces), s / g->pieces % g->rows * OUT, s % g->pieces * g->strip * OUT};
}

/* The results of a strip at one depth: its number among all, its sample, its first pixel, and how many rows and columns exist. */
typedef struct strip_results {
  size_t number, pixel;
  int    sample, rows, columns;
} strip_results;

INLINE size_t grid_strips(const grid *g)
{
  return (size_t)g->strips * (size_t)g->out[0];
}

INLINE strip_results strip_at(const grid *g, int strip, int depth)
{
  place  q = place_of(g, strip);
  size_t row = ((size_t)q.sample * (size_t)g->out[0] + (size_t)depth) * (size_t)g->out[1] + (size_t)q.row;
  return (strip_results){(size_t)strip * (size_t)g->out[0] + (size_t)depth, row * (size_t)g->out[2] + (size_t)q.column, q.sample,
                         least(OUT, g->out[1] - q.row), least(g->strip * OUT, g->out[2] - q.column)};
}

/* Tile i of an item likewise: its first pixel, rows and columns, its strip's number and its place in that. */
typedef struct tile_place { size_t pixel, strip; int rows, columns, in_strip; } tile_place;

INLINE tile_place tile_at(const grid *g, const item *k, int i)
{
  strip_results s = strip_at(g, k->first + i / g->strip % k->strips, k->depth + i / (g->strip * k->strips));
  int           in_strip = i % g->strip, before = in_strip * OUT;
  return (tile_place){s.pixel + (size_t)before, s.number, s.rows, most(0, least(OUT, s.columns - before)), in_strip};
}

/* Floats from one point of a transformed tensor to the next: an odd number of cache lines, or the 36 lines that a
 * transform writes would fall into a few sets of the cache. */
INLINE size_t point_floats(size_t floats)
{
  return (floats + 15) / 16 * 16 + ((floats + 15) / 16 % 2 ? 0 : 16);
}

/* ---- input: B^T d B of all tiles of an item ---------------------------------------------------------------------- */
/* Transformed: (point, tile, width), zeros from c on. */
typedef struct transformed {
  float *v;
  size_t point;
  int    width;
} transformed;

/* Six rows of an image, NULL where they are outside. */
typedef struct image_rows { const float *row[PATCH]; } image_rows;

INLINE image_rows rows_of(const source *s, const grid *g, place q, int d)
{
  image_rows r;
  size_t     plane = ((size_t)q.sample * (size_t)g->in[0] + (size_t)d) * (size_t)g->in[1];
  for (int i = 0; i < PATCH; i++) {
    int h = q.row - g->pad[1] + i;
    r.row[i] = h < 0 || h >= g->in[1] ? NULL : s->x + (plane + (size_t)h) * (size_t)g->in[2] * s->xs;
  }
  return r;
}

/* From a pixel to the same one of the next plane, which is asked for when this one is read (1.04 times the speed of a 3-D network,
 * more where others use the memory, too); 0 of flat images, of which strips_ahead asks for what follows. */
INLINE size_t next_plane(const int size[3], size_t stride)
{
  return size[0] > 1 ? (size_t)size[1] * (size_t)size[2] * stride : 0;
}

/* Along the columns: t (6, STRIP_COLUMNS) for the columns from `left` on of one vector of channels. */
INLINE void input_columns(const int how, vec (*t)[STRIP_COLUMNS], const image_rows *r, const source *s, int sample, int channel,
                          int n, int left, int columns, int in, size_t plane)
{
  source_map m = source_map_at(how, s, sample, channel, n);
  bool       whole = n == VL;
  for (int i = 0; i < PATCH; i++) whole &= r->row[i] != NULL;
  for (int c = 0; c < columns; c++) {
    size_t at = (size_t)(left + c) * s->xs + (size_t)channel;
    vec    d[PATCH];
    if (left + c < 0 || left + c >= in)
      for (int i = 0; i < PATCH; i++) d[i] = (vec){0};
    else if (whole) {
      for (int i = 0; i < PATCH; i++) d[i] = source_vec(how, r->row[i] + at, VL, &m);
      if (plane)
        for (int i = 0; i < PATCH; i++) ask(r->row[i] + at, plane);
    }
    else
      for (int i = 0; i < PATCH; i++) d[i] = r->row[i] ? source_vec(how, r->row[i] + at, n, &m) : (vec){0};
    input_line(&t[0][c], STRIP_COLUMNS, d, 1);
  }
}

/* Along the rows, of one vector of channels, of which `n` are stored: v (point, tile, width). Row by row, so that memory is
 * written at six places at a time, not at 36. */
INLINE void input_tiles(float *v, const transformed *to, vec (*t)[STRIP_COLUMNS], int tiles, int n)
{
  for (int r = 0; r < PATCH; r++) {
    float *at = v + (size_t)(r * PATCH) * to->point;
    for (int i = 0; i < tiles; i++, at += to->width) {
      vec y[PATCH];
      input_line(y, 1, &t[r][i * OUT], 1);
      if (n == VL)
        for (int j = 0; j < PATCH; j++) store(at + (size_t)j * to->point, y[j]);
      else
        for (int j = 0; j < PATCH; j++) store_part(at + (size_t)j * to->point, y[j], n);
    }
  }
}

INLINE void input_strip_of(const int how, float *v, const transformed *to, const source *s, const grid *g, place q, int d)
{
  vec        t[PATCH][STRIP_COLUMNS];
  image_rows r = rows_of(s, g, q, d);
  int        columns = g->strip * OUT + PATCH - OUT;
  size_t     plane = next_plane(g->in, s->xs);
  for (int c = 0; c < to->width; c += VL) {
    input_columns(how, t, &r, s, q.sample, c, least(VL, most(0, s->c - c)), q.column - g->pad[2], columns, g->in[2], plane);
    input_tiles(v + c, to, t, g->strip, least(VL, to->width - c));
  }
}

NOINLINE void input_strip(float *v, const transformed *to, const source *s, const grid *g, place q, int d)
{
  switch (s->how) {
  case PLAIN: input_strip_of(PLAIN, v, to, s, g, q, d); break;
  case FROM_STREAM: input_strip_of(FROM_STREAM, v, to, s, g, q, d); break;
  case MAPPED: input_strip_of(MAPPED, v, to, s, g, q, d); break;
  default: input_strip_of(FROM_STREAM | MAPPED, v, to, s, g, q, d); break;
  }
}

/* All planes that the item's depths read. */
INLINE void transform_input(const transformed *to, const source *s, const grid *g, const item *k)
{
  size_t strip = (size_t)g->strip * (size_t)to->width, plane = strip * (size_t)k->strips;
  for (int i = 0; i < k->depths + g->taps - 1; i++) {
    int    d = k->depth + i - g->pad[0];
    float *v = to->v + (size_t)i * plane;
    if (d < 0 || d >= g->in[0])
      for (int p = 0; p < POINTS; p++) memset(v + (size_t)p * to->point, 0, plane * sizeof *v);
    else
      for (int j = 0; j < k->strips; j++) input_strip(v + (size_t)j * strip, to, s, g, place_of(g, k->first + j), d);
  }
}

/* The rows of flat images of `size` that item k's strips meet, from `before` rows above each strip's results on, `reach` rows:
 * asked for while another item is computed, in `calls` steps. */
INLINE ahead strips_ahead(const float *x, size_t xs, int c, const int size[3], const grid *g, const item *k, int before, int reach,
                          int calls)
{
  place first = place_of(g, k->first), last = place_of(g, k->first + k->strips - 1);
  int   top = first.sample * size[1] + most(0, first.row - before);
  int   end = last.sample * size[1] + least(size[1], last.row - before + reach);
  ahead a = {.stride = xs, .c = c};
  if (size[0] > 1) return a;
  a.at = x + (size_t)top * (size_t)size[2] * xs;
  a.left = (size_t)(end - top) * (size_t)size[2];
  a.step = a.left / (size_t)most(1, calls) + 1;
  return a;
}

INLINE ahead input_ahead(const source *s, const grid *g, const item *k, int calls)
{
  return strips_ahead(s->x, s->xs, s->c, g->in, g, k, g->pad[1], PATCH, calls);
}
