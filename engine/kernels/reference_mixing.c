/* reference_mixing.c -- orthogonal mixing as plainly as it can be written; see reference.c.
 * Sums run in the order of the channels, so that mixing and its inverse agree. */
#include "kernels/tables.h"

#include <math.h>

#ifdef EBB_DOUBLE
typedef uint64_t word;
#else
typedef uint32_t word;
#endif

/* x += or -= round(v), wrapping; true if the result or v left the range. */
static bool shear(ebb_fixed *x, ebb_real v, bool minus)
{
  const ebb_real limit = EBB_FIXED_ONE * EBB_FIXED_RANGE;
  bool           in = v >= -limit && v < limit, over;
  ebb_fixed      q = in ? (ebb_fixed)llrint((double)v) : 0, sum;
  over = minus ? __builtin_sub_overflow(*x, q, &sum) : __builtin_add_overflow(*x, q, &sum);
  *x = sum;
  return !in || over;
}

static ebb_real weighted_sum(const ebb_fixed *x, const ebb_real *a, int first, int k)
{
  ebb_real sum = 0;
  for (int j = first; j < k; j++) sum += a[j] * (ebb_real)x[j];
  return sum;
}

static void negate(ebb_fixed *x)
{
  *x = (ebb_fixed)(0 - (word)*x);
}

/* H_i H_{i+1} or its inverse. */
typedef struct pair { const ebb_real *one, *two, *beta, *turn; int i; } pair;

static bool add_sums(ebb_fixed *x, const pair *p, int k, bool minus)
{
  ebb_real one = weighted_sum(x, p->one, p->i + 2, k), two = weighted_sum(x, p->two, p->i + 2, k);
  bool     bad = shear(&x[p->i], one - p->one[p->i + 1] * two, minus);
  return shear(&x[p->i + 1], two, minus) || bad;
}

static bool turn(ebb_fixed *z, const pair *p)
{
  bool bad = shear(&z[0], p->turn[0] * (ebb_real)z[1], false);
  bad |= shear(&z[1], p->turn[1] * (ebb_real)z[0], false);
  bad |= shear(&z[0], p->one[p->i + 1] * (ebb_real)z[1], true);
  negate(&z[0]), negate(&z[1]);
  return bad;
}

static bool turn_back(ebb_fixed *z, const pair *p)
{
  negate(&z[0]), negate(&z[1]);
  bool bad = shear(&z[0], p->one[p->i + 1] * (ebb_real)z[1], false);
  bad |= shear(&z[1], p->turn[1] * (ebb_real)z[0], true);
  return shear(&z[0], p->turn[0] * (ebb_real)z[1], true) || bad;
}

static bool reflect(ebb_fixed *x, const pair *p, int k, bool undo)
{
  ebb_fixed *z = x + p->i;
  bool       bad = add_sums(x, p, k, false);
  if (undo) bad |= turn_back(z, p);
  ebb_real f = p->beta[0] * ((ebb_real)z[0] + p->turn[0] * (ebb_real)z[1]), g = p->beta[1] * (ebb_real)z[1];
  for (int j = p->i + 2; j < k; j++) bad |= shear(&x[j], p->one[j] * f + p->two[j] * g, !undo);
  if (!undo) bad |= turn(z, p);
  return add_sums(x, p, k, true) || bad;
}

static bool reflect_last(ebb_fixed *z, ebb_real a, ebb_real beta)
{
  bool bad = shear(&z[0], a * (ebb_real)z[1], false);
  bad |= shear(&z[1], a * (beta * (ebb_real)z[0]), true);
  negate(&z[0]);
  return shear(&z[0], a * (ebb_real)z[1], true) || bad;
}

static void signs(ebb_fixed *x, const ebb_real *sign, int k)
{
  for (int j = 0; j < k; j++)
    if (sign[j] < 0) x[j] = (ebb_fixed)(0 - (word)x[j]);
}

static bool mix_group(ebb_fixed *x, const ebbk_mixing *g, int group, bool undo)
{
  int             k = g->k, pairs = (k - 1) / 2, steps = k / 2; /* pairs, and for an even k the last reflection */
  size_t          at = ebbk_matrix_of(g, group) * (size_t)k;
  bool            bad = false;
  if (!undo) signs(x, g->sign + at, k);
  for (int step = 0; step < steps; step++) {
    int             which = undo ? step : steps - 1 - step, i = 2 * which;
    const ebb_real *row = g->a + (at + (size_t)i) * (size_t)k, *beta = g->beta + at + i;
    pair            p = {row, row + k, beta, g->turn + at + i, i};
    bad |= which < pairs ? reflect(x, &p, k, undo) : reflect_last(x + i, row[i + 1], *beta);
  }
  if (undo) signs(x, g->sign + at, k);
  return bad;
}

static double norm(const ebb_fixed *x, int k)
{
  double sum = 0;
  for (int j = 0; j < k; j++) sum += (double)x[j] * (double)x[j];
  return sqrt(sum) / (double)EBB_FIXED_ONE;
}

static void mix_rows(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, bool undo, ebbk_range *range)
{
  for (size_t i = 0; i < rows; i++)
    for (int group = 0; group < g->groups; group++) {
      ebb_fixed *p = x + i * (size_t)xs + (size_t)group * (size_t)g->k;
      double     before = norm(p, g->k);
      if (!mix_group(p, g, group, undo) || !range) continue;
      range->count++;
      range->worst = fmax(range->worst, before);
    }
}

void ebbk_mix(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range)
{
  mix_rows(x, xs, g, rows, false, range);
}

void ebbk_unmix(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range)
{
  mix_rows(x, xs, g, rows, true, range);
}

size_t ebbk_mix_scratch(const ebbk_mixing *g, int threads)
{
  (void)threads;
  return (size_t)g->k * sizeof(ebb_real);
}

void ebbk_mix_grad(ebb_real *dm, ebb_real *dx, int dxs, const ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows,
                   void *scratch)
{
  int       k = g->k;
  ebb_real *dy = scratch;
  for (size_t i = 0; i < rows; i++)
    for (int group = 0; group < g->groups; group++) {
      size_t           at = (size_t)group * (size_t)k;
      ebb_real        *d = dx + i * (size_t)dxs + at;
      const ebb_fixed *p = x + i * (size_t)xs + at;
      for (int r = 0; r < k; r++) dy[r] = d[r];
      for (int j = 0; j < k; j++) d[j] = 0;
      for (int r = 0; r < k; r++)
        for (int j = 0; j < k; j++) {
          size_t e = (ebbk_matrix_of(g, group) * (size_t)k + (size_t)r) * (size_t)k + (size_t)j;
          dm[e] += dy[r] * ((ebb_real)p[j] / EBB_FIXED_ONE);
          d[j] += g->m[e] * dy[r];
        }
    }
}
