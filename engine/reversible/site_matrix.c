/* site_matrix.c -- see site_matrix.h. */
#include "reversible/site_matrix.h"

#include "kernels/kernels.h"

void ebb_site_matrix(ebb_view v, const ebb_real *m, bool transposed, ebb_real *rows)
{
  int c = v.s.c;
  for (size_t i = 0, n; i < ebb_sites(v.s); i += n) {
    ebb_real *at = ebb_reals(v) + i * (size_t)v.stride;
    n = ebb_sites(v.s) - i < EBB_SITE_ROWS ? ebb_sites(v.s) - i : EBB_SITE_ROWS;
    ebbk->gemm(rows, c, at, v.stride, false, m, c, !transposed, (int)n, c, c, false);
    ebbk->copy(at, v.stride, rows, c, n, c);
  }
}
