/* gemm.c -- matrix products by OpenBLAS.
 * Owns: the only calls of BLAS. Must not know: thread counts (base/threads.h).
 *
 * BLAS sums in an order that depends on the block it is given, so the blocks here depend on the sizes only, and each is
 * one call on one thread: OpenBLAS does not go parallel inside a parallel region. Cost 2 m n k. */
#include "kernels/tables.h"

#include <cblas.h>

#ifdef EBB_DOUBLE
#define BLAS_GEMM cblas_dgemm
#else
#define BLAS_GEMM cblas_sgemm
#endif

enum { TILE_ROWS = 256, TILE_COLUMNS = 512, TILES_WANTED = 16, TILE_LEAST = 32 };

/* Length of the tiles that cut `length`: at most `most`, smaller if there would be few. */
static int tile_length(int length, int most, int other_tiles)
{
  while (most > TILE_LEAST && (length + most - 1) / most * other_tiles < TILES_WANTED) most /= 2;
  return most;
}

static int least(int a, int b)
{
  return a < b ? a : b;
}

void ebbk_gemm(ebb_real *c, int cs, const ebb_real *a, int as, bool ta, const ebb_real *b, int bs, bool tb, int m,
               int n, int k, bool add)
{
  int rows = tile_length(m, TILE_ROWS, (n + TILE_COLUMNS - 1) / TILE_COLUMNS);
  int row_tiles = (m + rows - 1) / rows;
  int columns = tile_length(n, TILE_COLUMNS, row_tiles);
  int column_tiles = (n + columns - 1) / columns;
#pragma omp parallel for schedule(dynamic)
  for (int tile = 0; tile < row_tiles * column_tiles; tile++) {
    int             i = tile / column_tiles * rows, j = tile % column_tiles * columns;
    const ebb_real *ai = a + (ta ? (size_t)i : (size_t)i * (size_t)as);
    const ebb_real *bj = b + (tb ? (size_t)j * (size_t)bs : (size_t)j);
    BLAS_GEMM(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, least(rows, m - i),
              least(columns, n - j), k, 1, ai, as, bj, bs, add ? 1 : 0, c + (size_t)i * (size_t)cs + j, cs);
  }
}
