/* mlp.h -- the network of couplings on rows of a table. */
#pragma once
#include "layers/layer.h"

/* Linear maps to `width` channels, through `blocks` residual blocks of two linear maps each, and to `out`; alike at every site.
 * Source: Durkan et al. 2019, appendix B.1, without dropout and batch norm. */
ebb_layer *models_mlp(ebb_builder *b, int in, int out, int width, int blocks);
