/* norm.h -- a norm as a map that others may apply while they read; private to norm.c and norm_conv.c. */
#pragma once
#include "layers/operands.h"

size_t ebb_norm_saved(const ebb_layer *norm, ebb_shape x);
size_t ebb_norm_scratch(const ebb_layer *norm, ebb_shape x);

/* x as the norm's result, act(x scale + shift), with arrays in the scratch. `first`: this is a forward, which measures x in
 * a training pass; else what it saved is used. */
ebbk_input ebb_norm_read(const ebb_layer *norm, ebb_run *r, ebb_view x, bool first, void *saved, void *scratch);

/* The norm's backward, after ebb_norm_read with the same scratch; dx may lie over x or dy. */
void ebb_norm_backward(const ebb_layer *norm, ebb_run *r, ebbk_input read, ebb_view x, ebb_view dy, ebb_view dx, void *saved,
                       void *scratch);
