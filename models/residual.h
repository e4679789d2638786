/* residual.h -- what ResNet and RevNet are made of: pre-activation residual paths, stems, heads, and their options.
 * Owns: the details in which the RevNet authors' code and MemCNN differ. Must not know: couplings. */
#pragma once
#include "compose/sequence.h"
#include "layers/layers.h"
#include "models/models.h"

typedef enum residual_variant { VARIANT_AUTHORS, VARIANT_MEMCNN } residual_variant;

typedef struct residual_options {
  int      variant, classes;
  ebb_ints units;      /* per stage                                                                              */
  ebb_ints widths;     /* of the stem and of every stage; a bottleneck's stage is as wide as its output           */
  bool     bottleneck;
  double   dropout;    /* rate, in front of each path's last convolution                                          */
} residual_options;

extern const ebb_option residual_option_table[];

/* EBB_CONFIG if units and widths do not go together. */
ebb_status residual_check(const residual_options *o);

/* The sequence norm-relu-conv-norm-relu-conv, or with bottleneck norm-relu-1x1-norm-relu-3x3-norm-relu-1x1, from `in` to
 * `out` channels; the stride is in the first convolution (MemCNN's bottleneck: in the 3x3). first_norm: false leaves out
 * the first norm-relu, where the stem has just had one. */
ebb_layer *residual_path(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride,
                         bool first_norm);

/* 1x1 convolution with stride; MemCNN's has a batch norm behind it. */
ebb_layer *residual_projection(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride);

/* 3x3 convolution, batch norm, ReLU. */
ebb_layer *residual_stem(ebb_builder *b, const residual_options *o, int in);

/* batch norm, ReLU, mean over all sites, linear; `from_stream`: begins with a dequantise. */
ebb_layer *residual_head(ebb_builder *b, const residual_options *o, int classes, bool from_stream);

/* the stride of a stage: 1, 2, 2, ... */
int residual_stride(int stage);
