/* winograd_sweep.h -- products of transformed tiles with weights, on their way from an item's transformed input to the result.
 * Owns: transformed weights, products of points, the transform of the output and its moments. Private to winograd.c and winograd_backward.c.
 *
 * For each panel of output channels, blocks of tiles are multiplied point by point and transformed back while the products are
 * in L2. Cost: 72 depth taps Cin Cout / 16 FLOP an output pixel, and the transform. */
#pragma once
#include "kernels/sums.h"
#include "kernels/winograd_parts.h"

enum {
  ROWS = REGISTERS == 32 ? 12 : 6,         /* tiles whose products are in registers together           */
  ROWS_TWO = ROWS * 2 / 3,                 /* and of what is left                                      */
  ROWS_ONE = ROWS / 3,
  ROWS_NARROW = 2 * ROWS,                  /* with one vector                                          */
  BLOCK = 24,                              /* tiles whose products are in L2 together                  */
};

/* A convolution, or its data gradient, over a grid. */
typedef struct sweep {
  int          ci, co, vectors;
  bool         flip;                       /* the data gradient: taps in reverse, ci and co exchanged  */
  grid         g;
  ebbk_output  y;
  const float *b, *u;                      /* bias or NULL; transformed weights                        */
  double      *moments;                    /* of the results, or NULL; see below                       */
} sweep;

static sweep sweep_of(const ebbk_conv *c, bool gradient)
{
  sweep k = {.ci = c->ci, .co = c->co, .flip = gradient, .g = grid_of(c, gradient)};
  if (gradient) k.ci = c->co, k.co = c->ci;
  k.vectors = parts(k.co, VL);
  return k;
}

/* ---- weights: G w G^T, as (panel, point, tap, ci, lanes of the panel), zeros beyond co ---------------------------- */
static size_t weight_point(const sweep *k, int lanes)
{
  return point_floats((size_t)k->g.taps * (size_t)k->ci * (size_t)lanes);
}

static size_t weight_bytes(const sweep *k)
{
  int before = (k->vectors - 1) / WIDE, last = k->vectors - before * WIDE;
  return aligned(sizeof(float) * POINTS * ((size_t)before * weight_point(k, WIDE * VL) + weight_point(k, last * VL)));
}

INLINE void transform_kernel(float *u, size_t u_point, vec w[3][3])
{
  vec rows[PATCH][3], y[PATCH];
  UNROLL
  for (int j = 0; j < 3; j++) weight_line(&rows[0][j], 3, &w[0][j], 3);
  UNROLL
  for (int i = 0; i < PATCH; i++) {
    weight_line(y, 1, rows[i], 1);
    UNROLL
    for (int j = 0; j < PATCH; j++, u += u_point) store(u, y[j]);
  }
}

/* The 3x3 kernel from an input channel to n neighbours among the output channels, the first of them at `from`; lanes beyond are
 * zeros. */
INLINE void load_kernel(vec to[3][3], const float *from, size_t tap, int n)
{
  UNROLL
  for (int j = 0; j < 9; j++, from += tap) to[j / 3][j % 3] = n == VL ? load(from) : load_tail(from, n);
}

/* Those from `count` input channels, i and behind, to the n output channels from o on, for the data gradient: taps in reverse, and
 * input channels are what is contiguous. */
typedef vec kernels[VL][3][3];

static void load_flipped(kernels to, const sweep *k, const float *w, int tap, int i, int count, int o, int n)
{
  size_t       size = (size_t)k->ci * (size_t)k->co;
  const float *last = w + ((size_t)(k->g.taps - tap) * 9 - 1) * size + (size_t)o * (size_t)k->ci + (size_t)i;
  for (int j = 0; j < 9; j++) {
    veci square[VL];
    for (int l = 0; l < VL; l++)
      square[l] = l < n ? (veci)load_tail(last - (size_t)j * size + (size_t)l * (size_t)k->ci, count) : (veci){0};
    transpose(square);
    for (int c = 0; c < count; c++) to[c][j / 3][j % 3] = (vec)square[c];
  }
}

/* From VL input channels, i and behind, to vector v of output channels. */
static void transform_kernels(const sweep *k, float *u, const float *w, int tap, int i, int v)
{
  int    count = least(VL, k->ci - i), n = least(VL, k->co - v * VL);
  int    panel = v / WIDE * WIDE, lanes = least(WIDE, k->vectors - panel) * VL;
  size_t point = weight_point(k, lanes), size = (size_t)k->ci * (size_t)k->co;
  u += (size_t)(panel / WIDE) * POINTS * weight_point(k, WIDE * VL);
  u += (size_t)(tap * k->ci + i) * (size_t)lanes + (size_t)((v - panel) * VL);
  if (k->flip) {
    kernels some;
    load_flipped(some, k, w, tap, i, count, v * VL, n);
    for (int c = 0; c < count; c++, u += lanes) transform_kernel(u, point, some[c]);
    return;
  }
  w += (size_t)tap * 9 * size + (size_t)i * (size_t)k->co + (size_t)(v * VL);
  for (int c = 0; c < count; c++, u += lanes, w += k->co) {
    vec kernel[3][3];
    load_kernel(kernel, w, size, n);
    transform_kernel(u, point, kernel);
  }
}

/* One of `members` shares of it. */
static void transform_weights(const sweep *k, float *u, const float *w, int member, int members)
{
  int blocks = parts(k->ci, VL);
  for (int b = member; b < k->g.taps * blocks; b += members)
    for (int v = 0; v < k->vectors; v++) transform_kernels(k, u, w, b / blocks, b % blocks * VL, v);
}

/* ---- products of a point ---------------------------------------------------------------------------------------- */
/* Floats from one point of a block's products to the next. Products of tiles that fill no vector of rows are computed and
 * thrown away: there must be room for them, and so many tiles behind the input's last. */
static size_t product_point(void)
{
  return point_floats((size_t)(BLOCK + ROWS_ONE) * WIDE * VL);
}

static size_t product_bytes(void)
{
  return aligned(sizeof(float) * POINTS * product_point());
}

typedef struct factors {
  const float *x, *u;        /* input of the first tile; weights (taps, ci, lanes) */
  float       *m;            /* (tiles, lanes)                                     */
  size_t       x_row, x_tap; /* from a tile's input to the next's, to the next tap's */
  int          taps, ci;
} factors;

/* m[i, v] = sum over taps, k of x[i + tap, k] u[tap, k, v]. Tile i is at[i / 3] + i % 3 steps: few pointers, and steps that
 * the processor can add itself. */
INLINE void product(const int rows, const int vectors, const factors *f)
{
  vec          acc[ROWS_NARROW][WIDE], w[WIDE];
  const char  *at[(ROWS_NARROW + 2) / 3];
  const float *u = f->u;
  size_t       step = f->x_row * sizeof(float);
  UNROLL
  for (int i = 0; i < rows; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) acc[i][v] = (vec){0};
  for (int t = 0; t < f->taps; t++) {
    UNROLL
    for (int i = 0; i < (rows + 2) / 3; i++) at[i] = (const char *)(f->x + (size_t)t * f->x_tap) + 3 * (size_t)i * step;
    for (int k = 0; k < f->ci; k++, u += vectors * VL) {
      UNROLL
      for (int v = 0; v < vectors; v++) w[v] = load(u + v * VL);
      UNROLL
      for (int i = 0; i < rows; i++) {
        vec a = broadcast(*(const float *)(const void *)(at[i / 3] + (size_t)(i % 3) * step));
        UNROLL
        for (int v = 0; v < vectors; v++) acc[i][v] += a * w[v];
      }
      UNROLL
      for (int i = 0; i < (rows + 2) / 3; i++) at[i] += sizeof(float);
    }
  }
  UNROLL
  for (int i = 0; i < rows; i++)
    UNROLL
    for (int v = 0; v < vectors; v++) store(f->m + (i * vectors + v) * VL, acc[i][v]);
}

#define PRODUCT(name, rows, vectors)                                                                                   \
  NOINLINE void name(const factors *f) { product(rows, vectors, f); }
PRODUCT(wide_rows, ROWS, WIDE)
PRODUCT(wide_two, ROWS_TWO, WIDE)
PRODUCT(wide_one, ROWS_ONE, WIDE)
PRODUCT(narrow_rows, ROWS_NARROW, 1)
PRODUCT(narrow_half, ROWS, 1)
PRODUCT(narrow_one, ROWS_ONE, 1)

/* A product of at most as many tiles as there are left, or a third of ROWS; how many it was. */
static int multiply_some(const factors *f, int vectors, int left)
{
  if (vectors == WIDE) {
    if (left > ROWS_TWO) return wide_rows(f), ROWS;
    if (left > ROWS_ONE) return wide_two(f), ROWS_TWO;
    return wide_one(f), ROWS_ONE;
  }
  if (left > ROWS) return narrow_rows(f), ROWS_NARROW;
  if (left > ROWS_ONE) return narrow_half(f), ROWS;
  return narrow_one(f), ROWS_ONE;
}

/* ---- output: A^T m A -------------------------------------------------------------------------------------------- */
/* Asks for the memory of row r of a tile's results, one panel of channels, which will be written while others compute. Inlined,
 * since gcc takes a function that only asks for one without effect, and drops its calls. */
INLINE void ask_results(const sweep *k, const tile_place *to, int r, int channel, int channels)
{
  const float *y = (const float *)k->y.y + (to->pixel + (size_t)r * (size_t)k->g.out[2]) * (size_t)k->y.stride + channel;
  if (r >= to->rows) return;
  for (int c = 0; c < to->columns; c++, y += k->y.stride)
    for (int i = 0; i < channels; i += 16) __builtin_prefetch(y + i, 1, 2);
}

/* Moments of a strip: a pivot, its first value; and the sums of deviations from it and of their squares, in float along a strip,
 * in double where a block cuts it; each (channels, in whole vectors). */
typedef struct tally { vec pivot, sum[2]; bool begun; } tally;

static size_t moments_doubles(const sweep *k)
{
  return 3 * (size_t)(k->vectors * VL);
}

INLINE void tally_row(const bool stream, tally *t, const vec *v, int columns)
{
  for (int c = 0; c < columns; c++) {
    vec value = stream ? stream_value((veci)v[c]) : v[c];
    if (!t->begun) t->pivot = value, t->begun = true;
    vec d = value - t->pivot;
    t->sum[0] += d;
    t->sum[1] = multiply_add(d, d, t->sum[1]);
  }
}

static void tally_begin(tally *t, const double *moments, bool anew)
{
  *t = (tally){.begun = !anew};
  for (int i = 0; i < VL && !anew; i++) t->pivot[i] = (float)moments[i];
}

static void tally_end(const tally *t, double *moments, int channels, bool anew)
{
  if (anew) memset(moments + channels, 0, VL * sizeof *moments), memset(moments + 2 * channels, 0, VL * sizeof *moments);
  for (int i = 0; i < VL; i++) moments[i] = (double)t->pivot[i];
  add_lanes(moments + channels, t->sum[0]);
  add_lanes(moments + 2 * channels, t->sum[1]);
}

/* The first `columns` of four neighbours in a row; `out` becomes what is written. */
INLINE void output_row(const ebbk_write how, float *y, size_t pixel, vec *out, int columns, int n, ebbk_range *seen)
{
  if (columns == OUT && n == VL) write_vecs(how, y, pixel, out, OUT, VL, seen);
  else
    for (int c = 0; c < columns; c++) write_vecs(how, y + (size_t)c * pixel, 0, out + c, 1, n, seen);
}

/* 4x4 results of the n channels of one vector. */
INLINE void output_tile(const ebbk_write how, const bool measure, float *y, const tile_place *to, size_t row, size_t pixel, int n,
                        const float *m, vec bias, tally *moments, ebbk_range *seen)
{
  vec t[OUT][PATCH];
  UNROLL
  for (int c = 0; c < PATCH; c++) {
    vec d[PATCH];
    UNROLL
    for (int i = 0; i < PATCH; i++) d[i] = load(m + (size_t)(i * PATCH + c) * product_point());
    output_line(&t[0][c], PATCH, d, 1);
  }
  UNROLL
  for (int r = 0; r < OUT; r++) {
    vec out[OUT];
    if (r >= to->rows) break;
    output_line(out, 1, t[r], 1);
    UNROLL
    for (int c = 0; c < OUT; c++) out[c] += bias;
    output_row(how, y + (size_t)r * row, pixel, out, to->columns, n, seen);
    if (measure) tally_row(onto_stream(how), moments, out, to->columns);
  }
}

/* The n channels of vector `v` of a block of tiles. */
INLINE void output_tiles(const ebbk_write how, const sweep *k, const tile_place *to, int tiles, const float *m, int lanes, int channel,
                         int n, ebbk_range *seen)
{
  size_t pixel = (size_t)k->y.stride, row = (size_t)k->g.out[2] * pixel;
  vec    bias = k->b ? load_tail(k->b + channel, n) : (vec){0};
  for (int i = 0; i < tiles; i++)
    output_tile(how, false, (float *)k->y.y + to[i].pixel * pixel + channel, to + i, row, pixel, n, m + i * lanes, bias, NULL, seen);
}

/* The same, strip by strip, with moments. */
INLINE void measured_tiles(const ebbk_write how, const sweep *k, const tile_place *to, int tiles, const float *m, int lanes,
                           int channel, int n, ebbk_range *seen)
{
  size_t pixel = (size_t)k->y.stride, row = (size_t)k->g.out[2] * pixel;
  vec    bias = k->b ? load_tail(k->b + channel, n) : (vec){0};
  for (int i = 0; i < tiles;) {
    double *moments = k->moments + to[i].strip * moments_doubles(k) + channel;
    bool    anew = to[i].in_strip == 0;
    int     end = least(tiles, i + k->g.strip - to[i].in_strip);
    tally   t;
    tally_begin(&t, moments, anew);
    for (; i < end; i++)
      output_tile(how, true, (float *)k->y.y + to[i].pixel * pixel + channel, to + i, row, pixel, n, m + i * lanes, bias, &t, seen);
    tally_end(&t, moments, k->vectors * VL, anew);
  }
}

/* One panel of channels. */
static void transform_output(const sweep *k, const tile_place *to, int tiles, const float *m, int panel, ebbk_range *seen)
{
  int vectors = least(WIDE, k->vectors - panel), lanes = vectors * VL;
  for (int v = 0; v < vectors; v++, m += VL) {
    int channel = (panel + v) * VL, n = least(VL, k->co - channel);
#define TILES(how) output_tiles(how, k, to, tiles, m, lanes, channel, n, seen)
#define MEASURED(how) (k->moments ? measured_tiles(how, k, to, tiles, m, lanes, channel, n, seen) : TILES(how))
    switch (k->y.how) {
    case EBBK_SET: MEASURED(EBBK_SET); break;
    case EBBK_ADD: TILES(EBBK_ADD); break;
    case EBBK_STREAM_ADD: MEASURED(EBBK_STREAM_ADD); break;
    case EBBK_STREAM_SUBTRACT: TILES(EBBK_STREAM_SUBTRACT); break;
    }
#undef TILES
#undef MEASURED
  }
}

/* ---- an item ------------------------------------------------------------------------------------------------------ */
/* Tiles [first, end) and one panel of channels. */
static void multiply(const sweep *k, float *m, const transformed *in, const item *it, int panel, int first, int end,
                     const tile_place *to, ahead *next)
{
  int          vectors = least(WIDE, k->vectors - panel), lanes = vectors * VL;
  size_t       width = (size_t)in->width, u_point = weight_point(k, lanes);
  const float *u = k->u + (size_t)(panel / WIDE) * POINTS * weight_point(k, WIDE * VL);
  factors      f = {.x_row = width, .x_tap = (size_t)(it->strips * k->g.strip) * width, .taps = k->g.taps, .ci = k->ci};
  int          asked = 0, lines = (end - first) * OUT;
  for (int point = 0; point < POINTS; point++) {
    for (; asked * POINTS < lines * (point + 1); asked++)
      ask_results(k, to + asked / OUT, asked % OUT, panel * VL, least(lanes, k->co - panel * VL));
    for (int i = first; i < end;) {
      f.x = in->v + (size_t)point * in->point + (size_t)i * width;
      f.u = u + (size_t)point * u_point;
      f.m = m + (size_t)point * product_point() + (i - first) * lanes;
      i += multiply_some(&f, vectors, end - i);
      look_ahead(next);
    }
  }
}

/* Products of an item of so many tiles: calls of look_ahead. */
static int sweep_calls(const sweep *k, int tiles)
{
  return POINTS * (k->vectors / WIDE * parts(tiles, ROWS) + k->vectors % WIDE * parts(tiles, ROWS_NARROW));
}

/* Results of an item whose input is transformed; m: products of a block. */
static void sweep_item(const sweep *k, const transformed *in, const item *it, float *m, ahead *next)
{
  int        tiles = it->depths * it->strips * k->g.strip;
  ebbk_range seen = {0};
  for (int panel = 0; panel < k->vectors; panel += WIDE)
    for (int i = 0; i < tiles; i += BLOCK) {
      int        end = least(tiles, i + BLOCK);
      tile_place to[BLOCK];
      for (int j = i; j < end; j++) to[j - i] = tile_at(&k->g, it, j);
      multiply(k, m, in, it, panel, i, end, to, next);
      transform_output(k, to, end - i, m, panel, &seen);
    }
  join_range(k->y.range, &seen);
}
