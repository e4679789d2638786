/* networks.h -- what the catalogue needs of each network's file. */
#pragma once
#include "models/mlp.h"
#include "models/models.h"

ebb_status revnet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);
ebb_status resnet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

extern const ebb_option iunet_option_table[];
typedef struct iunet_options {
  ebb_ints channels, blocks, stride; /* stride: of each step down, or of each and each dimension                       */
  int      depth, groups, classes, coupling, norm, resample, init;
  bool     shared, mixing, bias;
  const char *activation;
} iunet_options;
ebb_status iunet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

extern const ebb_option unet_option_table[];
typedef struct unet_options { ebb_ints channels; int depth, norm, classes; } unet_options;
ebb_status unet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

extern const ebb_option revunet_option_table[];
typedef struct revunet_options { ebb_ints channels; int blocks, groups, classes; } revunet_options;
ebb_status revunet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

/* What an input lacks to multiples of `factor` along its dimensions (D H W), the smaller half in front; false: nothing. */
bool models_padding(ebb_shape in, int factor, int before[3], int after[3]);

extern const ebb_option realnvp_option_table[];
typedef struct realnvp_options { int levels, width, blocks, norm, grey_levels; } realnvp_options;
ebb_status realnvp_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

extern const ebb_option glow_option_table[];
typedef struct glow_options { int levels, steps, width, coupling, scale, permutation, condition, grey_levels; } glow_options;
ebb_status glow_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

extern const ebb_option nice_option_table[];
typedef struct nice_options { int couplings, hidden, width, grey_levels; } nice_options;
ebb_status nice_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

/* EBB_CONFIG for rows of a table, where images are wanted. */
ebb_status models_images(ebb_shape in);
/* EBB_CONFIG if the sizes of images are not multiples of 2^levels; `least` is how often such a network halves them at least. */
ebb_status models_halves(ebb_shape in, int levels, int least);

extern const ebb_option spline_flow_option_table[];
typedef struct spline_flow_options { int layers, bins; double bound; models_mlp_options mlp; } spline_flow_options;
ebb_status spline_flow_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

extern const ebb_option realnvp_tabular_option_table[];
typedef struct realnvp_tabular_options { int layers; models_mlp_options mlp; } realnvp_tabular_options;
ebb_status realnvp_tabular_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

/* EBB_CONFIG for images, and if there is one column alone, of which couplings cannot make two parts. */
ebb_status models_columns(ebb_shape in);

typedef struct stack_options { int depth, width, classes; } stack_options;
extern const ebb_option stack_option_table[];
ebb_status stack_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);
