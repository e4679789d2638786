/* conv_ways.h -- the two ways to convolve, among which conv.c chooses; private to it and to the files that go them. Operands
 * and laws are those of their namesakes in kernels.h; each product's scratch is asked for on its own. */
#pragma once
#include "kernels/fast.h"

#define CONV_WAY(way)                                                                                                  \
  size_t NAME(way##_scratch)(const ebbk_conv *g, ebbk_product what, int threads);                                      \
  extern __typeof__(*((ebbk_table *)0)->conv_forward) NAME(way##_forward);                                             \
  extern __typeof__(*((ebbk_table *)0)->conv_grad_data) NAME(way##_grad_data);                                         \
  extern __typeof__(*((ebbk_table *)0)->conv_grad_weight) NAME(way##_grad_weight);

CONV_WAY(direct)   /* conv_direct.c, conv_direct_weight.c: any convolution */
CONV_WAY(winograd) /* winograd.c, winograd_weight.c: those that fit        */

bool NAME(winograd_fits)(const ebbk_conv *g);

/* All of a backward in one sweep, where the memory it computes with is in L2; dx does not lie over x. */
bool   NAME(winograd_sweeps)(const ebbk_conv *g);
size_t NAME(winograd_backward_scratch)(const ebbk_conv *g, int threads);
extern __typeof__(*((ebbk_table *)0)->conv_backward) NAME(winograd_backward);

/* The scratch of the weight gradients, for the files that speak for both. */
size_t NAME(direct_weight_scratch)(const ebbk_conv *g, int threads);
size_t NAME(winograd_weight_scratch)(const ebbk_conv *g, int threads);
