/* norm.h -- a norm as a map that others may apply while they read, and statistics they may take while they write; private to
 * norm.c, norm_conv.c and conv.c. */
#pragma once
#include "layers/operands.h"

size_t ebb_norm_saved(const ebb_layer *norm, ebb_shape x);
size_t ebb_norm_scratch(const ebb_layer *norm, ebb_shape x);

/* x as the norm's result, act(x scale + shift), with arrays in the scratch. `first`: this is a forward, which measures x in
 * a training pass; else what it saved is used. */
ebbk_input ebb_norm_read(const ebb_layer *norm, ebb_run *r, ebb_view x, bool first, void *saved, void *scratch);

int ebb_norm_channels(const ebb_layer *norm);

/* The norm will read what is written to y, of shape x, next: its moments go where it looks for them, if it measures at all in
 * this pass. */
void ebb_norm_measure_on_the_way(const ebb_layer *norm, ebb_run *r, ebb_shape x, ebbk_output *y);

/* What the norm's backward wants to know of dy: the arguments of ebbk->affine_act_sums, to be filled by it or along the way. */
typedef struct ebb_norm_sums {
  const ebb_real *mean;
  ebb_real       *dz, *dzx;
} ebb_norm_sums;

ebb_norm_sums ebb_norm_wants(const ebb_layer *norm, ebb_shape x, void *saved, void *scratch);

/* The norm's backward, after ebb_norm_read with the same scratch, where those sums are; dx may lie over x or dy. z: its memory
 * NULL, or, if there is a dx, what the norm's result is taken from. */
void ebb_norm_backward(const ebb_layer *norm, ebb_run *r, ebbk_input read, ebb_view x, ebbk_output z, ebb_view dy, ebb_view dx,
                       void *saved, void *scratch);
