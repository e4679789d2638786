/* orthogonal.h -- orthogonal matrices from free parameters, their gradients, and their reflections; in double, row-major.
 * Owns: the three parametrisations. Must not know: layers, where parameters are kept. */
#pragma once
#include <stddef.h>

/* W (n, n), A = W - W^T:
 *   CAYLEY        M = (I + A)^-1 (I - A)
 *   EXPONENTIAL   M = e^A
 *   HOUSEHOLDER   M = H(v_1) ... H(v_r), H(v) = I - 2 v v^T / v^T v, v_i the rows of W (r, n), r = n - n % 2; H(0) = I
 * The determinant is 1 in all three. Sources: Cayley 1846; Etmann et al. 2020, section 4; Householder 1958. */
typedef enum ebb_orthogonal { EBB_CAYLEY, EBB_EXPONENTIAL, EBB_HOUSEHOLDER } ebb_orthogonal;

/* Rows of W; it has n columns. */
int ebb_orthogonal_rows(ebb_orthogonal kind, int n);

/* Values of `scratch`, for both functions below. */
size_t ebb_orthogonal_scratch(int n);

/* m (n, n) from w. Cost about 30 n^3 for the exponential, 2 n^3 else. */
void ebb_orthogonal_matrix(double *m, ebb_orthogonal kind, const double *w, int n, double *scratch);

/* dw (rows, n) from dm (n, n), the gradient of a function of m, and from m itself. Cost 4 n^3 for Cayley, three times that of the
 * matrix else. */
void ebb_orthogonal_gradient(double *dw, ebb_orthogonal kind, const double *dm, const double *w, const double *m, int n,
                             double *scratch);

/* m = H_0 ... H_{n-2} diag(sign), H_i = I - beta_i v v^T, v = (0 .. 0, 1, a_{i,i+1} ..), as kernels.h has it: Householder's QR
 * of a matrix whose R can only be signs. Every |a| <= 1. a (n, n), what is not named is 0; beta, sign (n); m is
 * overwritten. */
void ebb_orthogonal_reflections(double *a, double *beta, double *sign, double *m, int n);

/* turn (n): what pairs of these reflections take, as kernels.h has it. */
void ebb_orthogonal_turns(double *turn, const double *a, const double *beta, int n);
