/* conv.c -- convolution and its two gradients: which way is taken.
 * Owns: the choice between direct sums and Winograd's algorithm, for each product by itself. Must not know: how either works.
 *
 * Errors against double on data of unit variance, of the largest value, 16 to 300 channels: see winograd.c. */
#include "kernels/conv_ways.h"

ebbk_algorithm NAME(conv_algorithm)(const ebbk_conv *g, ebbk_product what)
{
  (void)what;
  if (g->algorithm == EBBK_DIRECT || !NAME(winograd_fits)(g)) return EBBK_DIRECT;
  if (g->algorithm == EBBK_WINOGRAD) return EBBK_WINOGRAD;
  return EBBK_WINOGRAD;
}

static bool by_winograd(const ebbk_conv *g, ebbk_product what)
{
  return NAME(conv_algorithm)(g, what) == EBBK_WINOGRAD;
}

size_t NAME(conv_scratch)(const ebbk_conv *g, int threads)
{
  size_t most = 0;
  for (ebbk_product what = EBBK_FORWARD; what <= EBBK_GRAD_WEIGHT; what++) {
    size_t bytes = by_winograd(g, what) ? NAME(winograd_scratch)(g, what, threads) : NAME(direct_scratch)(g, what, threads);
    if (bytes > most) most = bytes;
  }
  return most;
}

void NAME(conv_forward)(ebbk_output y, ebbk_input x, const float *w, const float *b, const ebbk_conv *g, void *scratch)
{
  if (by_winograd(g, EBBK_FORWARD)) NAME(winograd_forward)(y, x, w, b, g, scratch);
  else NAME(direct_forward)(y, x, w, b, g, scratch);
}

void NAME(conv_grad_data)(ebbk_output dx, const float *dy, int dys, const float *w, const ebbk_conv *g, void *scratch)
{
  if (by_winograd(g, EBBK_GRAD_DATA)) NAME(winograd_grad_data)(dx, dy, dys, w, g, scratch);
  else NAME(direct_grad_data)(dx, dy, dys, w, g, scratch);
}

void NAME(conv_grad_weight)(float *dw, ebbk_input x, const float *dy, int dys, const ebbk_conv *g, void *scratch)
{
  if (by_winograd(g, EBBK_GRAD_WEIGHT)) NAME(winograd_grad_weight)(dw, x, dy, dys, g, scratch);
  else NAME(direct_grad_weight)(dw, x, dy, dys, g, scratch);
}
