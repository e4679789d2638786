/* gemm.c -- matrix products by OpenBLAS.
 * Owns: the only calls of BLAS. Must not know: thread counts (base/threads.h).
 *
 * BLAS sums in an order that depends on the block it is given, so the blocks here depend on the sizes only, and each is
 * one call on one thread: OpenBLAS does not go parallel inside a parallel region. Cost 2 m n k. */
#include "kernels/tables.h"

#include <cblas.h>

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

typedef struct tiling { int rows, columns, across, count; } tiling;

static tiling tiling_of(int m, int n)
{
  tiling t = {.rows = tile_length(m, TILE_ROWS, (n + TILE_COLUMNS - 1) / TILE_COLUMNS)};
  int    down = (m + t.rows - 1) / t.rows;
  t.columns = tile_length(n, TILE_COLUMNS, down);
  t.across = (n + t.columns - 1) / t.columns;
  t.count = down * t.across;
  return t;
}

#define TRANSPOSED(t) ((t) ? CblasTrans : CblasNoTrans)

/* c = factor op(a) op(b) [+ c] */
#define GEMM(name, real, blas)                                                                                         \
  static void name(real *c, int cs, const real *a, int as, bool ta, const real *b, int bs, bool tb, int m, int n,      \
                   int k, real factor, bool add)                                                                       \
  {                                                                                                                    \
    tiling t = tiling_of(m, n);                                                                                        \
    _Pragma("omp parallel for schedule(dynamic)") for (int tile = 0; tile < t.count; tile++)                           \
    {                                                                                                                  \
      int         i = tile / t.across * t.rows, j = tile % t.across * t.columns;                                       \
      const real *ai = a + (ta ? (size_t)i : (size_t)i * (size_t)as);                                                  \
      const real *bj = b + (tb ? (size_t)j * (size_t)bs : (size_t)j);                                                  \
      blas(CblasRowMajor, TRANSPOSED(ta), TRANSPOSED(tb), least(t.rows, m - i), least(t.columns, n - j), k, factor,    \
           ai, as, bj, bs, add ? 1 : 0, c + (size_t)i * (size_t)cs + j, cs);                                           \
    }                                                                                                                  \
  }

GEMM(dgemm, double, cblas_dgemm)
#ifdef EBB_DOUBLE
#define REAL_GEMM dgemm
#else
GEMM(sgemm, float, cblas_sgemm)
#define REAL_GEMM sgemm
#endif

void ebbk_gemm(ebb_real *c, int cs, const ebb_real *a, int as, bool ta, const ebb_real *b, int bs, bool tb, int m,
               int n, int k, bool add)
{
  REAL_GEMM(c, cs, a, as, ta, b, bs, tb, m, n, k, 1, add);
}

/* Below, a call costs more than the product. */
enum { SMALL = 16 * 16 * 16 };

void ebbk_gemm_add(double *c, int cs, const double *a, int as, const double *b, int bs, int m, int n, int k, double factor)
{
  if ((int64_t)m * n * k > SMALL) {
    dgemm(c, cs, a, as, false, b, bs, false, m, n, k, factor, true);
    return;
  }
  for (int i = 0; i < m; i++)
    for (int l = 0; l < k; l++)
      for (int j = 0; j < n; j++) c[(size_t)i * (size_t)cs + (size_t)j] += factor * a[(size_t)i * (size_t)as + (size_t)l] * b[(size_t)l * (size_t)bs + (size_t)j];
}
