/* invert.c -- inverse and determinant of small matrices, by LAPACK.
 * Owns: the only calls of LAPACK. */
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"

/* LU factorisation with partial pivoting, and the inverse by it; column by column, as Fortran has it. */
extern void dgetrf_(const int *m, const int *n, double *a, const int *lda, int *pivots, int *info);
extern void dgetri_(const int *n, double *a, const int *lda, const int *pivots, double *work, const int *lwork, int *info);

/* A matrix whose rows are columns is its transpose, whose inverse is the inverse's transpose, and determinants agree. */
double ebbk_invert(double *inverse, const double *w, int c, double *work)
{
  int    info, length = c * c, *pivots = (int *)(work + length);
  double logdet = 0, largest = 0;
  memcpy(inverse, w, (size_t)length * sizeof *w);
  dgetrf_(&c, &c, inverse, &c, pivots, &info);
  for (int i = 0; i < c; i++) logdet += log(fabs(inverse[i * c + i]));
  for (int i = 0; i < c; i++) largest = fmax(largest, fabs(inverse[i * c + i]));
  for (int i = 0; i < c; i++)
    if (!(fabs(inverse[i * c + i]) > EBBK_SINGULAR * largest)) return -INFINITY;
  dgetri_(&c, inverse, &c, pivots, work, &length, &info);
  return logdet;
}
