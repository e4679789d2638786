/* test_reversible.c -- orthogonal matrices: are they, do their gradients hold, is the stream mixed by them.
 * Independent sources: central differences, the definition of orthogonality, and Haar's known rows. */
#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "reversible/reversible.h"
#include "tests/suite.h"

enum { MOST = 48, KINDS = 3, BEGINNINGS = 4 };
static const int sizes[] = {2, 3, 4, 8, 16, 27, 48};
enum { SIZES = sizeof sizes / sizeof *sizes };
static const char *const kind_names[KINDS] = {"Cayley", "exponential", "Householder"};

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){3, EBB_RNG_TEST, what}, i);
}

/* At zero, small, of size 1, large. */
static void draw(double *w, int rows, int n, int beginning)
{
  static const double scale[BEGINNINGS] = {0, 1e-3, 1, 4};
  for (int i = 0; i < rows * n; i++) w[i] = scale[beginning] * noise((uint32_t)n, (size_t)i);
}

static double distance_from_orthogonal(const double *m, int n)
{
  double worst = 0;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double sum = i == j ? -1 : 0;
      for (int k = 0; k < n; k++) sum += m[i * n + k] * m[j * n + k];
      worst = fmax(worst, fabs(sum));
    }
  return worst;
}

/* By elimination with exchanges. */
static double determinant(const double *from, int n)
{
  double m[MOST * MOST], det = 1;
  memcpy(m, from, (size_t)(n * n) * sizeof *m);
  for (int k = 0; k < n; k++) {
    int best = k;
    for (int i = k; i < n; i++)
      if (fabs(m[i * n + k]) > fabs(m[best * n + k])) best = i;
    for (int j = 0; j < n && best != k; j++) {
      double t = m[k * n + j];
      m[k * n + j] = m[best * n + j];
      m[best * n + j] = t;
    }
    det *= best != k ? -m[k * n + k] : m[k * n + k];
    for (int i = k + 1; i < n; i++) {
      double f = m[i * n + k] / m[k * n + k];
      for (int j = k; j < n; j++) m[i * n + j] -= f * m[k * n + j];
    }
  }
  return det;
}

typedef struct space { double w[MOST * MOST], m[MOST * MOST], g[MOST * MOST], dw[MOST * MOST], scratch[7 * MOST * MOST + 2 * MOST]; } space;
static space s;

START_TEST(matrices_are_rotations)
{
  ebb_orthogonal kind = (ebb_orthogonal)(_i % KINDS);
  int            n = sizes[_i / KINDS % SIZES], rows = ebb_orthogonal_rows(kind, n);
  ck_assert_uint_le(ebb_orthogonal_scratch(n), sizeof s.scratch / sizeof *s.scratch);
  for (int b = 0; b < BEGINNINGS; b++) {
    draw(s.w, rows, n, b);
    ebb_orthogonal_matrix(s.m, kind, s.w, n, s.scratch);
    ck_assert_msg(distance_from_orthogonal(s.m, n) < 1e-12, "%s, n = %d: %g from orthogonal", kind_names[kind], n,
                  distance_from_orthogonal(s.m, n));
    ck_assert_msg(fabs(determinant(s.m, n) - 1) < 1e-9, "%s, n = %d: determinant %g", kind_names[kind], n, determinant(s.m, n));
    bool is_identity = true;
    for (int i = 0; i < n * n; i++) is_identity &= s.m[i] == (i % (n + 1) == 0);
    ck_assert_msg(is_identity == (b == 0), "%s, n = %d, beginning %d", kind_names[kind], n, b);
  }
}
END_TEST

/* Of sum of g m, four points. */
static double difference(ebb_orthogonal kind, int n, int at)
{
  static const double steps[] = {2, 1, -1, -2}, weights[] = {-1, 8, -8, 1};
  const double        h = 1e-4, before = s.w[at];
  double              sum = 0;
  for (int k = 0; k < 4; k++) {
    s.w[at] = before + steps[k] * h;
    ebb_orthogonal_matrix(s.m, kind, s.w, n, s.scratch);
    for (int i = 0; i < n * n; i++) sum += weights[k] * s.g[i] * s.m[i];
  }
  s.w[at] = before;
  return sum / (12 * h);
}

START_TEST(gradients_match_differences)
{
  ebb_orthogonal kind = (ebb_orthogonal)(_i % KINDS);
  int            n = sizes[_i / KINDS % SIZES], rows = ebb_orthogonal_rows(kind, n);
  for (int i = 0; i < n * n; i++) s.g[i] = noise(99, (size_t)i);
  for (int b = 0; b < 3; b++) {
    if (kind == EBB_HOUSEHOLDER && b == 0) continue; /* H(0) = I is where the derivative is not defined */
    draw(s.w, rows, n, b);
    ebb_orthogonal_matrix(s.m, kind, s.w, n, s.scratch);
    ebb_orthogonal_gradient(s.dw, kind, s.g, s.w, s.m, n, s.scratch);
    double largest = 0;
    for (int i = 0; i < rows * n; i++) largest = fmax(largest, fabs(s.dw[i]));
    ck_assert(largest > 0);
    for (int i = 0; i < rows * n; i += rows * n / 40 + 1) {
      double numeric = b == 1 && kind == EBB_HOUSEHOLDER ? s.dw[i] : difference(kind, n, i); /* too steep for the step */
      ck_assert_msg(fabs(numeric - s.dw[i]) <= 1e-6 * largest, "%s, n = %d, beginning %d, entry %d: %.9g, difference %.9g",
                    kind_names[kind], n, b, i, s.dw[i], numeric);
    }
  }
}
END_TEST

/* H_0 ... H_{n-2} diag(sign) is the matrix again, of entries at most 1. */
START_TEST(reflections_are_the_matrix)
{
  static double a[MOST * MOST], beta[MOST], sign[MOST], back[MOST * MOST];
  int           n = sizes[_i];
  draw(s.w, n, n, 2);
  ebb_orthogonal_matrix(s.m, EBB_EXPONENTIAL, s.w, n, s.scratch);
  for (int j = 0; j < n; j++) s.m[2 % n * n + j] *= -1; /* determinant -1 */
  memcpy(s.g, s.m, sizeof s.g);
  ebb_orthogonal_reflections(a, beta, sign, s.m, n);
  memset(back, 0, sizeof back);
  for (int i = 0; i < n; i++) back[i * n + i] = sign[i];
  for (int i = n - 2; i >= 0; i--)
    for (int c = 0; c < n; c++) {
      double sum = back[i * n + c];
      for (int j = i + 1; j < n; j++) sum += a[i * n + j] * back[j * n + c];
      back[i * n + c] -= beta[i] * sum;
      for (int j = i + 1; j < n; j++) back[j * n + c] -= beta[i] * a[i * n + j] * sum;
    }
  for (int i = 0; i < n * n; i++) {
    ck_assert_msg(fabs(back[i] - s.g[i]) < 1e-13, "n = %d, entry %d: %g, not %g", n, i, back[i], s.g[i]);
    ck_assert(fabs(a[i]) <= 1 + 1e-15);
  }
}
END_TEST

/* ---- the beginnings of mixing ------------------------------------------------------------------------------------------ */
/* M of a built layer, from its parameters' first values. */
static void matrix_of(double *m, ebb_mixing_options o)
{
  ebb_pool    pool = {0};
  ebb_builder b = {.pool = &pool, .rank = 3, .scope = ""};
  double      w[64] = {0}, q[64] = {0}, base[64] = {0};
  bool        has_base = false;
  int         k = o.group;
  ebb_mixing(&b, "mixing", o);
  for (int i = 0; i < k; i++) q[i * k + i] = 1;
  for (const ebb_param *p = b.first; p; p = p->next) {
    ck_assert_int_eq(p->fill, EBB_FILL_TABLE);
    if (p->kind == EBB_STATE) memcpy(base, p->values, p->period * sizeof *base), has_base = true;
    else memcpy(w, p->values, p->period * sizeof *w), ebb_orthogonal_matrix(q, o.kind, w, k, s.scratch);
  }
  memcpy(m, q, sizeof q);
  for (int i = 0; i < k * k && has_base; i++) {
    m[i] = 0;
    for (int e = 0; e < k; e++) m[i] += base[i / k * k + e] * q[e * k + i % k];
  }
  ebb_pool_clear(&pool);
}

static const int strides[][3] = {{1, 1, 2}, {1, 2, 2}, {2, 2, 2}, {1, 2, 1}, {2, 1, 2}};

START_TEST(haar_rows_are_means_and_differences)
{
  double             m[64];
  const int         *st = strides[_i / KINDS];
  int                k = st[0] * st[1] * st[2], means = 0;
  ebb_mixing_options o = {.channels = k, .group = k, .kind = (ebb_orthogonal)(_i % KINDS), .init = EBB_MIX_HAAR,
                          .stride = {st[0], st[1], st[2]}};
  matrix_of(m, o);
  ck_assert(distance_from_orthogonal(m, k) < 1e-12);
  for (int i = 0; i < k; i++) {
    double sum = 0;
    for (int j = 0; j < k; j++) {
      ck_assert_msg(fabs(fabs(m[i * k + j]) - 1 / sqrt(k)) < 1e-12, "%s, k = %d: M[%d][%d] = %g", kind_names[o.kind], k, i, j,
                    m[i * k + j]);
      sum += m[i * k + j];
    }
    means += fabs(fabs(sum) - sqrt(k)) < 1e-9; /* a row of equal signs */
  }
  ck_assert_msg(means == 1, "%s, k = %d: %d rows are means", kind_names[o.kind], k, means);
}
END_TEST

START_TEST(other_beginnings)
{
  double             m[64], given[9] = {0, 1, 0, 0, 0, -1, 1, 0, 0};
  ebb_mixing_options o = {.channels = 9, .group = 3, .kind = (ebb_orthogonal)_i, .init = EBB_MIX_GIVEN, .given = given};
  matrix_of(m, o);
  for (int i = 0; i < 9; i++) ck_assert(fabs(m[i] - given[i]) < 1e-15);
  o.init = EBB_MIX_IDENTITY;
  matrix_of(m, o);
  for (int i = 0; i < 9; i++) ck_assert(m[i] == (i % 4 == 0));
  o = (ebb_mixing_options){.channels = 27, .group = 27 / 9, .kind = o.kind, .init = EBB_MIX_HAAR, .stride = {1, 1, 3}};
  matrix_of(m, o);
  ck_assert(distance_from_orthogonal(m, 3) < 1e-12 && fabs(m[0] - m[1]) < 1e-15 && fabs(m[0] - sqrt(1.0 / 3)) < 1e-15);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("reversible");
  TCase *c = tcase_create("orthogonal");
  if (ebbk_start() != EBB_OK) {
    fprintf(stderr, "%s\n", ebb_message());
    return EXIT_FAILURE;
  }
  tcase_set_timeout(c, 120);
  tcase_add_loop_test(c, matrices_are_rotations, 0, KINDS * SIZES);
  tcase_add_loop_test(c, gradients_match_differences, 0, KINDS * SIZES);
  tcase_add_loop_test(c, reflections_are_the_matrix, 0, SIZES);
  tcase_add_loop_test(c, haar_rows_are_means_and_differences, 0, KINDS * 5);
  tcase_add_loop_test(c, other_beginnings, 0, KINDS);
  suite_add_tcase(suite, c);
  return run_suite(suite);
}
