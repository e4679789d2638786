/* site_matrix.c -- see site_matrix.h. */
#include "reversible/site_matrix.h"

#include "base/arena.h"
#include "kernels/kernels.h"

enum { ROWS = 4096 }; /* sites at a time */

void ebb_site_matrix(ebb_view v, const ebb_real *m, bool transposed, ebb_real *rows)
{
  int c = v.s.c;
  for (size_t i = 0, n; i < ebb_sites(v.s); i += n) {
    ebb_real *at = ebb_reals(v) + i * (size_t)v.stride;
    n = ebb_sites(v.s) - i < ROWS ? ebb_sites(v.s) - i : ROWS;
    ebbk->gemm(rows, c, at, v.stride, false, m, c, !transposed, (int)n, c, c, false);
    ebbk->copy(at, v.stride, rows, c, n, c);
  }
}

static size_t double_bytes(size_t doubles)
{
  return ebb_align(doubles * sizeof(double));
}

static size_t matrix_bytes(int c)
{
  return ebb_align((size_t)c * (size_t)c * sizeof(ebb_real));
}

size_t ebb_site_scratch(size_t doubles, int c)
{
  return double_bytes(doubles) + matrix_bytes(c) + ROWS * (size_t)c * sizeof(ebb_real);
}

ebb_site_desk ebb_site_desk_of(void *scratch, size_t doubles, int c)
{
  char *matrix = (char *)scratch + double_bytes(doubles), *rows = matrix + matrix_bytes(c);
  return (ebb_site_desk){scratch, (ebb_real *)(void *)matrix, (ebb_real *)(void *)rows};
}
