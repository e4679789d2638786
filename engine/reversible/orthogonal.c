/* orthogonal.c -- see orthogonal.h. */
#include "reversible/orthogonal.h"

#include <math.h>
#include <string.h>

/* ---- small matrices ------------------------------------------------------------------------------------------------ */
static size_t square(int n)
{
  return (size_t)n * (size_t)n;
}

static void identity(double *m, int n)
{
  memset(m, 0, square(n) * sizeof *m);
  for (int i = 0; i < n; i++) m[(size_t)i * (size_t)n + (size_t)i] = 1;
}

/* c += a b */
static void add_product(double *c, const double *a, const double *b, int n)
{
  for (int i = 0; i < n; i++)
    for (int k = 0; k < n; k++) {
      double        f = a[i * n + k];
      const double *from = b + (size_t)k * (size_t)n;
      double       *to = c + (size_t)i * (size_t)n;
      for (int j = 0; j < n; j++) to[j] += f * from[j];
    }
}

static void product(double *c, const double *a, const double *b, int n)
{
  memset(c, 0, square(n) * sizeof *c);
  add_product(c, a, b, n);
}

static void transpose(double *t, const double *a, int n)
{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) t[j * n + i] = a[i * n + j];
}

/* a = w - w^T */
static void skew(double *a, const double *w, int n)
{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) a[i * n + j] = w[i * n + j] - w[j * n + i];
}

/* dw = d - d^T: a = w - w^T gives dw_ij = da_ij - da_ji. */
static void skew_gradient(double *dw, const double *d, int n)
{
  skew(dw, d, n);
}

/* b = a^-1 b by elimination without exchanges, which needs none for a = I + skew: its symmetric part is I, and so is
 * that of every Schur complement at least. a is overwritten. */
static void solve(double *b, double *a, int n)
{
  for (int k = 0; k < n; k++)
    for (int i = k + 1; i < n; i++) {
      double f = a[i * n + k] / a[k * n + k];
      for (int j = k; j < n; j++) a[i * n + j] -= f * a[k * n + j];
      for (int j = 0; j < n; j++) b[i * n + j] -= f * b[k * n + j];
    }
  for (int i = n - 1; i >= 0; i--)
    for (int j = 0; j < n; j++) {
      double v = b[i * n + j];
      for (int k = i + 1; k < n; k++) v -= a[i * n + k] * b[k * n + j];
      b[i * n + j] = v / a[i * n + i];
    }
}

/* ---- Cayley -------------------------------------------------------------------------------------------------------- */
static void cayley(double *m, const double *w, int n, double *scratch)
{
  double *a = scratch;
  skew(a, w, n);
  for (size_t i = 0; i < square(n); i++) m[i] = -a[i];
  for (int i = 0; i < n; i++) m[i * n + i] += 1, a[i * n + i] += 1;
  solve(m, a, n);
}

/* (I + A) M = I - A gives dM = -(I + A)^-1 dA (I + M), so dL/dA = -(I - A)^-1 G (I + M)^T. */
static void cayley_gradient(double *dw, const double *g, const double *w, int n, double *scratch)
{
  double *m = scratch, *t = m + square(n), *d = t + square(n), *rest = d + square(n);
  cayley(m, w, n, rest);
  for (int i = 0; i < n; i++) m[i * n + i] += 1;
  transpose(t, m, n);
  product(d, g, t, n);
  skew(t, w, n);
  for (size_t i = 0; i < square(n); i++) t[i] = -t[i], d[i] = -d[i];
  for (int i = 0; i < n; i++) t[i * n + i] += 1;
  solve(d, t, n);
  skew_gradient(dw, d, n);
}

/* ---- the exponential ------------------------------------------------------------------------------------------------- */
/* A matrix and, where d is not NULL, a derivative of it: (x, d)(y, e) = (x y, x e + d y). */
typedef struct dual { double *x, *d; } dual;

static void dual_product(dual c, dual a, dual b, int n)
{
  product(c.x, a.x, b.x, n);
  if (!c.d) return;
  product(c.d, a.x, b.d, n);
  add_product(c.d, a.d, b.x, n);
}

static void dual_scale(dual a, double f, int n)
{
  for (size_t i = 0; i < square(n); i++) {
    a.x[i] *= f;
    if (a.d) a.d[i] *= f;
  }
}

static double largest_row_sum(const double *a, int n)
{
  double most = 0;
  for (int i = 0; i < n; i++) {
    double sum = 0;
    for (int j = 0; j < n; j++) sum += fabs(a[i * n + j]);
    most = fmax(most, sum);
  }
  return most;
}

enum { TERMS = 18 }; /* 0.5^19 / 19! = 1.6e-23 */

/* *e = exp(*b), by scaling to a norm of at most 1/2, Taylor's series in Horner's form, and squaring. b and t are
 * overwritten; the result is in *e or *t, and is returned. */
static dual exponential(dual e, dual b, dual t, int n)
{
  double norm = largest_row_sum(b.x, n);
  int    squarings = norm > 0.5 ? (int)ceil(log2(norm / 0.5)) : 0;
  dual_scale(b, ldexp(1, -squarings), n);
  identity(e.x, n);
  if (e.d) memset(e.d, 0, square(n) * sizeof *e.d);
  for (int k = TERMS; k > 0; k--) {
    dual swap = e;
    dual_product(t, b, e, n);
    dual_scale(t, 1.0 / k, n);
    for (int i = 0; i < n; i++) t.x[i * n + i] += 1;
    e = t, t = swap;
  }
  for (; squarings > 0; squarings--) {
    dual swap = e;
    dual_product(t, e, e, n);
    e = t, t = swap;
  }
  return e;
}

static void exponential_matrix(double *m, const double *w, int n, double *scratch)
{
  dual e = {scratch, NULL}, b = {scratch + square(n), NULL}, t = {scratch + 2 * square(n), NULL};
  skew(b.x, w, n);
  e = exponential(e, b, t, n);
  memcpy(m, e.x, square(n) * sizeof *m);
}

/* dL/dA = L(A^T, G), the derivative of the exponential at A^T along G (Higham 2008, section 10.6). */
static void exponential_gradient(double *dw, const double *g, const double *w, int n, double *scratch)
{
  dual e = {scratch, scratch + square(n)}, b = {e.d + square(n), e.d + 2 * square(n)}, t = {b.d + square(n), b.d + 2 * square(n)};
  double *a = t.d + square(n);
  skew(a, w, n);
  transpose(b.x, a, n);
  memcpy(b.d, g, square(n) * sizeof *g);
  e = exponential(e, b, t, n);
  skew_gradient(dw, e.d, n);
}

/* ---- Householder ------------------------------------------------------------------------------------------------------ */
static double dot(const double *a, const double *b, int n)
{
  double sum = 0;
  for (int i = 0; i < n; i++) sum += a[i] * b[i];
  return sum;
}

/* m = H(v) m, with t of n values */
static void reflect_left(double *m, const double *v, int n, double *t)
{
  double vv = dot(v, v, n);
  if (vv == 0) return;
  for (int j = 0; j < n; j++) t[j] = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) t[j] += v[i] * m[i * n + j];
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) m[i * n + j] -= 2 / vv * v[i] * t[j];
}

/* m = m H(v) */
static void reflect_right(double *m, const double *v, int n)
{
  double vv = dot(v, v, n);
  if (vv == 0) return;
  for (int i = 0; i < n; i++) {
    double s = 2 / vv * dot(m + (size_t)i * (size_t)n, v, n);
    for (int j = 0; j < n; j++) m[i * n + j] -= s * v[j];
  }
}

static void householder(double *m, const double *w, int n, double *scratch)
{
  identity(m, n);
  for (int i = ebb_orthogonal_rows(EBB_HOUSEHOLDER, n) - 1; i >= 0; i--) reflect_left(m, w + (size_t)i * (size_t)n, n, scratch);
}

/* With M = P H S, P before and S behind v's reflection, dL/dH = P^T G S^T = R H where R = P^T (G M^T) P; and
 * H = I - 2 v v^T / v^T v gives dv = -2 (D v + D^T v) / v^T v + 4 (v^T D v) v / (v^T v)^2 for D = dL/dH. */
static void householder_gradient(double *dw, const double *g, const double *w, int n, double *scratch)
{
  double *m = scratch, *r = m + square(n), *d = r + square(n), *t = d + square(n), *u = t + n;
  householder(m, w, n, t);
  transpose(d, m, n);
  product(r, g, d, n);
  for (int k = 0; k < ebb_orthogonal_rows(EBB_HOUSEHOLDER, n); k++) {
    const double *v = w + (size_t)k * (size_t)n;
    double       *dv = dw + (size_t)k * (size_t)n, vv = dot(v, v, n);
    memset(dv, 0, (size_t)n * sizeof *dv);
    if (vv == 0) continue;
    memcpy(d, r, square(n) * sizeof *d);
    reflect_right(d, v, n);
    for (int i = 0; i < n; i++) u[i] = dot(d + (size_t)i * (size_t)n, v, n); /* D v */
    double vdv = dot(u, v, n);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) dv[j] -= 2 / vv * d[i * n + j] * v[i];
      dv[i] += -2 / vv * u[i] + 4 * vdv / (vv * vv) * v[i];
    }
    reflect_left(r, v, n, t);
    reflect_right(r, v, n);
  }
}

/* ---- the choice ---------------------------------------------------------------------------------------------------- */
int ebb_orthogonal_rows(ebb_orthogonal kind, int n)
{
  return kind == EBB_HOUSEHOLDER ? n - n % 2 : n;
}

size_t ebb_orthogonal_scratch(int n)
{
  return 7 * square(n) + 2 * (size_t)n;
}

void ebb_orthogonal_matrix(double *m, ebb_orthogonal kind, const double *w, int n, double *scratch)
{
  switch (kind) {
  case EBB_CAYLEY: cayley(m, w, n, scratch); break;
  case EBB_EXPONENTIAL: exponential_matrix(m, w, n, scratch); break;
  case EBB_HOUSEHOLDER: householder(m, w, n, scratch); break;
  }
}

void ebb_orthogonal_gradient(double *dw, ebb_orthogonal kind, const double *dm, const double *w, int n, double *scratch)
{
  switch (kind) {
  case EBB_CAYLEY: cayley_gradient(dw, dm, w, n, scratch); break;
  case EBB_EXPONENTIAL: exponential_gradient(dw, dm, w, n, scratch); break;
  case EBB_HOUSEHOLDER: householder_gradient(dw, dm, w, n, scratch); break;
  }
}

/* ---- reflections --------------------------------------------------------------------------------------------------- */
/* Column i below the diagonal, x, goes to -sign(x_i) |x| e_i by v = x + sign(x_i) |x| e_i, whose first entry is its largest.
 * |x| = 1 up to rounding, as the columns before are unit vectors. */
static void reflection(double *a, double *beta, double *m, int i, int n)
{
  double norm = 0;
  for (int r = i; r < n; r++) norm += m[r * n + i] * m[r * n + i];
  double pivot = m[i * n + i] + copysign(sqrt(norm), m[i * n + i]), vv = 1;
  for (int j = i + 1; j < n; j++) {
    a[j] = pivot != 0 ? m[j * n + i] / pivot : 0;
    vv += a[j] * a[j];
  }
  *beta = 2 / vv;
  for (int c = i; c < n; c++) {
    double s = m[i * n + c];
    for (int j = i + 1; j < n; j++) s += a[j] * m[j * n + c];
    m[i * n + c] -= *beta * s;
    for (int j = i + 1; j < n; j++) m[j * n + c] -= *beta * a[j] * s;
  }
}

void ebb_orthogonal_reflections(double *a, double *beta, double *sign, double *m, int n)
{
  memset(a, 0, square(n) * sizeof *a);
  for (int i = 0; i < n - 1; i++) reflection(a + (size_t)i * (size_t)n, &beta[i], m, i, n);
  beta[n - 1] = 0;
  for (int i = 0; i < n; i++) sign[i] = m[i * n + i] < 0 ? -1 : 1;
}
