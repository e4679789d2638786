/* bench.c -- see bench.h. */
#include "bench.h"

#include <string.h>

#include "measure.h"

ebb_spread ebb_spread_of(const double *values, int count)
{
  double sorted[EBB_ROUNDS_MOST];
  memcpy(sorted, values, (size_t)count * sizeof *values);
  double median = ebb_median(sorted, count);
  return (ebb_spread){median, sorted[0], sorted[count - 1]};
}

bool ebb_bench_wants(const ebb_flags *flags, const char *name)
{
  return strstr(name, flags->only) != NULL;
}
