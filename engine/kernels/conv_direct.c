/* conv_direct.c -- direct convolution and its data gradient.
 * Owns: classes of results and work items, packed input, weights in panels. Must not know: the weight gradient (conv_direct_weight.c).
 *
 * A class of results is y[first + step j] = b + sum over taps t, channels ci of w[t, ci] x[j stride + shift + t] in every
 * dimension. The forward pass has one. The data gradient has one for each remainder of input pixels modulo the stride,
 * which read dy with the taps that meet them, in reverse: nothing is multiplied by the zeros between strided outputs.
 *
 * Work item: (sample, block of rows j, run of depths j), all classes of them. Its thread packs the input rows with their
 * zero border into its own slice of the scratch (in depth a ring of as many planes as there are taps), unless no tap leaves
 * the image. A tile then needs nothing but one pointer a pixel and a list of tap offsets, so that stride, dimension and
 * row ends are no cases of their own; tiles that run over the block's end repeat its last pixel. Rows with three taps
 * and stride 1, as most layers have, take the faster tile for runs of pixels. Rows of taps (in 3-D planes) that lie outside the
 * image are left out; columns are not, whose zeros are multiplied.
 * Cost: 2 taps Cin Cout FLOP an output pixel. */
#include "kernels/conv_tile.h"
#include "kernels/conv_ways.h"
#include "kernels/deal.h"

enum {
  STEPS = 288,                 /* (tap, ci) pairs in a sweep: their weights fit L1 */
  PACKED_BYTES = 256 << 10,    /* of a work item's input: fits L2                  */
  ITEMS_WANTED = 16,           /* to keep threads busy                             */
  FLOPS_PARALLEL = 1 << 18,    /* below, one thread is faster                      */
};

/* What one class of results reads and where they go. */
typedef struct class { axis a[3]; int taps; } class;

typedef struct pass {
  const ebbk_conv *g;
  ebbk_product what;    /* EBBK_FORWARD or EBBK_GRAD_DATA */
  int          n, ci, co, classes;
  axis         a[3];    /* the frame of all classes: the most results, and from the first to the last position they read */
  source       x;       /* (n in, ci) */
  ebbk_output  y;       /* (n out, co) */
  const float *b;       /* (co) or NULL */
  const float *w;       /* weight of (tap k, ci, co) at k ci co + ci w_ci + co w_co */
  size_t       w_ci, w_co;
  /* the plan */
  bool         packed;
  int          rows, row_blocks, depths, depth_runs;
  int          vectors;
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

static int taps_of(const axis a[3])
{
  return a[0].taps * a[1].taps * a[2].taps;
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

/* Remainder 0 has the most pixels; positions are those of all remainders that read any. */
static axis frame_gradient(const ebbk_conv *g, int i)
{
  axis frame = axis_gradient(g, i, 0);
  for (int r = 1; r < g->stride[i]; r++) {
    axis a = axis_gradient(g, i, r);
    if (a.taps == 0) continue;
    int end = frame.taps ? most(frame.shift + frame.taps, a.shift + a.taps) : a.shift + a.taps;
    frame.shift = frame.taps ? least(frame.shift, a.shift) : a.shift;
    frame.taps = end - frame.shift;
  }
  return frame;
}

static class class_of(const pass *p, int k)
{
  const int *s = p->g->stride;
  int        r[3] = {k / (s[1] * s[2]), k / s[2] % s[1], k % s[2]};
  class      c;
  for (int i = 0; i < 3; i++) c.a[i] = p->what == EBBK_FORWARD ? p->a[i] : axis_gradient(p->g, i, r[i]);
  c.taps = taps_of(c.a);
  return c;
}

static pass make_pass(const ebbk_conv *g, ebbk_product what)
{
  pass p = {.g = g, .what = what, .n = g->n, .ci = g->ci, .co = g->co, .classes = 1, .w_ci = (size_t)g->co, .w_co = 1};
  for (int i = 0; i < 3; i++) p.a[i] = what == EBBK_FORWARD ? axis_forward(g, i) : frame_gradient(g, i);
  if (what == EBBK_GRAD_DATA) {
    p.ci = g->co, p.co = g->ci, p.w_ci = 1, p.w_co = (size_t)g->co;
    p.classes = g->stride[0] * g->stride[1] * g->stride[2];
  }
  p.packed = axis_needs_border(&p.a[0]) || axis_needs_border(&p.a[1]) || axis_needs_border(&p.a[2]);
  p.vectors = parts(p.co, VL);
  plan_rows(&p);
  return p;
}

/* ---- scratch: the panels of all classes, then one slice a thread: tap offsets, packed input, results that are not simply
 * stored -------------------------------------------------------------------------------------------------------------- */
static size_t panel_floats(const pass *p, int taps)
{
  return (size_t)taps * (size_t)p->ci * (size_t)(p->vectors * VL);
}

/* Each tap of the kernel is in one class. */
static int kernel_taps(const pass *p)
{
  return p->g->kernel[0] * p->g->kernel[1] * p->g->kernel[2];
}

static size_t panels_bytes(const pass *p)
{
  return aligned(sizeof(float) * panel_floats(p, kernel_taps(p)));
}

static size_t offsets_bytes(const pass *p)
{
  return aligned(sizeof(ptrdiff_t) * (size_t)taps_of(p->a));
}

static size_t input_bytes(const pass *p)
{
  return aligned(sizeof(float) * (size_t)most(1, p->a[0].taps) * plane_floats(p, p->rows));
}

static size_t slice_bytes(const pass *p)
{
  return offsets_bytes(p) + input_bytes(p) + aligned(sizeof(float) * (size_t)(p->rows * p->a[2].count) * (size_t)p->co);
}

size_t NAME(direct_scratch)(const ebbk_conv *g, ebbk_product what, int threads)
{
  if (what == EBBK_GRAD_WEIGHT) return NAME(direct_weight_scratch)(g, threads);
  pass p = make_pass(g, what);
  return panels_bytes(&p) + (size_t)threads * slice_bytes(&p);
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

/* ---- panels: for each class and each block of WIDE vectors of output channels its weights (taps, ci, lanes), zeros beyond
 * co ------------------------------------------------------------------------------------------------------------------ */
static void fill_lanes(float *to, const float *w, size_t w_co, int lanes, int co)
{
  for (int o = 0; o < lanes; o++) to[o] = o < co ? w[(size_t)o * w_co] : 0;
}

/* Tap t of a class. */
static void fill_tap(const pass *p, const class *c, float *panels, int t)
{
  const axis  *a = c->a;
  const int   *kernel = p->g->kernel;
  size_t       steps = (size_t)c->taps * (size_t)p->ci;
  int          td = t / (a[1].taps * a[2].taps), th = t / a[2].taps % a[1].taps, tw = t % a[2].taps;
  int          kd = a[0].k0 + a[0].kstep * td, kh = a[1].k0 + a[1].kstep * th, kw = a[2].k0 + a[2].kstep * tw;
  const float *w = p->w + (size_t)((kd * kernel[1] + kh) * kernel[2] + kw) * (size_t)p->ci * (size_t)p->co;
  for (int v = 0; v < p->vectors; v += WIDE) {
    int    lanes = least(WIDE, p->vectors - v) * VL;
    float *panel = panels + (size_t)(v * VL) * steps + (size_t)t * (size_t)p->ci * (size_t)lanes;
    for (int i = 0; i < p->ci; i++)
      fill_lanes(panel + i * lanes, w + (size_t)i * p->w_ci + (size_t)(v * VL) * p->w_co, p->w_co, lanes, p->co - v * VL);
  }
}

static void fill_panels(const pass *p, float *panels)
{
  for (int k = 0; k < p->classes; k++) {
    class c = class_of(p, k);
#pragma omp parallel for if (panel_floats(p, c.taps) > 16384)
    for (int t = 0; t < c.taps; t++) fill_tap(p, &c, panels, t);
    panels += panel_floats(p, c.taps);
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

static void sweep_block(const block *b, int channel, int vectors, int shift, const sweep *s)
{
  const float *x[PIXELS_MOST];
  float       *y[PIXELS_MOST];
  int          left = b->rows * b->columns, row = 0, column = 0;
  while (left > 0) {
    int pixels = vectors < WIDE ? NARROW_PIXELS : left <= 2 * FEW_PIXELS ? FEW_PIXELS : WIDE_PIXELS;
    for (int i = 0; i < pixels; i++) {
      x[i] = b->x + (size_t)row * b->x_row + (size_t)column * b->x_pixel + shift;
      y[i] = b->y + (size_t)row * b->y_row + (size_t)column * b->y_pixel + channel;
      if (left-- > 1) {
        if (++column == b->columns) column = 0, row++;
      }
    }
    if (vectors < WIDE) narrow_tile(y, x, s);
    else if (pixels == FEW_PIXELS) few_tile(y, x, s);
    else wide_tile(y, x, s);
  }
}

/* The same by runs; what is left of each row by single pixels. */
static void sweep_runs(const block *b, int channel, int vectors, int shift, const sweep *s)
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
    }
  rest.x += (size_t)covered * b->x_pixel;
  rest.y += (size_t)covered * b->y_pixel;
  rest.columns -= covered;
  if (rest.columns) sweep_block(&rest, channel, vectors, shift, s);
}

/* Runs pay where rows are long enough and, for wide panels, the registers hold the weights of three taps. */
static bool takes_runs(const class *c, int vectors)
{
  const axis *a = &c->a[2];
  return a->taps == RUN_TAPS && a->stride == 1 && a->count >= NARROW_RUN && (vectors == 1 || REGISTERS == 32);
}

/* Taps of a class that rows of a block have inside the image. In the order of taps only those of the outermost dimension that has
 * several can be left out: depths, or else rows. */
typedef struct band { int first, end, rows; } band;

/* The band that begins with row j, of at most `rows`, at depth d. */
static band band_at(const class *c, int d, int j, int rows)
{
  const axis *ad = &c->a[0], *ah = &c->a[1];
  bool        deep = ad->taps > 1;
  inside      in = deep ? taps_inside(ad, d) : taps_inside(ah, j);
  int         inner = (deep ? ah->taps : 1) * c->a[2].taps, same = deep ? rows : 1;
  if (c->taps == 0) return (band){.rows = rows};
  for (; same < rows; same++) {
    inside next = taps_inside(ah, j + same);
    if (next.first != in.first || next.end != in.end) break;
  }
  return (band){in.first * inner, in.end * inner, same};
}

/* All sweeps of one panel over a band's rows, so that each sweep's weights stay in L1 while it passes. */
static void panel_block(const pass *p, const class *c, const band *in, const block *b, const float *panels, const ptrdiff_t *offsets,
                        int v, ahead *next)
{
  int   vectors = least(WIDE, p->vectors - v), lanes = vectors * VL, channel = v * VL;
  bool  runs = takes_runs(c, vectors);
  int   group = runs ? RUN_TAPS : 1; /* taps that stay together */
  int   pieces = parts(p->ci, STEPS / group), ci = parts(p->ci, pieces);
  int groups = (in->end - in->first) / group, sweeps = most(1, parts(groups, STEPS / (ci * group))),
      taps = parts(groups, sweeps) * group;
  const float *panel = panels + (size_t)channel * (size_t)c->taps * (size_t)p->ci;
  sweep s = {.w_tap = (size_t)(p->ci * lanes), .b = p->b ? p->b + channel : NULL, .first = true, .next = next,
             .tail = least(VL, p->co - channel - (vectors - 1) * VL)};
  for (int t = in->first; t == in->first || t < in->end; t += most(1, taps))
    for (int k = 0; k < p->ci; k += ci) {
      s.w = panel + ((size_t)t * (size_t)p->ci + (size_t)k) * (size_t)lanes;
      s.offset = offsets + t;
      s.taps = least(taps, in->end - t);
      s.ci = least(ci, p->ci - k);
      if (runs) sweep_runs(b, channel, vectors, k, &s);
      else sweep_block(b, channel, vectors, k, &s);
      s.first = false;
    }
}

/* ---- work items ------------------------------------------------------------------------------------------------- */
/* Strides of the input as tiles read it: packed, or the image itself. */
typedef struct strides { size_t plane, row, pixel; } strides;

/* Offsets of a class's taps from the frame's first position; planes of a ring change places with the depth. */
static void tap_offsets(ptrdiff_t *offset, const pass *p, const class *c, int first_plane, const strides *s)
{
  int first[3];
  for (int i = 0; i < 3; i++) first[i] = c->a[i].shift - p->a[i].shift;
  for (int td = first[0]; td < first[0] + c->a[0].taps; td++) {
    size_t at = (size_t)(p->packed ? (first_plane + td) % p->a[0].taps : td) * s->plane;
    for (int th = first[1]; th < first[1] + c->a[1].taps; th++)
      for (int tw = first[2]; tw < first[2] + c->a[2].taps; tw++)
        *offset++ = (ptrdiff_t)(at + (size_t)th * s->row + (size_t)tw * s->pixel);
  }
}

/* Item i: a row block and a run of depths of a sample. */
typedef struct place { int n, row_block, depth, end; } place;

static place place_of(const pass *p, int i)
{
  int runs = p->row_blocks * p->depth_runs, depth = i % p->depth_runs * p->depths;
  return (place){i / runs, i % runs / p->depth_runs, depth, least(p->a[0].count, depth + p->depths)};
}

/* At least so many steps do the tiles of a row block look ahead. */
static int steps_of(const pass *p, int rows)
{
  int taps = kernel_taps(p) / (p->a[2].taps == RUN_TAPS ? p->g->kernel[2] : 1);
  return taps * parts(p->vectors, WIDE) * parts(rows * p->a[2].count, PIXELS_MOST);
}

/* The last plane that depth d reads: in a ring, all others are there already. */
static ahead plan_ahead(const pass *p, const place *q, int d)
{
  const axis *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  int         in[3] = {ad->in, ah->in, aw->in}, rows = least(p->rows, ah->count - q->row_block * p->rows);
  return ahead_rows(p->x.x + (size_t)q->n * (size_t)ad->in * (size_t)ah->in * (size_t)aw->in * p->x.xs, p->x.xs, in, p->ci,
                    d * ad->stride + ad->shift + ad->taps - 1, q->row_block * p->rows * ah->stride + ah->shift,
                    axis_reach(ah, rows), steps_of(p, rows));
}

/* Where a class's results of a row block at depth d go. */
static block results_at(const pass *p, const class *c, int n, int d, int row)
{
  const axis *ad = &c->a[0], *ah = &c->a[1], *aw = &c->a[2];
  size_t      ys = (size_t)p->y.stride, line = (size_t)aw->out * ys;
  size_t      plane = (size_t)n * (size_t)ad->out + (size_t)(ad->first + ad->step * d);
  block       b = {.rows = least(p->rows, ah->count - row), .columns = aw->count, .y_row = (size_t)ah->step * line,
                   .y_pixel = (size_t)aw->step * ys};
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

/* A thread's slice, what its tiles read, and what they saw. */
typedef struct desk {
  ptrdiff_t   *offsets;
  float       *input, *results;
  const float *x; /* at the frame's first position of the row block at this depth */
  strides      s;
  ebbk_range   seen;
  ahead        next;
} desk;

static desk desk_of(const pass *p, char *slice, int rows)
{
  desk k = {.offsets = (ptrdiff_t *)slice, .input = (float *)(slice + offsets_bytes(p))};
  k.results = k.input + input_bytes(p) / sizeof(float);
  k.x = k.input;
  k.s.pixel = p->packed ? (size_t)p->ci : p->x.xs;
  k.s.row = (size_t)(p->packed ? axis_reach(&p->a[2], p->a[2].count) : p->a[2].in) * k.s.pixel;
  k.s.plane = p->packed ? plane_floats(p, rows) : (size_t)p->a[1].in * k.s.row;
  return k;
}

/* A class's results of a row block at depth d; none if its image ends before. */
static void class_block(const pass *p, const class *c, const float *panels, const place *q, int d, desk *k)
{
  int row = q->row_block * p->rows;
  if (d >= c->a[0].count || row >= c->a[1].count || c->a[2].count == 0) return;
  block to = results_at(p, c, q->n, d, row), b = to;
  if (p->y.how != EBBK_SET) b.y = k->results, b.y_row = (size_t)(b.columns * p->co), b.y_pixel = (size_t)p->co;
  b.x = k->x, b.x_row = (size_t)p->a[1].stride * k->s.row, b.x_pixel = (size_t)p->a[2].stride * k->s.pixel;
  tap_offsets(k->offsets, p, c, d * p->a[0].stride, &k->s);
  for (int r = 0, end = b.rows; r < end; r += b.rows) {
    band in = band_at(c, d, row + r, end - r);
    b.rows = in.rows;
    for (int v = 0; v < p->vectors; v += WIDE) panel_block(p, c, &in, &b, panels, k->offsets, v, &k->next);
    b.x += (size_t)b.rows * b.x_row, b.y += (size_t)b.rows * b.y_row;
  }
  if (p->y.how != EBBK_SET) write_block(p, &to, k->results, &k->seen);
}

static void all_classes(const pass *p, const float *panels, const place *q, int d, desk *k)
{
  for (int i = 0; i < p->classes; i++) {
    class c = class_of(p, i);
    class_block(p, &c, panels, q, d, k);
    panels += panel_floats(p, c.taps);
  }
}

static void item(const pass *p, const float *panels, char *slice, const place *q, const place *following)
{
  const axis *ad = &p->a[0], *ah = &p->a[1], *aw = &p->a[2];
  int         row = q->row_block * p->rows, rows = least(p->rows, ah->count - row), top = row * ah->stride + ah->shift;
  size_t      in_row = (size_t)aw->in * p->x.xs, in_plane = (size_t)ah->in * in_row;
  packing from = {.s = &p->x, .x = p->x.x + (size_t)q->n * (size_t)ad->in * in_plane, .sample = q->n,
                  .in = {ad->in, ah->in, aw->in}, .left = aw->shift, .columns = axis_reach(aw, aw->count)};
  desk        k = desk_of(p, slice, rows);
  int         loaded = 0; /* planes before this one are in the ring or no longer needed */
  for (int d = q->depth; d < q->end; d++) {
    int front = d * ad->stride;
    k.next = d + 1 < q->end ? plan_ahead(p, q, d + 1) : plan_ahead(p, following, following->depth);
    if (p->packed)
      for (loaded = most(loaded, front); loaded < front + ad->taps; loaded++)
        pack_plane(k.input + (size_t)(loaded % ad->taps) * k.s.plane, &from, loaded + ad->shift, top, axis_reach(ah, rows));
    else k.x = from.x + (size_t)(front + ad->shift) * in_plane + (size_t)top * in_row + (size_t)aw->shift * p->x.xs;
    all_classes(p, panels, q, d, &k);
  }
  join_range(p->y.range, &k.seen);
}

static void run(const pass *p, char *scratch)
{
  float     *panels = (float *)scratch;
  char      *slices = scratch + panels_bytes(p);
  const int *out = p->g->out;
  int        items = p->n * p->row_blocks * p->depth_runs;
  double     flops = 2.0 * kernel_taps(p) * p->ci * p->co * p->n * out[0] * out[1] * out[2];
  fill_panels(p, panels);
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
  pass p = make_pass(g, EBBK_FORWARD);
  p.y = y, p.x = source_of(&x, g->ci, 0, g->ci), p.w = w, p.b = b;
  p.packed |= p.x.how != PLAIN;
  run(&p, scratch);
}

/* dx[q stride + k - pad, ci] = sum over q, k, co of dy[q, co] w[k, ci, co] */
void NAME(direct_grad_data)(ebbk_output dx, const float *dy, int dys, const float *w, const ebbk_conv *g, void *scratch)
{
  pass       p = make_pass(g, EBBK_GRAD_DATA);
  ebbk_input from = ebbk_read(dy, dys);
  p.y = dx, p.x = source_of(&from, g->co, 0, g->co), p.w = w;
  run(&p, scratch);
}
