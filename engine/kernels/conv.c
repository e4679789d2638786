/* conv.c -- convolution and its two gradients: which way is taken.
 * Owns: the choice between direct sums and Winograd's algorithm, for each product by itself. Must not know: how either works.
 *
 * The rule is measured, by `ebb bench kernels`, which shows both times: Winograd's is the faster way for every weight gradient
 * and for all but the narrowest inputs, where its transforms, of whole vectors of channels, cost more than they save.
 *
 * Largest error against double on data of unit variance, as a part of the largest value (`ebb bench kernels --errors`): 16 to
 * 256 channels, 2-D and 3-D, forward and data gradient below 2e-6, weight gradient below 1e-6. */
#include "kernels/conv_parts.h"
#include "kernels/conv_ways.h"
#include "kernels/tables.h"

/* Is Winograd's way from `in` channels to `out` the faster one? */
static bool pays(int in, int out, int depth_taps)
{
  if (VL == 16) return in * depth_taps * parts(out, VL) >= 8;
  return in * depth_taps >= 6;
}

ebbk_algorithm NAME(conv_algorithm)(const ebbk_conv *g, ebbk_product what)
{
  bool forward = what == EBBK_FORWARD;
  if (g->algorithm == EBBK_DIRECT || !NAME(winograd_fits)(g)) return EBBK_DIRECT;
  if (g->algorithm == EBBK_WINOGRAD || what == EBBK_GRAD_WEIGHT) return EBBK_WINOGRAD;
  return pays(forward ? g->ci : g->co, forward ? g->co : g->ci, g->kernel[0]) ? EBBK_WINOGRAD : EBBK_DIRECT;
}

static bool by_winograd(const ebbk_conv *g, ebbk_product what)
{
  return NAME(conv_algorithm)(g, what) == EBBK_WINOGRAD;
}

/* Can a backward be one sweep? */
static bool by_sweep(const ebbk_conv *g)
{
  return by_winograd(g, EBBK_FORWARD) && by_winograd(g, EBBK_GRAD_DATA) && NAME(winograd_sweeps)(g);
}

size_t NAME(conv_scratch)(const ebbk_conv *g, int threads)
{
  size_t most = by_sweep(g) ? NAME(winograd_backward_scratch)(g, threads) : 0;
  for (ebbk_product what = EBBK_FORWARD; what <= EBBK_GRAD_WEIGHT; what++) {
    size_t bytes = by_winograd(g, what) ? NAME(winograd_scratch)(g, what, threads) : NAME(direct_scratch)(g, what, threads);
    if (bytes > most) most = bytes;
  }
  return most;
}

void NAME(conv_forward)(ebbk_output y, ebbk_input x, const float *w, const float *b, const ebbk_conv *g, void *scratch)
{
  if (by_winograd(g, EBBK_FORWARD)) {
    NAME(winograd_forward)(y, x, w, b, g, scratch);
    return;
  }
  NAME(direct_forward)(y, x, w, b, g, scratch);
  ebbk_moments_by_pass(&TABLE, &y, g);
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

void NAME(conv_backward)(const ebbk_conv_back *k, const ebbk_conv *g, void *scratch)
{
  if (by_sweep(g) && k->dx.y != k->x.x) NAME(winograd_backward)(k, g, scratch);
  else ebbk_backward_by_parts(&TABLE, k, g, scratch);
}
