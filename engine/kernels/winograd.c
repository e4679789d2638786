/* winograd.c -- convolution with 3x3 kernels in the plane of the last two dimensions, stride 1, and its data gradient, by
 * Winograd's minimal filtering (winograd_parts.h).
 * Owns: transformed weights, products of points, the transform of the output. Must not know: when it is the faster way
 * (conv.c), the weight gradient (winograd_weight.c).
 *
 * An item's input is transformed once; then, for each panel of output channels, blocks of tiles are multiplied point by
 * point and transformed back while the products are in L2.
 * Cost: 72 depth taps Cin Cout / 16 FLOP an output pixel, and the transforms. */
#include "kernels/winograd_parts.h"
#include "kernels/conv_ways.h"

#include <omp.h>

enum {
  WIDE = 2,                                /* vectors in a panel, 1 in the last if their number is odd */
  ROWS = REGISTERS == 32 ? 12 : 6,         /* tiles whose products are in registers together           */
  ROWS_TWO = ROWS * 2 / 3,                 /* and of what is left                                      */
  ROWS_ONE = ROWS / 3,
  ROWS_NARROW = 2 * ROWS,                  /* with one vector                                          */
  BLOCK = 24,                              /* tiles whose products are in L2 together                  */
  FLAT_BYTES = 112 << 10,                  /* of an item's transformed input: in L2 beside all else    */
  SOLID_BYTES = 320 << 10,                 /* with taps in depth, which share it                       */
  ITEMS_WANTED = 12,
  TILES_LEAST = 24,
  TILES_MOST = 240,
  TAPS_MOST = 7,                           /* in depth                                                 */
};

typedef struct plan {
  grid   g;
  int    ci, co, vectors;
  bool   flip;           /* the data gradient: taps in reverse, ci and co exchanged */
} plan;

static plan plan_of(const ebbk_conv *c, bool gradient)
{
  plan p = {.ci = c->ci, .co = c->co, .flip = gradient, .g = {.n = c->n, .taps = c->kernel[0]}};
  if (gradient) p.ci = c->co, p.co = c->ci;
  for (int i = 0; i < 3; i++) {
    p.g.in[i] = gradient ? c->out[i] : c->in[i];
    p.g.out[i] = gradient ? c->in[i] : c->out[i];
    p.g.pad[i] = gradient ? c->kernel[i] - 1 - c->pad[i] : c->pad[i];
  }
  int tiles = (int)((p.g.taps > 1 ? SOLID_BYTES : FLAT_BYTES) / (POINTS * sizeof(float) * (size_t)p.ci));
  p.vectors = parts(p.co, VL);
  grid_plan(&p.g, most(TILES_LEAST, least(TILES_MOST, tiles)), ITEMS_WANTED, p.vectors > 1 ? ROWS : ROWS_NARROW);
  return p;
}

/* ---- scratch: weights, then one slice a thread: transformed input, products of a block -------------------------- */
/* Weights: (panel, point, tap, ci, lanes of the panel), zeros beyond co. */
static size_t weight_point(const plan *p, int lanes)
{
  return point_floats((size_t)p->g.taps * (size_t)p->ci * (size_t)lanes);
}

static size_t weight_bytes(const plan *p)
{
  return aligned(sizeof(float) * POINTS * (size_t)parts(p->vectors, WIDE) * weight_point(p, WIDE * VL));
}

/* Products of tiles that fill no vector of rows are computed and thrown away: their input must be there to be read. */
static size_t input_point(const plan *p)
{
  return point_floats((size_t)(grid_tiles(&p->g, true) + ROWS) * (size_t)p->ci);
}

static size_t product_point(void)
{
  return point_floats((size_t)(BLOCK + ROWS_ONE) * WIDE * VL);
}

static size_t slice_bytes(const plan *p)
{
  return aligned(sizeof(float) * POINTS * input_point(p)) + aligned(sizeof(float) * POINTS * product_point());
}

static size_t scratch_of(const ebbk_conv *c, bool gradient, int threads)
{
  plan p = plan_of(c, gradient);
  return weight_bytes(&p) + (size_t)threads * slice_bytes(&p);
}

size_t NAME(winograd_scratch)(const ebbk_conv *g, ebbk_product what, int threads)
{
  if (what == EBBK_GRAD_WEIGHT) return NAME(winograd_weight_scratch)(g, threads);
  return scratch_of(g, what == EBBK_GRAD_DATA, threads);
}

bool NAME(winograd_fits)(const ebbk_conv *g)
{
  bool fits = g->kernel[0] <= TAPS_MOST && g->pad[0] < g->kernel[0];
  for (int i = 0; i < 3; i++) fits &= g->stride[i] == 1;
  for (int i = 1; i < 3; i++) fits &= g->kernel[i] == 3 && g->pad[i] < 3;
  return fits;
}

/* ---- weights: G w G^T ------------------------------------------------------------------------------------------- */
static void transform_kernel(float *u, size_t u_point, vec w[3][3])
{
  vec rows[PATCH][3], y[PATCH];
  for (int j = 0; j < 3; j++) weight_line(&rows[0][j], 3, &w[0][j], 3);
  for (int i = 0; i < PATCH; i++) {
    weight_line(y, 1, rows[i], 1);
    for (int j = 0; j < PATCH; j++, u += u_point) store(u, y[j]);
  }
}

/* The 3x3 kernels of VL neighbours among the output channels; `n` of them exist. */
static void load_kernel(vec k[3][3], const plan *p, const float *w, int tap, int i, int o, int n)
{
  size_t size = (size_t)p->ci * (size_t)p->co;
  if (!p->flip) {
    const float *from = w + (size_t)tap * 9 * size + (size_t)i * (size_t)p->co + (size_t)o;
    for (int j = 0; j < 9; j++) k[j / 3][j % 3] = load_tail(from + (size_t)j * size, n);
    return;
  }
  const float *last = w + ((size_t)(p->g.taps - tap) * 9 - 1) * size + (size_t)o * (size_t)p->ci + (size_t)i;
  for (int j = 0; j < 9; j++) {
    float lanes[VL] = {0};
    for (int l = 0; l < n; l++) lanes[l] = last[(ptrdiff_t)(l * p->ci) - (ptrdiff_t)((size_t)j * size)];
    k[j / 3][j % 3] = load(lanes);
  }
}

static void transform_weights(const plan *p, float *u, const float *w)
{
  int taps = p->g.taps;
#pragma omp parallel for collapse(2) if (weight_bytes(p) > 262144)
  for (int t = 0; t < taps; t++)
    for (int v = 0; v < p->vectors; v++) {
      int    panel = v / WIDE * WIDE, lanes = least(WIDE, p->vectors - panel) * VL;
      size_t point = weight_point(p, lanes);
      float *to = u + (size_t)(panel / WIDE) * POINTS * weight_point(p, WIDE * VL) +
                  (size_t)t * (size_t)p->ci * (size_t)lanes + (size_t)((v - panel) * VL);
      for (int i = 0; i < p->ci; i++, to += lanes) {
        vec k[3][3];
        load_kernel(k, p, w, t, i, v * VL, least(VL, p->co - v * VL));
        transform_kernel(to, point, k);
      }
    }
}

/* ---- products of a point ---------------------------------------------------------------------------------------- */
typedef struct factors {
  const float *x, *u;        /* input of the first tile; weights (taps, ci, lanes) */
  float       *m;            /* (tiles, lanes)                                     */
  size_t       x_tap;        /* from a tile's input to that of the next tap        */
  int          taps, ci;
} factors;

/* m[i, v] = sum over taps, k of x[i + tap, k] u[tap, k, v]. Tile i is at[i / 3] + i % 3 steps: few pointers, and steps that
 * the processor can add itself. */
INLINE void product(const int rows, const int vectors, const factors *f)
{
  vec          acc[ROWS_NARROW][WIDE], w[WIDE];
  const char  *at[(ROWS_NARROW + 2) / 3];
  const float *u = f->u;
  size_t       step = (size_t)f->ci * sizeof(float);
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
typedef struct work {
  plan         p;
  source       x;
  ebbk_output  y;
  const float *b, *u;
} work;

/* Asks for the memory of row r of a tile's results, one panel of channels, which will be written while others compute. Inlined,
 * since gcc takes a function that only asks for one without effect, and drops its calls. */
INLINE void ask_results(const work *k, const tile_place *to, int r, int channel, int channels)
{
  const float *y = (const float *)k->y.y + (to->pixel + (size_t)r * (size_t)k->p.g.out[2]) * (size_t)k->y.stride + channel;
  if (r >= to->rows) return;
  for (int c = 0; c < to->columns; c++, y += k->y.stride)
    for (int i = 0; i < channels; i += 16) __builtin_prefetch(y + i, 1, 2);
}

/* The first `columns` of four neighbours in a row. */
INLINE void output_row(const ebbk_write how, float *y, size_t pixel, const vec *out, int columns, int n, ebbk_range *seen)
{
  if (columns == OUT && n == VL) write_vecs(how, y, pixel, out, OUT, VL, seen);
  else
    for (int c = 0; c < columns; c++) write_vec(how, y + (size_t)c * pixel, out[c], n, seen);
}

/* 4x4 results of the n channels of one vector. */
INLINE void output_tile(const ebbk_write how, float *y, const tile_place *to, size_t row, size_t pixel, int n, const float *m,
                        vec bias, ebbk_range *seen)
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
  }
}

/* The n channels of vector `v` of a block of tiles. */
INLINE void output_tiles(const ebbk_write how, const work *k, const tile_place *to, int tiles, const float *m, int lanes, int channel,
                         int n, ebbk_range *seen)
{
  size_t pixel = (size_t)k->y.stride, row = (size_t)k->p.g.out[2] * pixel;
  vec    bias = k->b ? load_tail(k->b + channel, n) : (vec){0};
  for (int i = 0; i < tiles; i++)
    output_tile(how, (float *)k->y.y + to[i].pixel * pixel + channel, to + i, row, pixel, n, m + i * lanes, bias, seen);
}

/* One panel of channels. */
static void transform_output(const work *k, const tile_place *to, int tiles, const float *m, int panel, ebbk_range *seen)
{
  int vectors = least(WIDE, k->p.vectors - panel);
  for (int v = 0; v < vectors; v++, m += VL) {
    int channel = (panel + v) * VL, n = least(VL, k->p.co - channel), lanes = vectors * VL;
    switch (k->y.how) {
    case EBBK_SET: output_tiles(EBBK_SET, k, to, tiles, m, lanes, channel, n, seen); break;
    case EBBK_ADD: output_tiles(EBBK_ADD, k, to, tiles, m, lanes, channel, n, seen); break;
    case EBBK_STREAM_ADD: output_tiles(EBBK_STREAM_ADD, k, to, tiles, m, lanes, channel, n, seen); break;
    case EBBK_STREAM_SUBTRACT: output_tiles(EBBK_STREAM_SUBTRACT, k, to, tiles, m, lanes, channel, n, seen); break;
    }
  }
}

/* ---- work items ------------------------------------------------------------------------------------------------- */
static void multiply(const work *k, float *m, const float *v, const item *it, int panel, int first, int end, const tile_place *to,
                     ahead *next)
{
  const plan *p = &k->p;
  int         vectors = least(WIDE, p->vectors - panel), lanes = vectors * VL;
  size_t      ci = (size_t)p->ci, x_point = input_point(p), u_point = weight_point(p, lanes);
  const float *u = k->u + (size_t)(panel / WIDE) * POINTS * weight_point(p, WIDE * VL);
  factors      f = {.x_tap = (size_t)(it->strips * p->g.strip) * ci, .taps = p->g.taps, .ci = p->ci};
  int          asked = 0, lines = (end - first) * OUT;
  for (int point = 0; point < POINTS; point++) {
    for (; asked * POINTS < lines * (point + 1); asked++)
      ask_results(k, to + asked / OUT, asked % OUT, panel * VL, least(lanes, p->co - panel * VL));
    for (int i = first; i < end;) {
      f.x = v + (size_t)point * x_point + (size_t)i * ci;
      f.u = u + (size_t)point * u_point;
      f.m = m + (size_t)point * product_point() + (i - first) * lanes;
      i += multiply_some(&f, vectors, end - i);
      look_ahead(next);
    }
  }
}

/* Products of an item of so many tiles. */
static int calls(const plan *p, int tiles)
{
  return POINTS * (p->vectors / WIDE * parts(tiles, ROWS) + p->vectors % WIDE * parts(tiles, ROWS_NARROW));
}

static void compute_item(const work *k, const item *it, const item *following, float *v, float *m)
{
  const plan *p = &k->p;
  transformed input = {v, input_point(p), p->ci};
  int         tiles = it->depths * it->strips * p->g.strip;
  ebbk_range  seen = {0};
  ahead       next = input_ahead(&k->x, &p->g, following, calls(p, tiles));
  transform_input(&input, &k->x, &p->g, it);
  for (int panel = 0; panel < p->vectors; panel += WIDE)
    for (int i = 0; i < tiles; i += BLOCK) {
      int        end = least(tiles, i + BLOCK);
      tile_place to[BLOCK];
      for (int j = i; j < end; j++) to[j - i] = tile_at(&p->g, it, j);
      multiply(k, m, v, it, panel, i, end, to, &next);
      transform_output(k, to, end - i, m, panel, &seen);
    }
  join_range(k->y.range, &seen);
}

static void run(work *k, const float *w, char *scratch)
{
  const plan *p = &k->p;
  char       *slices = scratch + weight_bytes(p);
  int         items = grid_items(&p->g);
  k->u = (float *)scratch;
  transform_weights(p, (float *)scratch, w);
#pragma omp parallel for schedule(dynamic)
  for (int i = 0; i < items; i++) {
    float *v = (float *)(slices + (size_t)omp_get_thread_num() * slice_bytes(p));
    item   it = item_at(&p->g, i), following = item_at(&p->g, least(i + omp_get_num_threads(), items - 1));
    compute_item(k, &it, &following, v, v + aligned(sizeof(float) * POINTS * input_point(p)) / sizeof(float));
  }
}

void NAME(winograd_forward)(ebbk_output y, ebbk_input x, const float *w, const float *b, const ebbk_conv *g, void *scratch)
{
  work k = {.p = plan_of(g, false), .x = source_of(&x, g->ci, 0, g->ci), .b = b, .y = y};
  run(&k, w, scratch);
}

void NAME(winograd_grad_data)(ebbk_output dx, const float *dy, int dys, const float *w, const ebbk_conv *g, void *scratch)
{
  ebbk_input from = ebbk_read(dy, dys);
  work       k = {.p = plan_of(g, true), .x = source_of(&from, g->co, 0, g->co), .y = dx};
  run(&k, w, scratch);
}
