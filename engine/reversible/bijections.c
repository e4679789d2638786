/* bijections.c -- see bijections.h. Each with its inverse and its derivatives, in double, one value at a time. */
#include "reversible/bijections.h"

#include <math.h>

/* ---- y = x + t --------------------------------------------------------------------------------------------------- */
static double shift_forward(const ebbk_bijection *f, double x, const double *p, double *log_slope)
{
  (void)f;
  *log_slope = 0;
  return x + p[0];
}

static double shift_inverse(const ebbk_bijection *f, double y, const double *p)
{
  (void)f;
  return y - p[0];
}

static double shift_gradient(const ebbk_bijection *f, double *dp, double x, const double *p, double dy, double dl)
{
  (void)f, (void)x, (void)p, (void)dl;
  return dp[0] = dy;
}

ebbk_bijection ebb_shift(void)
{
  return (ebbk_bijection){.params = 1, .forward = shift_forward, .inverse = shift_inverse, .gradient = shift_gradient};
}

/* ---- y = (x + t) e^s --------------------------------------------------------------------------------------------- */
static double affine_forward(const ebbk_bijection *f, double x, const double *p, double *log_slope)
{
  (void)f;
  *log_slope = p[0];
  return (x + p[1]) * exp(p[0]);
}

static double affine_inverse(const ebbk_bijection *f, double y, const double *p)
{
  (void)f;
  return y * exp(-p[0]) - p[1];
}

static double affine_gradient(const ebbk_bijection *f, double *dp, double x, const double *p, double dy, double dl)
{
  (void)f;
  double scale = exp(p[0]);
  dp[0] = dy * (x + p[1]) * scale + dl;
  return dp[1] = dy * scale;
}

ebbk_bijection ebb_affine(void)
{
  return (ebbk_bijection){.params = 2, .forward = affine_forward, .inverse = affine_inverse, .gradient = affine_gradient};
}

/* ---- rational-quadratic spline ------------------------------------------------------------------------------------ */
enum { BINS_MOST = (EBBK_PARAMS_MOST + 1) / 3 };
static const double least_share = 1e-3, least_slope = 1e-3; /* of a bin in the whole; at a knot */

/* Shares of a whole of `length`: softmax, kept away from 0. */
static void shares_of(double *share, const double *u, int bins, double length)
{
  double most = u[0], sum = 0;
  for (int i = 1; i < bins; i++) most = fmax(most, u[i]);
  for (int i = 0; i < bins; i++) sum += share[i] = exp(u[i] - most);
  for (int i = 0; i < bins; i++) share[i] = length * (least_share + (1 - least_share * bins) * share[i] / sum);
}

/* du for the derivatives by the shares. */
static void shares_gradient(double *du, const double *dshare, const double *share, int bins, double length)
{
  double soft[BINS_MOST], mean = 0, part = 1 - least_share * bins;
  for (int i = 0; i < bins; i++) soft[i] = (share[i] / length - least_share) / part;
  for (int i = 0; i < bins; i++) mean += soft[i] * dshare[i];
  for (int i = 0; i < bins; i++) du[i] = length * part * soft[i] * (dshare[i] - mean);
}

/* Slope at inner knot k, 1 at u = 0; the outer knots have 1, where the identity goes on. */
static double raised(double u)
{
  return u + log(expm1(1 - least_slope));
}

static double slope_at(const ebbk_bijection *f, const double *p, int knot)
{
  if (knot == 0 || knot == f->bins) return 1;
  double u = raised(p[2 * f->bins + knot - 1]);
  return least_slope + fmax(u, 0) + log1p(exp(-fabs(u)));
}

static double slope_gradient(const ebbk_bijection *f, const double *p, int knot)
{
  return 1 / (1 + exp(-raised(p[2 * f->bins + knot - 1])));
}

/* The bin of a value, and all that its law is made of. */
typedef struct bin {
  int    k;
  double width[BINS_MOST], height[BINS_MOST];
  double x, y, w, h, delta, d0, d1; /* its corner, sizes, mean slope, slopes at its knots */
} bin;

/* `by_y`: the value is a y. */
static bin bin_of(const ebbk_bijection *f, const double *p, double value, bool by_y)
{
  bin b = {.x = -f->bound, .y = -f->bound};
  shares_of(b.width, p, f->bins, 2 * f->bound);
  shares_of(b.height, p + f->bins, f->bins, 2 * f->bound);
  for (; b.k + 1 < f->bins; b.k++) {
    if (value < (by_y ? b.y + b.height[b.k] : b.x + b.width[b.k])) break;
    b.x += b.width[b.k];
    b.y += b.height[b.k];
  }
  b.w = b.width[b.k], b.h = b.height[b.k], b.delta = b.h / b.w;
  b.d0 = slope_at(f, p, b.k), b.d1 = slope_at(f, p, b.k + 1);
  return b;
}

/* y = yk + H A / D,  A = delta t^2 + d0 t (1 - t),  D = delta + (d0 + d1 - 2 delta) t (1 - t),  t = (x - xk) / W
 * log f' = 2 log delta + log Q - 2 log D,  Q = d1 t^2 + 2 delta t (1 - t) + d0 (1 - t)^2 */
typedef struct terms { double t, a, d, q; } terms;

static terms terms_of(const bin *b, double x)
{
  double t = (x - b->x) / b->w, s = t * (1 - t);
  return (terms){t, b->delta * t * t + b->d0 * s, b->delta + (b->d0 + b->d1 - 2 * b->delta) * s,
                 b->d1 * t * t + 2 * b->delta * s + b->d0 * (1 - t) * (1 - t)};
}

static double spline_forward(const ebbk_bijection *f, double x, const double *p, double *log_slope)
{
  *log_slope = 0;
  if (!(fabs(x) < f->bound)) return x;
  bin   b = bin_of(f, p, x, false);
  terms v = terms_of(&b, x);
  *log_slope = 2 * log(b.delta) + log(v.q) - 2 * log(v.d);
  return b.y + b.h * v.a / v.d;
}

/* The root of the quadratic in t, in the form that does not cancel. */
static double spline_inverse(const ebbk_bijection *f, double y, const double *p)
{
  if (!(fabs(y) < f->bound)) return y;
  bin    b = bin_of(f, p, y, true);
  double v = y - b.y, bend = b.d0 + b.d1 - 2 * b.delta;
  double a2 = v * bend + b.h * (b.delta - b.d0), a1 = b.h * b.d0 - v * bend, a0 = -b.delta * v;
  return b.x + b.w * 2 * a0 / (-a1 - sqrt(fmax(a1 * a1 - 4 * a2 * a0, 0)));
}

/* A term and its derivatives by t, delta, d0 and d1. */
typedef struct by { double t, delta, d0, d1; } by;

/* Of a loss of y and log f': g = dy (y by v) + dl (log f' by v). */
static by derivatives(const bin *b, const terms *v, double dy, double dl)
{
  double t = v->t, s = t * (1 - t), turn = 1 - 2 * t;
  by     a = {2 * b->delta * t + b->d0 * turn, t * t, s, 0};
  by     d = {(b->d0 + b->d1 - 2 * b->delta) * turn, 1 - 2 * s, s, s};
  by     q = {2 * b->d1 * t + 2 * b->delta * turn - 2 * b->d0 * (1 - t), 2 * s, (1 - t) * (1 - t), t * t};
#define BY(v_) (dy * b->h * (a.v_ * v->d - v->a * d.v_) / (v->d * v->d) + dl * (q.v_ / v->q - 2 * d.v_ / v->d))
  by g = {BY(t), BY(delta) + dl * 2 / b->delta, BY(d0), BY(d1)};
#undef BY
  return g;
}

static double spline_gradient(const ebbk_bijection *f, double *dp, double x, const double *p, double dy, double dl)
{
  double dwidth[BINS_MOST] = {0}, dheight[BINS_MOST] = {0};
  for (int k = 0; k < f->params; k++) dp[k] = 0;
  if (!(fabs(x) < f->bound)) return dy;
  bin    b = bin_of(f, p, x, false);
  terms  v = terms_of(&b, x);
  by     g = derivatives(&b, &v, dy, dl);
  double dx = g.t / b.w;
  for (int i = 0; i < b.k; i++) dwidth[i] = -dx, dheight[i] = dy; /* they move the corner */
  dwidth[b.k] = -(g.t * v.t + g.delta * b.delta) / b.w;
  dheight[b.k] = dy * v.a / v.d + g.delta / b.w;
  shares_gradient(dp, dwidth, b.width, f->bins, 2 * f->bound);
  shares_gradient(dp + f->bins, dheight, b.height, f->bins, 2 * f->bound);
  if (b.k > 0) dp[2 * f->bins + b.k - 1] = g.d0 * slope_gradient(f, p, b.k);
  if (b.k + 1 < f->bins) dp[2 * f->bins + b.k] = g.d1 * slope_gradient(f, p, b.k + 1);
  return dx;
}

ebbk_bijection ebb_spline(int bins, double bound)
{
  EBB_ASSERT(bins > 1 && bins <= BINS_MOST, "%d bins, 2 to %d are possible", bins, BINS_MOST);
  return (ebbk_bijection){.params = 3 * bins - 1, .bins = bins, .bound = bound, .forward = spline_forward,
                          .inverse = spline_inverse, .gradient = spline_gradient};
}
