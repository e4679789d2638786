/* mlp.h -- the network of couplings on rows of a table. */
#pragma once
#include "layers/layer.h"

/* Linear maps to `width` channels, through `blocks` residual blocks of two linear maps each, with dropout between them, and to `out`; alike
 * at every site. Source: Durkan et al. 2019, appendix B.1, without batch norm. */
typedef struct models_mlp_options { int width, blocks; double dropout; } models_mlp_options;
ebb_layer *models_mlp(ebb_builder *b, int in, int out, models_mlp_options o);

/* The rows of these options in a network's table; `options` has a member mlp. */
#define MODELS_MLP_OPTIONS(options)                                                                                                       \
  {"width", EBB_OPTION_INT, offsetof(options, mlp.width), "128", "channels", "width of couplings' networks", NULL, 1, 4096},              \
  {"blocks", EBB_OPTION_INT, offsetof(options, mlp.blocks), "2", "blocks", "residual blocks in each coupling's network", NULL, 0, 1000},  \
  {"dropout", EBB_OPTION_REAL, offsetof(options, mlp.dropout), "0", "", "share of values that is dropped in each block", NULL, 0, 0.95}
