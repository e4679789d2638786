/* conv.h -- a convolution as others call it; private to conv.c and norm_conv.c. */
#pragma once
#include "layers/operands.h"

bool      ebb_is_conv(const ebb_layer *l);
ebbk_conv ebb_conv_geometry(const ebb_layer *conv, ebb_shape x);

/* y = conv(x), x of shape s; scratch as ebbk->conv_scratch says */
void ebb_conv_apply(const ebb_layer *conv, ebb_run *r, ebbk_input x, ebb_shape s, ebbk_output y, void *scratch);

/* Adds the gradients of weight and bias; `k` says what is read and what else is wanted, x of shape s. */
void ebb_conv_backward(const ebb_layer *conv, ebb_run *r, ebbk_conv_back k, ebb_shape s, ebb_view dy, void *scratch);
