/* layers.h -- constructors of the irreversible layers, in the order of their files.
 * Names are local ("conv1"); the builder's scope goes before them. All layers live in the builder's pool. */
#pragma once
#include "layers/layer.h"

/* conv.c -- kernel, stride and pad apply to every spatial dimension of the builder's rank.
 * Weights PyTorch's (O, I, K...); fill N(0, 2 / (K^rank out)), He et al. 2015 by fan-out, as RevNet's authors. */
typedef struct ebb_conv_options {
  int  in, out, kernel, stride, pad;   /* stride 0 means 1 */
  bool bias, truncated;                /* truncated: the normal is cut at two sigma */
  bool uniform;                        /* fill U(+-sqrt(6 / (1 + 0.01^2) / (K^rank out))), PyTorch's for leaky ReLU 0.01 */
  bool   zero;                         /* fill 0                                        */
  double spread;                       /* fill N(0, spread^2), unless it is 0           */
} ebb_conv_options;
ebb_layer *ebb_conv(ebb_builder *b, const char *name, ebb_conv_options o);

/* border.c -- behind a convolution of that kernel: what a channel that is 1 on its padding would add. Weights (O, 1, K...), fill
 * N(0, spread^2). */
ebb_layer *ebb_border(ebb_builder *b, const char *name, int channels, int kernel, double spread);

/* linear.c -- y = W x + b at every site. Weights (O, I), fill U(+-1/sqrt(in)) for both, PyTorch's default. */
ebb_layer *ebb_linear(ebb_builder *b, const char *name, int in, int out);

/* norm.c -- batch, instance and group norm. In a sequence they absorb a ReLU or leaky ReLU that follows. */
typedef struct ebb_norm_options {
  int    channels, groups;             /* groups: of group norm                                         */
  double eps, momentum;                /* momentum: weight of the new batch in running statistics       */
} ebb_norm_options;
ebb_layer *ebb_batch_norm(ebb_builder *b, const char *name, ebb_norm_options o);
ebb_layer *ebb_instance_norm(ebb_builder *b, const char *name, ebb_norm_options o);
ebb_layer *ebb_group_norm(ebb_builder *b, const char *name, ebb_norm_options o);

/* norm_conv.c -- y = conv(act(norm(x))) in fewer passes over memory; sequences put it in the place of the two, which must not
 * be used elsewhere then. Parameters keep their names. */
ebb_layer *ebb_norm_conv(ebb_builder *b, ebb_layer *norm, ebb_layer *conv);

/* act.c */
ebb_layer *ebb_relu(ebb_builder *b, const char *name);
ebb_layer *ebb_leaky_relu(ebb_builder *b, const char *name, double slope);
bool       ebb_act_slope(const ebb_layer *l, double *slope); /* false: not one of these two */

/* pool.c -- windows without padding over every spatial dimension; global_mean leaves one site. */
ebb_layer *ebb_mean_pool(ebb_builder *b, const char *name, int size);
ebb_layer *ebb_max_pool(ebb_builder *b, const char *name, int size);
ebb_layer *ebb_global_mean(ebb_builder *b, const char *name);

/* upsample.c -- twice the sites along every spatial dimension, linearly interpolated (PyTorch's align_corners=False) */
ebb_layer *ebb_upsample(ebb_builder *b, const char *name);

/* widen.c -- mean pool by `stride`, then zero channels equally before and behind: RevNet's parameter-free shortcut */
ebb_layer *ebb_widen(ebb_builder *b, const char *name, int in, int out, int stride);

/* conv_transpose.c -- kernel = stride (D, H, W). Weights PyTorch's (I, O, K...), fill U(+-1/sqrt(out taps)). */
ebb_layer *ebb_conv_transpose(ebb_builder *b, const char *name, int in, int out, const int stride[3]);

/* class_planes.c -- y = [x | a plane of each class, 1 in that of the sample's label]; the run's labels are those of samples. */
ebb_layer *ebb_class_planes(ebb_builder *b, const char *name, int classes);

/* concat.c -- y = [x | F(x)] */
ebb_layer *ebb_concat(ebb_builder *b, const char *name, const ebb_layer *f);

/* pad.c -- zeros around the sites (D, H, W), and their removal */
ebb_layer *ebb_pad(ebb_builder *b, const char *name, const int before[3], const int after[3]);
ebb_layer *ebb_crop(ebb_builder *b, const char *name, const int before[3], const int after[3]);

/* dropout.c */
ebb_layer *ebb_dropout(ebb_builder *b, const char *name, double rate);

/* stream.c -- into the fixed-point stream and out of it; gradients pass unchanged */
ebb_layer *ebb_quantise(ebb_builder *b, const char *name);
ebb_layer *ebb_dequantise(ebb_builder *b, const char *name);

/* limit.c -- the first half of the channels within bounds, the second as it is: what an affine coupling's F ends with */
typedef enum ebb_limit_law { EBB_LIMIT_TANH, EBB_LIMIT_SIGMOID, EBB_LIMIT_CLAMP } ebb_limit_law;
ebb_layer *ebb_limit(ebb_builder *b, const char *name, int channels, ebb_limit_law law);

/* sum.c -- y = x + F(x), and y = A(x) + F(x) where the shortcut A changes the shape */
ebb_layer *ebb_residual(ebb_builder *b, const char *name, const ebb_layer *f);
ebb_layer *ebb_sum(ebb_builder *b, const char *name, const ebb_layer *a, const ebb_layer *f);
