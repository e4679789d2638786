/* running.h -- running statistics of batch norms, by which evaluation goes. Owns: the law by which they move. */
#pragma once
#include "base/view.h"

/* running = (1 - momentum) running + momentum now, of each channel, with the unbiased variance of `sites` values, as PyTorch. What is
 * not finite moves nothing: its step is left out. */
void ebb_running_move(ebb_real *running_mean, ebb_real *running_var, const ebb_real *mean, const ebb_real *var, int channels, size_t sites,
                      double momentum);
