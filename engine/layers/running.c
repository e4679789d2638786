/* running.c -- see running.h. */
#include "layers/running.h"

#include <math.h>

void ebb_running_move(ebb_real *running_mean, ebb_real *running_var, const ebb_real *mean, const ebb_real *var, int channels, size_t sites,
                      double momentum)
{
  double unbiased = sites > 1 ? (double)sites / (double)(sites - 1) : 1;
  for (int i = 0; i < channels; i++) {
    if (!isfinite(mean[i]) || !isfinite(var[i])) continue;
    running_mean[i] = (ebb_real)((1 - momentum) * (double)running_mean[i] + momentum * (double)mean[i]);
    running_var[i] = (ebb_real)((1 - momentum) * (double)running_var[i] + momentum * unbiased * (double)var[i]);
  }
}
