/* reference.c -- every kernel as plainly as it can be written: the definition that the fast ones are tested against,
 * and the arithmetic of the double build.
 * Owns: the table "reference". Must not know: vectors, tiles, scratch. Costs are those of the formulas; the loops
 * that would be too slow for tests on real layers share their outermost dimension among the threads. */
#include "kernels/reference_operand.h"
#include "kernels/tables.h"

static size_t volume(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

/* Index of pixel (n, d, h, w) of an image of `size`. */
static size_t pixel(const int size[3], int n, int d, int h, int w)
{
  return (((size_t)n * (size_t)size[0] + (size_t)d) * (size_t)size[1] + (size_t)h) * (size_t)size[2] + (size_t)w;
}

static bool inside(const int size[3], int d, int h, int w)
{
  return d >= 0 && d < size[0] && h >= 0 && h < size[1] && w >= 0 && w < size[2];
}

/* ---- pairs: every (output pixel, input pixel, tap) that a window connects -------------------------------------
 * The loop below is shared by convolution and pooling. Within one sample the order is fixed: outputs first, then
 * taps, both with the last dimension fastest. */
typedef struct pair { size_t out, in, tap; } pair;

typedef void pair_fn(const pair *p, void *what);

static void for_window(const ebbk_conv *g, int n, const int q[3], pair_fn *f, void *what)
{
  pair p = {.out = pixel(g->out, n, q[0], q[1], q[2])};
  for (int kd = 0; kd < g->kernel[0]; kd++)
    for (int kh = 0; kh < g->kernel[1]; kh++)
      for (int kw = 0; kw < g->kernel[2]; kw++, p.tap++) {
        int d = q[0] * g->stride[0] + kd - g->pad[0];
        int h = q[1] * g->stride[1] + kh - g->pad[1];
        int w = q[2] * g->stride[2] + kw - g->pad[2];
        if (!inside(g->in, d, h, w)) continue;
        p.in = pixel(g->in, n, d, h, w);
        f(&p, what);
      }
}

static void for_pairs(const ebbk_conv *g, int n, pair_fn *f, void *what)
{
  for (int d = 0; d < g->out[0]; d++)
    for (int h = 0; h < g->out[1]; h++)
      for (int w = 0; w < g->out[2]; w++) for_window(g, n, (int[3]){d, h, w}, f, what);
}

/* ---- convolution ---------------------------------------------------------------------------------------------- */
typedef struct conv_data {
  ebb_real         sum[64];        /* of forward: one pixel's results, a block of channels at a time */
  int              first, channels;
  ebbk_input       x;
  ebbk_output      dx;
  ebb_real        *dw;
  const ebb_real  *w, *dy;
  int              dys;
  size_t           k;              /* where the sample's scale begins */
  const ebbk_conv *g;
} conv_data;

static size_t conv_scratch(const ebbk_conv *g, int threads)
{
  (void)g, (void)threads;
  return 0;
}

static void forward_pair(const pair *p, void *what)
{
  conv_data      *a = what;
  int             ci = a->g->ci, co = a->g->co;
  const ebb_real *w = a->w + p->tap * (size_t)ci * (size_t)co + a->first;
  for (int i = 0; i < ci; i++) {
    ebb_real x = read_at(&a->x, p->in, i, a->k);
    for (int o = 0; o < a->channels; o++) a->sum[o] += x * w[i * co + o];
  }
}

static ebbk_algorithm conv_algorithm(const ebbk_conv *g, ebbk_product what)
{
  (void)g, (void)what;
  return EBBK_DIRECT;
}

/* A range of values is noted by one thread only. */
static void conv_forward(ebbk_output y, ebbk_input x, const ebb_real *w, const ebb_real *b, const ebbk_conv *g, void *scratch)
{
  (void)scratch;
  int    most = (int)(sizeof((conv_data *)0)->sum / sizeof(ebb_real));
  size_t pixels = (size_t)g->n * volume(g->out);
#pragma omp parallel for if (!y.range)
  for (size_t q = 0; q < pixels; q++) {
    int       n = (int)(q / volume(g->out)), at[3] = {(int)(q / (size_t)(g->out[1] * g->out[2])) % g->out[0],
                                                      (int)(q / (size_t)g->out[2]) % g->out[1], (int)(q % (size_t)g->out[2])};
    conv_data a = {.x = x, .w = w, .g = g, .k = x.per_instance ? (size_t)n * (size_t)g->ci : 0};
    for (a.first = 0; a.first < g->co; a.first += most) {
      a.channels = g->co - a.first < most ? g->co - a.first : most;
      for (int o = 0; o < a.channels; o++) a.sum[o] = b ? b[a.first + o] : 0;
      for_window(g, n, at, forward_pair, &a);
      for (int o = 0; o < a.channels; o++) write_at(&y, q, a.first + o, a.sum[o]);
    }
  }
  ebbk_moments_by_pass(&ebbk_reference, &y, g);
}

void ebbk_moments_by_pass(const ebbk_table *t, const ebbk_output *y, const ebbk_conv *g)
{
  ebbk_input read = {.x = y->y, .stride = y->stride, .stream = y->how == EBBK_STREAM_ADD || y->how == EBBK_STREAM_SUBTRACT};
  size_t     instances = y->per_instance ? (size_t)g->n : 1;
  if (y->mean) t->moments(y->mean, y->var, read, instances, (size_t)g->n * volume(g->out) / instances, g->co);
}

static void grad_data_pair(const pair *p, void *what)
{
  conv_data      *a = what;
  int             ci = a->g->ci, co = a->g->co;
  const ebb_real *dy = a->dy + p->out * (size_t)a->dys, *w = a->w + p->tap * (size_t)ci * (size_t)co;
  for (int i = 0; i < ci; i++) {
    ebb_real sum = 0;
    for (int o = 0; o < co; o++) sum += dy[o] * w[i * co + o];
    write_at(&a->dx, p->in, i, sum);
  }
}

/* dx[q stride + k - pad, ci] = sum over q, k, co of dy[q, co] w[k, ci, co] */
static void conv_grad_data(ebbk_output dx, const ebb_real *dy, int dys, const ebb_real *w, const ebbk_conv *g, void *scratch)
{
  (void)scratch;
  conv_data a = {.dx = dx, .dy = dy, .dys = dys, .w = w, .g = g};
  a.dx.how = EBBK_ADD;
#pragma omp parallel for
  for (int n = 0; n < g->n; n++) {
    for (size_t q = (size_t)n * volume(g->in); dx.how == EBBK_SET && q < (size_t)(n + 1) * volume(g->in); q++)
      for (int i = 0; i < g->ci; i++) write_at(&dx, q, i, 0);
    for_pairs(g, n, grad_data_pair, &a);
  }
}

static void grad_weight_pair(const pair *p, void *what)
{
  conv_data      *a = what;
  int             ci = a->g->ci, co = a->g->co;
  ebb_real       *dw = a->dw + p->tap * (size_t)ci * (size_t)co;
  const ebb_real *dy = a->dy + p->out * (size_t)a->dys;
  for (int i = 0; i < ci; i++) {
    ebb_real x = read_at(&a->x, p->in, i, a->k);
    for (int o = 0; o < co; o++) dw[i * co + o] += x * dy[o];
  }
}

/* dw[k, ci, co] += sum over n, q of x[n, q stride + k - pad, ci] dy[n, q, co] */
static void conv_grad_weight(ebb_real *dw, ebbk_input x, const ebb_real *dy, int dys, const ebbk_conv *g, void *scratch)
{
  (void)scratch;
  conv_data a = {.dw = dw, .x = x, .dy = dy, .dys = dys, .g = g};
  for (int n = 0; n < g->n; n++) {
    a.k = x.per_instance ? (size_t)n * (size_t)g->ci : 0;
    for_pairs(g, n, grad_weight_pair, &a);
  }
}

void ebbk_backward_by_parts(const ebbk_table *t, const ebbk_conv_back *k, const ebbk_conv *g, void *scratch)
{
  size_t instances = k->x.per_instance ? (size_t)g->n : 1, sites = (size_t)g->n * volume(g->in) / instances;
  if (k->y.y) t->conv_forward(k->y, k->x, k->w, k->b, g, scratch);
  t->conv_grad_weight(k->dw, k->x, k->dy, k->dys, g, scratch);
  if (k->dx.y) t->conv_grad_data(k->dx, k->dy, k->dys, k->w, g, scratch);
  if (k->mean)
    t->affine_act_sums(k->sum_dz, k->sum_dzx, k->x, k->dx.y, k->dx.stride, k->mean, instances, sites, g->ci);
}

/* ---- matrices ------------------------------------------------------------------------------------------------- */
static void gemm(ebb_real *c, int cs, const ebb_real *a, int as, bool ta, const ebb_real *b, int bs, bool tb, int m,
                 int n, int k, bool add)
{
#pragma omp parallel for
  for (int i = 0; i < m; i++)
    for (int j = 0; j < n; j++) {
      ebb_real sum = 0;
      for (int l = 0; l < k; l++)
        sum += a[ta ? (size_t)l * (size_t)as + (size_t)i : (size_t)i * (size_t)as + (size_t)l] *
               b[tb ? (size_t)j * (size_t)bs + (size_t)l : (size_t)l * (size_t)bs + (size_t)j];
      ebb_real *to = c + (size_t)i * (size_t)cs + j;
      *to = add ? *to + sum : sum;
    }
}

static void column_sums(ebb_real *sum, const ebb_real *x, int xs, size_t rows, int c)
{
  for (int j = 0; j < c; j++) {
    double s = 0;
    for (size_t r = 0; r < rows; r++) s += (double)x[r * (size_t)xs + (size_t)j];
    sum[j] += (ebb_real)s;
  }
}

/* ---- normalisation -------------------------------------------------------------------------------------------- */
static void moments(ebb_real *mean, ebb_real *var, ebbk_input x, size_t instances, size_t sites, int c)
{
  for (size_t i = 0; i < instances; i++)
    for (int j = 0; j < c; j++) {
      double m = 0, v = 0;
      for (size_t s = 0; s < sites; s++) m += (double)value_at(&x, i * sites + s, j);
      m /= (double)sites;
      for (size_t s = 0; s < sites; s++) {
        double off = (double)value_at(&x, i * sites + s, j) - m;
        v += off * off;
      }
      mean[i * (size_t)c + (size_t)j] = (ebb_real)m;
      var[i * (size_t)c + (size_t)j] = (ebb_real)(v / (double)sites);
    }
}

static ebb_real act_grad(ebb_real v, ebb_real dy, ebb_real slope)
{
  return v > 0 ? dy : slope * dy;
}

static void affine_act(ebbk_output y, ebbk_input x, size_t instances, size_t sites, int c)
{
  for (size_t r = 0; r < instances * sites; r++)
    for (int j = 0; j < c; j++) write_at(&y, r, j, read_at(&x, r, j, r / sites * (size_t)c));
}

static void affine_act_sums(ebb_real *sum_dz, ebb_real *sum_dzx, ebbk_input x, const ebb_real *dy, int dys,
                            const ebb_real *mean, size_t instances, size_t sites, int c)
{
  for (size_t k = 0; k < instances * (size_t)c; k++) {
    size_t first = k / (size_t)c * sites, j = k % (size_t)c;
    double s = 0, sx = 0;
    for (size_t r = first; r < first + sites; r++) {
      ebb_real v = value_at(&x, r, (int)j);
      ebb_real dz = act_grad(v * x.scale[k] + x.shift[k], dy[r * (size_t)dys + j], x.slope);
      s += (double)dz;
      sx += (double)dz * ((double)v - (double)mean[k]);
    }
    sum_dz[k] = (ebb_real)s;
    sum_dzx[k] = (ebb_real)sx;
  }
}

static void affine_act_grad(ebbk_output dx, ebbk_output z, ebbk_input x, const ebb_real *dy, int dys, const ebb_real *a,
                            const ebb_real *b, const ebb_real *e, const ebb_real *mean, size_t instances, size_t sites, int c)
{
  if (z.y) affine_act(z, x, instances, sites, c);
  for (size_t r = 0; r < instances * sites; r++)
    for (int j = 0; j < c; j++) {
      size_t   k = r / sites * (size_t)c + (size_t)j;
      ebb_real v = value_at(&x, r, j);
      ebb_real dz = act_grad(v * x.scale[k] + x.shift[k], dy[r * (size_t)dys + (size_t)j], x.slope);
      write_at(&dx, r, j, a[k] * dz + (b[k] * (v - mean[k]) + e[k]));
    }
}

/* ---- element-wise --------------------------------------------------------------------------------------------- */
#define FOR_ELEMENTS                                                             \
  for (size_t r_ = 0, iy = 0, ix = 0; r_ < rows; r_++)                           \
    for (int j_ = (iy = r_ * (size_t)ys, ix = r_ * (size_t)xs, 0); j_ < c; j_++, iy++, ix++)

static void fill(ebb_real *y, int ys, ebb_real value, size_t rows, int c)
{
  for (size_t r = 0; r < rows; r++)
    for (int j = 0; j < c; j++) y[r * (size_t)ys + (size_t)j] = value;
}

static void copy(ebb_real *y, int ys, const ebb_real *x, int xs, size_t rows, int c)
{
  FOR_ELEMENTS y[iy] = x[ix];
}

static void add(ebb_real *y, int ys, const ebb_real *x, int xs, size_t rows, int c)
{
  FOR_ELEMENTS y[iy] += x[ix];
}

static void leaky(ebb_real *y, int ys, const ebb_real *x, int xs, ebb_real slope, size_t rows, int c)
{
  FOR_ELEMENTS y[iy] = act(x[ix], slope);
}

static void leaky_grad(ebb_real *dx, int ys, const ebb_real *x, int xs, const ebb_real *dy, int dys, ebb_real slope,
                       size_t rows, int c)
{
  FOR_ELEMENTS dx[iy] = act_grad(x[ix], dy[r_ * (size_t)dys + (size_t)j_], slope);
}

static void map(ebb_real *y, int ys, const ebb_real *x, int xs, double (*f)(double), size_t rows, int c)
{
  FOR_ELEMENTS y[iy] = (ebb_real)f((double)x[ix]);
}

static void map_grad(ebb_real *dx, int ys, const ebb_real *x, int xs, const ebb_real *dy, int dys,
                     double (*derivative)(double), size_t rows, int c)
{
  FOR_ELEMENTS dx[iy] = (ebb_real)((double)dy[r_ * (size_t)dys + (size_t)j_] * derivative((double)x[ix]));
}

static void dropout(ebb_real *y, int ys, const ebb_real *x, int xs, double rate, ebb_rng g, size_t rows, int c)
{
  ebb_real keep = (ebb_real)(1 / (1 - rate));
  FOR_ELEMENTS
  {
    uint64_t i = (uint64_t)r_ * (uint64_t)c + (uint64_t)j_;
    uint32_t bits[4];
    ebb_rng_bits(bits, g, i / 4);
    y[iy] = (double)bits[i % 4] < rate * 0x1p32 ? 0 : x[ix] * keep;
  }
}

/* ---- linear interpolation -------------------------------------------------------------------------------------- */
/* Place of output o among the inputs, (o + 1/2) / factor - 1/2, cut to them: the site before it and the share of the next. */
static double place_of(int o, int size, int factor, int *low)
{
  double at = fmin(fmax((o + 0.5) / factor - 0.5, 0), size - 1);
  *low = (int)at < size - 1 ? (int)at : size - 1;
  return at - *low;
}

/* Calls y += weight x, or dx += weight dy, for each of the eight corners. */
static void upsample_walk(ebb_real *to, int ts, const ebb_real *from, int fs, const ebbk_pool *g, bool back)
{
  const int *in = g->in, *out = g->out;
  for (int n = 0; n < g->n; n++)
    for (int d = 0; d < out[0]; d++)
      for (int h = 0; h < out[1]; h++)
        for (int w = 0; w < out[2]; w++) {
          int    low[3], q[3] = {d, h, w};
          double share[3];
          for (int i = 0; i < 3; i++) share[i] = place_of(q[i], in[i], g->stride[i], &low[i]);
          size_t y = (((size_t)n * (size_t)out[0] + (size_t)d) * (size_t)out[1] + (size_t)h) * (size_t)out[2] + (size_t)w;
          for (int corner = 0; corner < 8; corner++) {
            double weight = 1;
            int    p[3];
            for (int i = 0; i < 3; i++) {
              bool next = corner >> i & 1;
              weight *= next ? share[i] : 1 - share[i];
              p[i] = next && low[i] + 1 < in[i] ? low[i] + 1 : low[i];
            }
            size_t x = (((size_t)n * (size_t)in[0] + (size_t)p[0]) * (size_t)in[1] + (size_t)p[1]) * (size_t)in[2] + (size_t)p[2];
            for (int c = 0; c < g->ci; c++)
              to[(back ? x : y) * (size_t)ts + (size_t)c] += (ebb_real)(weight * (double)from[(back ? y : x) * (size_t)fs + (size_t)c]);
          }
        }
}

static void upsample(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_pool *g)
{
  fill(y, ys, 0, (size_t)g->n * (size_t)g->out[0] * (size_t)g->out[1] * (size_t)g->out[2], g->ci);
  upsample_walk(y, ys, x, xs, g, false);
}

static void upsample_grad(ebb_real *dx, int dxs, const ebb_real *dy, int dys, const ebbk_pool *g)
{
  fill(dx, dxs, 0, (size_t)g->n * (size_t)g->in[0] * (size_t)g->in[1] * (size_t)g->in[2], g->ci);
  upsample_walk(dx, dxs, dy, dys, g, true);
}

/* ---- pooling -------------------------------------------------------------------------------------------------- */
typedef struct pool_data {
  ebb_real       *to;
  const ebb_real *from;
  int             tos, froms, c, channel;
  size_t          count, best;
} pool_data;

static void pool_sum_pair(const pair *p, void *what)
{
  pool_data *a = what;
  for (int j = 0; j < a->c; j++)
    a->to[p->out * (size_t)a->tos + (size_t)j] += a->from[p->in * (size_t)a->froms + (size_t)j];
  a->count++;
}

static void pool_count_pair(const pair *p, void *what)
{
  (void)p;
  ((pool_data *)what)->count++;
}

static void pool_spread_pair(const pair *p, void *what)
{
  pool_data *a = what;
  for (int j = 0; j < a->c; j++)
    a->to[p->in * (size_t)a->tos + (size_t)j] +=
        a->from[p->out * (size_t)a->froms + (size_t)j] * (1 / (ebb_real)a->count);
}

/* The first maximum; a NaN wins over numbers. `best` holds no pixel at first. */
static void pool_best_pair(const pair *p, void *what)
{
  pool_data *a = what;
  ebb_real   v = a->from[p->in * (size_t)a->froms + (size_t)a->channel];
  ebb_real   best = a->best == SIZE_MAX ? 0 : a->from[a->best * (size_t)a->froms + (size_t)a->channel];
  if (a->best == SIZE_MAX || v > best || (isnan(v) && !isnan(best))) a->best = p->in;
}

#define FOR_WINDOWS                                                                        \
  for (int n = 0; n < g->n; n++)                                                           \
    for (int q[3] = {0, 0, 0}; q[0] < g->out[0]; q[0]++)                                   \
      for (q[1] = 0; q[1] < g->out[1]; q[1]++)                                             \
        for (q[2] = 0; q[2] < g->out[2]; q[2]++)

static void pool_mean(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_pool *g)
{
  FOR_WINDOWS
  {
    ebb_real *to = y + pixel(g->out, n, q[0], q[1], q[2]) * (size_t)ys;
    for (int j = 0; j < g->co; j++) to[j] = 0;
    pool_data a = {.to = y, .tos = ys, .from = x, .froms = xs, .c = g->co};
    for_window(g, n, q, pool_sum_pair, &a);
    for (int j = 0; j < g->co; j++) to[j] *= 1 / (ebb_real)a.count;
  }
}

static void pool_mean_grad(ebb_real *dx, int dxs, const ebb_real *dy, int dys, const ebbk_pool *g)
{
  fill(dx, dxs, 0, (size_t)g->n * volume(g->in), g->ci);
  FOR_WINDOWS
  {
    pool_data a = {.to = dx, .tos = dxs, .from = dy, .froms = dys, .c = g->ci};
    for_window(g, n, q, pool_count_pair, &a);
    for_window(g, n, q, pool_spread_pair, &a);
  }
}

static void pool_max(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_pool *g)
{
  FOR_WINDOWS for (int j = 0; j < g->co; j++)
  {
    pool_data a = {.from = x, .froms = xs, .channel = j, .best = SIZE_MAX};
    for_window(g, n, q, pool_best_pair, &a);
    y[pixel(g->out, n, q[0], q[1], q[2]) * (size_t)ys + (size_t)j] = x[a.best * (size_t)xs + (size_t)j];
  }
}

static void pool_max_grad(ebb_real *dx, int dxs, const ebb_real *x, int xs, const ebb_real *dy, int dys,
                          const ebbk_pool *g)
{
  fill(dx, dxs, 0, (size_t)g->n * volume(g->in), g->ci);
  FOR_WINDOWS for (int j = 0; j < g->co; j++)
  {
    pool_data a = {.from = x, .froms = xs, .channel = j, .best = SIZE_MAX};
    for_window(g, n, q, pool_best_pair, &a);
    dx[a.best * (size_t)dxs + (size_t)j] += dy[pixel(g->out, n, q[0], q[1], q[2]) * (size_t)dys + (size_t)j];
  }
}

/* ---- loss ----------------------------------------------------------------------------------------------------- */
/* -sum over j of t_j log p_j, p = softmax(x), t = 1 - smoothing + smoothing/c at the label, smoothing/c elsewhere */
static double softmax_xent_row(ebb_real *dx, const ebb_real *x, int label, double smoothing, double weight, int c)
{
  double most = (double)x[0], sum = 0, loss = 0;
  for (int j = 1; j < c; j++) most = fmax(most, (double)x[j]);
  for (int j = 0; j < c; j++) sum += exp((double)x[j] - most);
  double log_sum = most + log(sum);
  for (int j = 0; j < c; j++) {
    double log_p = (double)x[j] - log_sum, t = smoothing / c + (j == label ? 1 - smoothing : 0);
    if (t != 0) loss -= t * log_p;
    dx[j] = (ebb_real)(weight * (exp(log_p) - t));
  }
  return loss;
}

static double softmax_xent(ebb_real *dx, int dxs, const ebb_real *x, int xs, const int32_t *label, double smoothing,
                           double weight, size_t rows, int c)
{
  double loss = 0;
  for (size_t r = 0; r < rows; r++) {
    if (label[r] < 0) fill(dx + r * (size_t)dxs, dxs, 0, 1, c);
    else loss += softmax_xent_row(dx + r * (size_t)dxs, x + r * (size_t)xs, label[r], smoothing, weight, c);
  }
  return loss;
}

/* ---- stream --------------------------------------------------------------------------------------------------- */
static void fixed_from_real(ebb_fixed *y, int ys, const ebb_real *x, int xs, size_t rows, int c, ebbk_range *range)
{
  FOR_ELEMENTS
  {
    double beyond;
    y[iy] = quantise(x[ix], &beyond);
    note(range, beyond);
  }
}

static void real_from_fixed(ebb_real *y, int ys, const ebb_fixed *x, int xs, size_t rows, int c)
{
  FOR_ELEMENTS y[iy] = (ebb_real)x[ix] / EBB_FIXED_ONE;
}

static void fixed_add(ebb_fixed *y, int ys, const ebb_real *x, int xs, size_t rows, int c, ebbk_range *range)
{
  FOR_ELEMENTS y[iy] = stream_plus(y[iy], x[ix], range);
}

static void fixed_subtract(ebb_fixed *y, int ys, const ebb_real *x, int xs, size_t rows, int c)
{
  FOR_ELEMENTS y[iy] = stream_minus(y[iy], x[ix]);
}

/* ---- optimiser ------------------------------------------------------------------------------------------------ */
static void sgd(ebb_real *w, ebb_real *m, const ebb_real *g, size_t n, double lr, double momentum, double decay,
                bool nesterov, bool first)
{
  ebb_real rate = (ebb_real)lr, mu = (ebb_real)momentum, lambda = (ebb_real)decay;
  for (size_t i = 0; i < n; i++) {
    ebb_real d = g[i] + lambda * w[i];
    m[i] = first ? d : mu * m[i] + d;
    w[i] -= rate * (nesterov ? d + mu * m[i] : m[i]);
  }
}

static void adam(ebb_real *w, ebb_real *m, ebb_real *v, const ebb_real *g, size_t n, const ebbk_adam *a)
{
  double c1 = 1 - pow(a->beta1, (double)a->step), c2 = 1 - pow(a->beta2, (double)a->step);
  for (size_t i = 0; i < n; i++) {
    double old = (double)w[i] * (a->decoupled ? 1 - a->lr * a->decay : 1);
    double d = (double)g[i] + (a->decoupled ? 0 : a->decay * old);
    m[i] = (ebb_real)(a->beta1 * (double)m[i] + (1 - a->beta1) * d);
    v[i] = (ebb_real)(a->largest ? fmax(a->beta2 * (double)v[i], fabs(d) + a->epsilon) : a->beta2 * (double)v[i] + (1 - a->beta2) * d * d);
    double size = a->largest ? (double)v[i] : sqrt((double)v[i] / c2) + a->epsilon;
    w[i] = (ebb_real)(old - a->lr / c1 * (double)m[i] / size);
  }
}

static double sum_squares(const ebb_real *x, size_t n)
{
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
  return sum;
}

static void scale(ebb_real *x, ebb_real factor, size_t n)
{
  for (size_t i = 0; i < n; i++) x[i] *= factor;
}

static void conv_backward(const ebbk_conv_back *k, const ebbk_conv *g, void *scratch)
{
  ebbk_backward_by_parts(&ebbk_reference, k, g, scratch);
}

const ebbk_table ebbk_reference = {
    .isa = "reference",
    .conv_scratch = conv_scratch,
    .conv_algorithm = conv_algorithm,
    .conv_forward = conv_forward,
    .conv_grad_data = conv_grad_data,
    .conv_grad_weight = conv_grad_weight,
    .conv_backward = conv_backward,
    .gemm = gemm,
    .column_sums = column_sums,
    .moments = moments,
    .affine_act = affine_act,
    .affine_act_sums = affine_act_sums,
    .affine_act_grad = affine_act_grad,
    .fill = fill,
    .copy = copy,
    .add = add,
    .leaky = leaky,
    .leaky_grad = leaky_grad,
    .map = map,
    .map_grad = map_grad,
    .dropout = dropout,
    .pool_mean = pool_mean,
    .pool_mean_grad = pool_mean_grad,
    .pool_max = pool_max,
    .pool_max_grad = pool_max_grad,
    .upsample = upsample,
    .upsample_grad = upsample_grad,
    .softmax_xent = softmax_xent,
    .segment_scratch = ebbk_segment_scratch,
    .segment_sums = ebbk_segment_sums,
    .segment_grad = ebbk_segment_grad,
    .fixed_from_real = fixed_from_real,
    .real_from_fixed = real_from_fixed,
    .fixed_add = fixed_add,
    .fixed_subtract = fixed_subtract,
    .mix = ebbk_mix,
    .unmix = ebbk_unmix,
    .mix_scratch = ebbk_mix_scratch,
    .mix_grad = ebbk_mix_grad,
    .squeeze_scratch = ebbk_squeeze_scratch,
    .squeeze = ebbk_squeeze_words,
    .rotate = ebbk_rotate_words,
    .sgd = sgd,
    .adam = adam,
    .sum_squares = sum_squares,
    .scale = scale,
};
