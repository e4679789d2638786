/* conv_direct.c -- direct convolution and its data gradient.
 * Owns: passes and work items, packed input, weights in panels. Must not know: the weight gradient (conv_direct_weight.c).
 *
 * A pass computes y[first + step j] = b + sum over taps t, channels ci of w[t, ci] x[j stride + shift + t] in every
 * dimension. The forward pass is one. The data gradient is one for each class of input pixels by their remainder
 * modulo the stride, reading dy with the taps that meet that class, in reverse: nothing is multiplied by the zeros
 * between strided outputs.
 *
 * Work item: (sample, block of output rows, run of output depths). Its thread packs the input rows with their zero
 * border into its own slice of the scratch (in depth a ring of as many planes as there are taps), unless no tap leaves
 * the image. A tile then needs nothing but one pointer a pixel and a list of tap offsets, so that stride, dimension and
 * row ends are no cases of their own; tiles that run over the block's end repeat its last pixel. Rows with three taps
 * and stride 1, as most layers have, take the faster tile for runs of pixels.
 * Cost: 2 taps Cin Cout FLOP an output pixel. */
#include "kernels/conv_parts.h"
#include "kernels/conv_tile.h"
#include "kernels/conv_ways.h"
#include "kernels/deal.h"

enum {
  STEPS = 288,                 /* (tap, ci) pairs in a sweep: their weights fit L1 */
  PACKED_BYTES = 256 << 10,    /* of a work item's input: fits L2                  */
  ITEMS_WANTED = 16,           /* to keep threads busy                             */
  FLOPS_PARALLEL = 1 << 18,    /* below, one thread is faster                      */
};

typedef struct pass {
  int          n, ci, co;
  axis         a[3];
  source       x;       /* (n in, ci) */
  ebbk_output  y;       /* (n out, co) */
  const float *b;       /* (co) or NULL */
  const float *w;       /* weight of (tap k, ci, co) at k ci co + ci w_ci + co w_co */
  size_t       w_ci, w_co;
  /* the plan */
  bool         packed;
  int          rows, row_blocks, depths, depth_runs;
  int          taps, vectors;
} pass;

/* ---- plan ------------------------------------------------------------------------------------------------------ */
static size_t plane_floats(const pass *p, int rows)
{
  return (size_t)axis_reach(&p->a[1], rows) * (size_t)axis_reach(&p->a[2], p->a[2].count) * (size_t)p->ci;
}

static void plan_rows(pass *p)
{
  int count = most(1, p->a[1].count), planes = most(1, p->a[0].taps);
  p->depths = p->a[0].taps > 1 ? most(1, least(p->a[0].count, 16)) : 1;
  p->depth_runs = parts(p->a[0].count, p->depths);
  p->rows = count;
  while (p->rows > 1 && plane_floats(p, p->rows) * (size_t)planes * sizeof(float) > PACKED_BYTES)
    p->rows = (p->rows + 1) / 2;
  while (p->rows > 4 && p->n * p->depth_runs * parts(count, p->rows) < ITEMS_WANTED) p->rows = (p->rows + 1) / 2;
  p->row_blocks = parts(count, p->rows);
}

static void plan(pass *p)
{
  p->packed = axis_needs_border(&p->a[0]) || axis_needs_border(&p->a[1]) || axis_needs_border(&p->a[2]);
  p->taps = p->a[0].taps * p->a[1].taps * p->a[2].taps;
  p->vectors = parts(p->co, VL);
  plan_rows(p);
}

static pass forward_pass(const ebbk_conv *g)
{
  pass p = {.n = g->n, .ci = g->ci, .co = g->co, .w_ci = (size_t)g->co, .w_co = 1};
  for (int i = 0; i < 3; i++) p.a[i] = axis_forward(g, i);
  plan(&p);
  return p;
}

/* Input pixels with remainder r: i = r + s j meets tap k = k0 + s m at output (i + pad - k) / s = j + base - m, where
 * k0 = (r + pad) mod s and base = (r + pad - k0) / s; t = taps - 1 - m makes the position rise with the tap. */
static axis axis_gradient(const ebbk_conv *g, int i, int r)
{
  int s = g->stride[i], k0 = (r + g->pad[i]) % s;
  int taps = k0 < g->kernel[i] ? (g->kernel[i] - 1 - k0) / s + 1 : 0;
  return (axis){.in = g->out[i], .out = g->in[i], .count = r < g->in[i] ? (g->in[i] - 1 - r) / s + 1 : 0,
                .first = r, .step = s, .taps = taps, .stride = 1, .shift = (r + g->pad[i] - k0) / s - (taps - 1),
                .k0 = k0 + s * (taps - 1), .kstep = -s};
}

static int gradient_classes(const ebbk_conv *g)
{
  return g->stride[0] * g->stride[1] * g->stride[2];
}

static pass gradient_pass(const ebbk_conv *g, int class)
{
  pass p = {.n = g->n, .ci = g->co, .co = g->ci, .w_ci = 1, .w_co = (size_t)g->co};
  int  r[3] = {class / (g->stride[1] * g->stride[2]), class / g->stride[2] % g->stride[1], class % g->stride[2]};
  for (int i = 0; i < 3; i++) p.a[i] = axis_gradient(g, i, r[i]);
  plan(&p);
  return p;
}

/* ---- scratch: the panels, then one slice a thread: tap offsets, packed input, results that are not simply stored - */
static size_t panel_bytes(const pass *p)
{
  return aligned(sizeof(float) * (size_t)p->taps * (size_t)p->ci * (size_t)(p->vectors * VL));
}

static size_t offsets_bytes(const pass *p)
{
  return aligned(sizeof(ptrdiff_t) * (size_t)p->taps);
}

static size_t input_bytes(const pass *p)
{
  return aligned(sizeof(float) * (size_t)most(1, p->a[0].taps) * plane_floats(p, p->rows));
}

static size_t slice_bytes(const pass *p)
{
  return offsets_bytes(p) + input_bytes(p) + aligned(sizeof(float) * (size_t)(p->rows * p->a[2].count) * (size_t)p->co);
}

static size_t pass_scratch(const pass *p, int threads)
{
  return panel_bytes(p) + (size_t)threads * slice_bytes(p);
}

size_t NAME(direct_scratch)(const ebbk_conv *g, ebbk_product what, int threads)
{
  pass   p = forward_pass(g);
  size_t bytes = 0;
  if (what == EBBK_FORWARD) return pass_scratch(&p, threads);
  if (what == EBBK_GRAD_WEIGHT) return NAME(direct_weight_scratch)(g, threads);
  for (int class = 0; class < gradient_classes(g); class++) {
    p = gradient_pass(g, class);
    if (pass_scratch(&p, threads) > bytes) bytes = pass_scratch(&p, threads);
  }
  return bytes;
}

/* ---- packing: input rows with their zero border ------------------------------------------------------------------ */
/* Where rows come from, and the `columns` pixels from `left` on that are wanted. */
typedef struct packing {
  const source *s;
  const float  *x;  /* the image of one sample, at its first channel  */
  int           sample, in[3];
  int           left, columns;
} packing;

/* One row (d, h) of the image; zeros where it is outside. */
static void pack_row(float *to, const packing *p, int d, int h)
{
  size_t c = (size_t)p->s->c, xs = p->s->xs;
  bool   outside = d < 0 || d >= p->in[0] || h < 0 || h >= p->in[1];
  int    begin = most(0, -p->left), end = least(p->columns, p->in[2] - p->left);
  if (outside || begin >= end) {
    memset(to, 0, sizeof *to * c * (size_t)p->columns);
    return;
  }
  const float *from =
      p->x + (((size_t)d * (size_t)p->in[1] + (size_t)h) * (size_t)p->in[2] + (size_t)(p->left + begin)) * xs;
  if (begin) memset(to, 0, sizeof *to * c * (size_t)begin);
  if (end < p->columns) memset(to + (size_t)end * c, 0, sizeof *to * c * (size_t)(p->columns - end));
  to += (size_t)begin * c;
  if (xs == c && p->s->how == PLAIN) {
    memcpy(to, from, sizeof *to * c * (size_t)(end - begin));
    return;
  }
  for (int w = begin; w < end; w++, from += xs, to += c) source_pixel(to, p->s, from, p->sample, p->s->c);
}

static void pack_plane(float *to, const packing *p, int d, int top, int rows)
{
  for (int r = 0; r < rows; r++) pack_row(to + (size_t)r * (size_t)p->columns * (size_t)p->s->c, p, d, top + r);
}

/* ---- panels: for each block of WIDE vectors of output channels its weights (taps, ci, lanes), zeros beyond co ---- */
static void fill_lanes(float *to, const float *w, size_t w_co, int lanes, int co)
{
  for (int o = 0; o < lanes; o++) to[o] = o < co ? w[(size_t)o * w_co] : 0;
}

static void fill_panels(const pass *p, float *panels, const int kernel[3])
{
  size_t steps = (size_t)p->taps * (size_t)p->ci;
#pragma omp parallel for if (steps * (size_t)p->co > 16384)
  for (int t = 0; t < p->taps; t++) {
    const axis *a = p->a;
    int td = t / (a[1].taps * a[2].taps), th = t / a[2].taps % a[1].taps, tw = t % a[2].taps;
    int k =
        ((a[0].k0 + a[0].kstep * td) * kernel[1] + a[1].k0 + a[1].kstep * th) * kernel[2] + a[2].k0 + a[2].kstep * tw;
    const float *w = p->w + (size_t)k * (size_t)p->ci * (size_t)p->co;
    for (int v = 0; v < p->vectors; v += WIDE) {
      int    lanes = least(WIDE, p->vectors - v) * VL;
      float *panel = panels + (size_t)(v * VL) * steps + (size_t)t * (size_t)p->ci * (size_t)lanes;
      for (int i = 0; i < p->ci; i++)
        fill_lanes(panel + i * lanes, w + (size_t)i * p->w_ci + (size_t)(v * VL) * p->w_co, p->w_co, lanes,
                   p->co - v * VL);
    }
  }
}

/* ---- sweeps: the tiles over a block of pixels ------------------------------------------------------------------- */
/* A block of results: rows x columns pixels with their steps in the input and the output. */
typedef struct block {
  const float *x;
  float       *y;
  int          rows, columns;
  size_t       x_row, x_pixel, y_row, y_pixel;
} block;

static void sweep_block(const block *b, int channel, int vectors, int shift, const sweep *s, ahead *next)
{
  const float *x[PIXELS_MOST];
  float       *y[PIXELS_MOST];
  int          pixels = vectors == WIDE ? WIDE_PIXELS : NARROW_PIXELS;
  int          left = b->rows * b->columns, row = 0, column = 0;
  while (left > 0) {
    for (int i = 0; i < pixels; i++) {
      x[i] = b->x + (size_t)row * b->x_row + (size_t)column * b->x_pixel + shift;
      y[i] = b->y + (size_t)row * b->y_row + (size_t)column * b->y_pixel + channel;
      if (left-- > 1) {
        if (++column == b->columns) column = 0, row++;
      }
    }
    if (vectors == WIDE) wide_tile(y, x, s);
    else narrow_tile(y, x, s);
    look_ahead(next);
  }
}

/* The same by runs; what is left of each row by single pixels. */
static void sweep_runs(const block *b, int channel, int vectors, int shift, const sweep *s, ahead *next)
{
  int run = vectors == WIDE                                        ? WIDE_RUN
            : b->columns % NARROW_LONG_RUN == 0 && REGISTERS == 32 ? NARROW_LONG_RUN
                                                                   : NARROW_RUN;
  int   covered = b->columns / run * run;
  block rest = *b;
  for (int row = 0; row < b->rows; row++)
    for (int column = 0; column < covered; column += run) {
      const float *x = b->x + (size_t)row * b->x_row + (size_t)column * b->x_pixel + shift;
      float       *y = b->y + (size_t)row * b->y_row + (size_t)column * b->y_pixel + channel;
      if (vectors == WIDE) wide_run(y, b->y_pixel, x, b->x_pixel, s);
      else if (run == NARROW_RUN) narrow_run(y, b->y_pixel, x, b->x_pixel, s);
      else narrow_long_run(y, b->y_pixel, x, b->x_pixel, s);
      look_ahead(next);
    }
  rest.x += (size_t)covered * b->x_pixel;
  rest.y += (size_t)covered * b->y_pixel;
  rest.columns -= covered;
  if (rest.columns) sweep_block(&rest, channel, vectors, shift, s, next);
}

/* Runs pay where rows are long enough and, for wide panels, the registers hold the weights of three taps. */
static bool takes_runs(const pass *p, int vectors)
{
  const axis *a = &p->a[2];
  return a->taps == RUN_TAPS && a->stride == 1 && a->count >= NARROW_RUN && (vectors == 1 || REGISTERS == 32);
}

/* All sweeps of one panel over a block, so that each sweep's weights stay in L1 while it passes. */
static void panel_block(const pass *p, const block *b, const float *panels, const ptrdiff_t *offsets, int v,
                        ahead *next)
{
  int   vectors = least(WIDE, p->vectors - v), lanes = vectors * VL, channel = v * VL;
  bool  runs = takes_runs(p, vectors);
  int   group = runs ? RUN_TAPS : 1; /* taps that stay together */
  int   pieces = parts(p->ci, STEPS / group), ci = parts(p->ci, pieces);
  int groups = p->taps / group, sweeps = most(1, parts(groups, STEPS / (ci * group))),
      taps = parts(groups, sweeps) * group;
  const float *panel = panels + (size_t)channel * (size_t)p->taps * (size_t)p->ci;
  sweep s = {.w_tap = (size_t)(p->ci * lanes), .b = p->b ? p->b + channel : NULL, .first = true,
             .tail = least(VL, p->co - channel - (vectors - 1) * VL)};
  for (int t = 0; t == 0 || t < p->taps; t += most(1, taps))
    for (int k = 0; k < p->ci; k += ci) {
      s.w = panel + ((size_t)t * (size_t)p->ci + (size_t)k) * (size_t)lanes;
      s.offset = offsets + t;
      s.taps = least(taps, p->taps - t);
      s.ci = least(ci, p->ci - k);
      if (runs) sweep_runs(b, channel, vectors, k, &s, next);
      else sweep_block(b, channel, vectors, k, &s, next);
      s.first = false;
    }
}

/* ---- work items ------------------------------------------------------------------------------------------------- */
/* Offsets of the taps from a pixel's pointer; planes of a ring change places with the depth. */
static void tap_offsets(ptrdiff_t *offset, const pass *p, int first_plane, size_t plane, size_t row, size_t pixel)
{
  for (int td = 0; td < p->a[0].taps; td++) {
    size_t at = (size_t)(p->packed ? (first_plane + td) % p->a[0].taps : td) * plane;
    for (int th = 0; th < p->a[1].taps; th++)
      for (int tw = 0; tw < p->a[2].taps; tw++) *offset++ = (ptrdiff_t)(at + (size_t)th * row + (size_t)tw * pixel);
  }
}

/* Item i: a row block and a run of depths of a sample. */
typedef struct place { int n, row_block, depth, end; } place;

static place place_of(const pass *p, int i)
{
  int runs = p->row_blocks * p->depth_runs, depth = i % p->depth_runs * p->depths;
  return (place){i / runs, i % runs / p->depth_runs, depth, least(p->a[0].count, depth + p->depths)};
}

/* The last plane that output depth d reads: in a ring, all others are there already. */
static ahead plan_ahead(const pass *p, const place *q, int d)
{
  const axis *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  int         in[3] = {ad->in, ah->in, aw->in}, rows = least(p->rows, ah->count - q->row_block * p->rows);
  int         calls = parts(p->vectors, WIDE) * parts(rows * aw->count, PIXELS_MOST);
  return ahead_rows(p->x.x + (size_t)q->n * (size_t)ad->in * (size_t)ah->in * (size_t)aw->in * p->x.xs, p->x.xs, in, p->ci,
                    d * ad->stride + ad->shift + ad->taps - 1, q->row_block * p->rows * ah->stride + ah->shift,
                    axis_reach(ah, rows), calls);
}

/* Where the results of a row block at output depth d go. */
static block results_at(const pass *p, int n, int d, int row, int rows)
{
  const axis *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  size_t      ys = (size_t)p->y.stride, line = (size_t)aw->out * ys;
  size_t      plane = (size_t)n * (size_t)ad->out + (size_t)(ad->first + ad->step * d);
  block       b = {.rows = rows, .columns = aw->count, .y_row = (size_t)ah->step * line, .y_pixel = (size_t)aw->step * ys};
  b.y = (float *)p->y.y + (plane * (size_t)ah->out + (size_t)(ah->first + ah->step * row)) * line + (size_t)aw->first * ys;
  return b;
}

/* Dense results to where they go, as an ebbk_output has it. */
static void write_block(const pass *p, const block *to, const float *results, ebbk_range *seen)
{
  for (int r = 0; r < to->rows; r++)
    for (int c = 0; c < to->columns; c++, results += p->co)
      for (int i = 0; i < p->co; i += VL) {
        float *y = to->y + (size_t)r * to->y_row + (size_t)c * to->y_pixel + i;
        int    n = least(VL, p->co - i);
        write_vec(p->y.how, y, load_tail(results + i, n), n, seen);
      }
}

static void item(const pass *p, const float *panels, char *slice, const place *q, const place *following)
{
  const axis *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  ptrdiff_t  *offset = (ptrdiff_t *)slice;
  float      *input = (float *)(slice + offsets_bytes(p)), *results = input + input_bytes(p) / sizeof(float);
  int         row = q->row_block * p->rows, rows = least(p->rows, ah->count - row);
  int         top = row * ah->stride + ah->shift;
  size_t      in_row = (size_t)aw->in * p->x.xs, in_plane = (size_t)ah->in * in_row;
  packing from = {.s = &p->x, .x = p->x.x + (size_t)q->n * (size_t)ad->in * in_plane, .sample = q->n,
                  .in = {ad->in, ah->in, aw->in}, .left = aw->shift, .columns = axis_reach(aw, aw->count)};
  size_t      pixel = p->packed ? (size_t)p->ci : p->x.xs;
  size_t      line = p->packed ? (size_t)from.columns * pixel : in_row;
  size_t      plane = p->packed ? plane_floats(p, rows) : in_plane;
  block       b = {.x = input, .rows = rows, .columns = aw->count, .x_row = (size_t)ah->stride * line,
                   .x_pixel = (size_t)aw->stride * pixel};
  ebbk_range  seen = {0};
  int         loaded = 0; /* planes before this one are in the ring or no longer needed */
  for (int d = q->depth; d < q->end; d++) {
    int   front = d * ad->stride;
    ahead next = d + 1 < q->end ? plan_ahead(p, q, d + 1) : plan_ahead(p, following, following->depth);
    if (p->packed)
      for (loaded = most(loaded, front); loaded < front + ad->taps; loaded++)
        pack_plane(input + (size_t)(loaded % ad->taps) * plane, &from, loaded + ad->shift, top, axis_reach(ah, rows));
    else if (p->taps)
      b.x = from.x + (size_t)(front + ad->shift) * in_plane + (size_t)top * in_row + (size_t)aw->shift * p->x.xs;
    tap_offsets(offset, p, front, plane, line, pixel);
    block to = results_at(p, q->n, d, row, rows);
    if (p->y.how == EBBK_SET) b.y = to.y, b.y_row = to.y_row, b.y_pixel = to.y_pixel;
    else b.y = results, b.y_row = (size_t)(aw->count * p->co), b.y_pixel = (size_t)p->co;
    for (int v = 0; v < p->vectors; v += WIDE) panel_block(p, &b, panels, offset, v, &next);
    if (p->y.how != EBBK_SET) write_block(p, &to, results, &seen);
  }
  join_range(p->y.range, &seen);
}

static void run(const pass *p, const int kernel[3], char *scratch)
{
  float *panels = (float *)scratch;
  char  *slices = scratch + panel_bytes(p);
  int    items = p->n * p->row_blocks * p->depth_runs;
  double flops = 2.0 * p->taps * p->ci * p->co * p->n * p->a[0].count * p->a[1].count * p->a[2].count;
  if (p->a[0].count == 0 || p->a[1].count == 0 || p->a[2].count == 0) return; /* an image smaller than the stride */
  fill_panels(p, panels, kernel);
  deal d = deal_out((size_t)items, flops > FLOPS_PARALLEL ? omp_get_max_threads() : 1);
#pragma omp parallel num_threads(d.threads)
  FOR_DEALT(i, d)
  {
    place q = place_of(p, (int)i), following = place_of(p, least((int)i + 1, items - 1));
    item(p, panels, slices + (size_t)omp_get_thread_num() * slice_bytes(p), &q, &following);
  }
}

void NAME(direct_forward)(ebbk_output y, ebbk_input x, const float *w, const float *b, const ebbk_conv *g, void *scratch)
{
  pass p = forward_pass(g);
  p.y = y, p.x = source_of(&x, g->ci, 0, g->ci), p.w = w, p.b = b;
  p.packed |= p.x.how != PLAIN;
  run(&p, g->kernel, scratch);
}

/* dx[q stride + k - pad, ci] = sum over q, k, co of dy[q, co] w[k, ci, co] */
void NAME(direct_grad_data)(ebbk_output dx, const float *dy, int dys, const float *w, const ebbk_conv *g, void *scratch)
{
  for (int class = 0; class < gradient_classes(g); class++) {
    pass       p = gradient_pass(g, class);
    ebbk_input from = ebbk_read(dy, dys);
    p.y = dx, p.x = source_of(&from, g->co, 0, g->co), p.w = w;
    run(&p, g->kernel, scratch);
  }
}
