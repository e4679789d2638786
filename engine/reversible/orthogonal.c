/* orthogonal.c -- see orthogonal.h. */
#include "reversible/orthogonal.h"

#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

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
  ebbk_gemm_add(c, n, a, n, b, n, n, n, n, 1);
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

/* ---- elimination in panels, most of it matrix products ------------------------------------------------------------ */
enum { PANEL = 16 };

/* to (count) -= f from */
static void subtract_row(double *to, const double *from, double f, int count)
{
  for (int j = 0; j < count; j++) to[j] -= f * from[j];
}

/* The panel's columns, from its first row down. If `sign` is given, sign_k is taken off pivot k, the sign that makes it
 * larger, but off the last. */
static void eliminate_columns(double *a, double *sign, int n, int first, int end)
{
  for (int k = first; k < end; k++) {
    double *row = a + (size_t)k * (size_t)n;
    if (sign) {
      bool last = k == n - 1;
      sign[k] = (row[k] < 0) != last ? 1 : -1;
      if (!last) row[k] -= sign[k];
    }
    double inverse = 1 / row[k];
    for (int i = k + 1; i < n; i++) {
      double *to = a + (size_t)i * (size_t)n;
      to[k] *= inverse;
      subtract_row(to + k + 1, row + k + 1, to[k], end - k - 1);
    }
  }
}

/* a = L U in place, L with ones on its diagonal, without exchanges; b, the identity, becomes L^-1 if it is given. */
static void eliminate(double *a, double *b, double *sign, int n)
{
  size_t w = (size_t)n;
  for (int k = 0; k < n; k += PANEL) {
    int     end = k + PANEL < n ? k + PANEL : n, rest = n - end;
    double *panel = a + (size_t)end * w + k;
    eliminate_columns(a, sign, n, k, end);
    for (int i = k + 1; i < end; i++)
      for (int p = k; p < i; p++) {
        double f = a[(size_t)i * w + (size_t)p];
        subtract_row(a + (size_t)i * w + end, a + (size_t)p * w + end, f, rest);
        if (b) subtract_row(b + (size_t)i * w, b + (size_t)p * w, f, p + 1);
      }
    ebbk_gemm_add(a + (size_t)end * w + end, n, panel, n, a + (size_t)k * w + end, n, rest, rest, end - k, -1);
    if (b) ebbk_gemm_add(b + (size_t)end * w, n, panel, n, b + (size_t)k * w, n, rest, end, end - k, -1);
  }
}

/* b = a^-1. No exchanges are needed for a = I + skew: its symmetric part is I, and so is that of every Schur complement
 * at least. a is overwritten. */
static void invert(double *b, double *a, int n)
{
  size_t w = (size_t)n;
  identity(b, n);
  eliminate(a, b, NULL, n);
  for (int k = (n - 1) / PANEL * PANEL; k >= 0; k -= PANEL) {
    int end = k + PANEL < n ? k + PANEL : n;
    ebbk_gemm_add(b + (size_t)k * w, n, a + (size_t)k * w + end, n, b + (size_t)end * w, n, end - k, n, n - end, -1);
    for (int i = end - 1; i >= k; i--) {
      double *row = b + (size_t)i * w;
      for (int p = i + 1; p < end; p++) subtract_row(row, b + (size_t)p * w, a[(size_t)i * w + (size_t)p], n);
      for (int j = 0; j < n; j++) row[j] /= a[(size_t)i * w + (size_t)i];
    }
  }
}

/* ---- Cayley -------------------------------------------------------------------------------------------------------- */
/* (I + A)^-1 (I - A) = 2 (I + A)^-1 - I */
static void cayley(double *m, const double *w, int n, double *scratch)
{
  double *a = scratch;
  skew(a, w, n);
  for (int i = 0; i < n; i++) a[i * n + i] += 1;
  invert(m, a, n);
  for (size_t i = 0; i < square(n); i++) m[i] *= 2;
  for (int i = 0; i < n; i++) m[i * n + i] -= 1;
}

/* (I + A) M = I - A gives dM = -(I + A)^-1 dA (I + M), where (I + A)^-1 = (I + M) / 2: dL/dA = -P G P / 2, P = (I + M)^T. */
static void cayley_gradient(double *dw, const double *g, const double *m, int n, double *scratch)
{
  double *p = scratch, *d = p + square(n), *t = d + square(n);
  transpose(p, m, n);
  for (int i = 0; i < n; i++) p[i * n + i] += 1;
  product(t, p, g, n);
  product(d, t, p, n);
  for (size_t i = 0; i < square(n); i++) d[i] *= -0.5;
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
static void householder_gradient(double *dw, const double *g, const double *w, const double *m, int n, double *scratch)
{
  double *r = scratch, *d = r + square(n), *t = d + square(n), *u = t + n;
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

void ebb_orthogonal_gradient(double *dw, ebb_orthogonal kind, const double *dm, const double *w, const double *m, int n,
                             double *scratch)
{
  switch (kind) {
  case EBB_CAYLEY: cayley_gradient(dw, dm, m, n, scratch); break;
  case EBB_EXPONENTIAL: exponential_gradient(dw, dm, w, n, scratch); break;
  case EBB_HOUSEHOLDER: householder_gradient(dw, dm, w, m, n, scratch); break;
  }
}

/* ---- reflections --------------------------------------------------------------------------------------------------- */
/* Where M is orthogonal, what remains of it behind a reflection is what elimination leaves of M - S, S being the signs that
 * the reflections leave on the diagonal: with v = (M e_k - s e_k) / (m_kk - s), beta (v^T M)_j = m_kj. So v is column k of
 * L. Source: Ballard et al. 2014, "Reconstructing Householder vectors from tall-skinny QR", section 3. */
void ebb_orthogonal_reflections(double *a, double *beta, double *sign, double *m, int n)
{
  eliminate(m, NULL, sign, n);
  memset(a, 0, square(n) * sizeof *a);
  for (int i = 0; i < n; i++) {
    double vv = 1;
    for (int j = i + 1; j < n; j++) {
      a[i * n + j] = m[j * n + i];
      vv += a[i * n + j] * a[i * n + j];
    }
    beta[i] = i < n - 1 ? 2 / vv : 0;
  }
}

void ebb_orthogonal_turns(double *turn, const double *a, const double *beta, int n)
{
  memset(turn, 0, (size_t)n * sizeof *turn);
  for (int i = 0; i + 2 < n; i += 2) {
    const double *one = a + (size_t)i * (size_t)n + i, *two = one + n;
    double        cross = one[1] + dot(one + 2, two + 2, n - i - 2);
    turn[i] = one[1] - beta[i + 1] * cross;
    turn[i + 1] = beta[i] * cross;
  }
}
