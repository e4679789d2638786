/* reversible.h -- constructors of the layers with an inverse, and of the irreversible sibling that stands between. */
#pragma once
#include "layers/layers.h"
#include "reversible/bijections.h"
#include "reversible/orthogonal.h"

/* coupling.c -- z1 = x1 + F(x2); z2 = x2 + G(z1) on a stream of `channels`, of which x1 has the first `first`.
 * F maps channels - first to first channels, G the other way, both at the same sites. */
ebb_layer *ebb_coupling(ebb_builder *b, const char *name, int channels, int first, ebb_layer *f, ebb_layer *g);

/* transition.c -- y1 = A1(x1) + F(x2); y2 = A2(x2) + G(y1) on real values: F/G coupling where the shape changes.
 * x1 has the first half of the channels. A1, A2, F change the shape alike; G keeps it. */
ebb_layer *ebb_transition(ebb_builder *b, const char *name, const ebb_layer *a1, const ebb_layer *a2,
                          const ebb_layer *f, const ebb_layer *g);

/* coupling.c -- z1 = x1 + F(x2), or with `second` z2 = x2 + F(x1): half a coupling, whose other half is another layer. */
ebb_layer *ebb_half_coupling(ebb_builder *b, const char *name, int channels, int first, bool second, ebb_layer *f);

/* squeeze.c -- patches of `stride` sites (D, H, W; 1 where the data has no such dimension) become channels, and back;
 * the strides divide the sizes. Channels in PyTorch's order (pixel unshuffle), or by the diagonals of 2x2 patches. */
ebb_layer *ebb_squeeze(ebb_builder *b, const char *name, const int stride[3], bool checkerboard);
ebb_layer *ebb_unsqueeze(ebb_builder *b, const char *name, const int stride[3], bool checkerboard);

/* flow_coupling.c -- y1 = x1; y2 = f(x2; F(x1)) on real values: the parts are the first `first` channels and the rest, or the
 * colours of a chessboard. F maps what stays as it is (of a chessboard all channels, with zeros in the other colour; with `first` 0 and
 * `second` nothing does: as many zeros) to map.params times the channels that are transformed. */
typedef struct ebb_parts {
  int         channels, first;
  bool        second;     /* the channels behind `first` are transformed, else those before  */
  ebbk_colour colour;     /* or, unless it is EBBK_ALL, the sites of this colour             */
} ebb_parts;
ebb_layer *ebb_flow_coupling(ebb_builder *b, const char *name, ebb_parts parts, ebbk_bijection map, ebb_layer *f);

/* dither.c -- whole numbers 0 .. levels - 1 with uniform noise, as real values around 0; or on the whole line, by a logit. */
ebb_layer *ebb_dither(ebb_builder *b, const char *name, int levels, bool logit);

/* actnorm.c -- y = (x + b) e^(3 s) for each channel; b and s begin as the first batch says, or at 0. */
ebb_layer *ebb_actnorm(ebb_builder *b, const char *name, int channels, bool from_data);

/* flow_norm.c -- y = (x - mean) / sqrt(var + eps) for each channel, of the batch in training, of running statistics else. */
ebb_layer *ebb_flow_norm(ebb_builder *b, const char *name, int channels);

/* scale.c -- y = x e^s for each channel; s begins at 0. */
ebb_layer *ebb_scale(ebb_builder *b, const char *name, int channels);

/* invertible_conv.c -- y = W x at every site. */
ebb_layer *ebb_invertible_conv(ebb_builder *b, const char *name, int channels);

/* invertible_conv.c -- the same with W = P L (U + diag(s)), whose P and signs of s stay as they are. */
ebb_layer *ebb_plu_conv(ebb_builder *b, const char *name, int channels);

/* orthogonal_conv.c -- y = Q x at every site, Q orthogonal. */
ebb_layer *ebb_orthogonal_conv(ebb_builder *b, const char *name, int channels);

/* permute.c -- y[j] = x[order[j]]: an order (channels) in the builder's pool, or NULL: a random one; flip: the last first. */
ebb_layer *ebb_permute(ebb_builder *b, const char *name, int channels, const double *order);
ebb_layer *ebb_flip(ebb_builder *b, const char *name, int channels);

/* rotate.c -- the last `count` of the channels go to the front. */
ebb_layer *ebb_rotate(ebb_builder *b, const char *name, int channels, int count);

/* mixing.c -- y = M x at every site, M orthogonal and learned: channel mixing, and behind a squeeze (in front of an
 * unsqueeze, transposed) learned resampling. */
typedef enum ebb_mixing_init { EBB_MIX_IDENTITY, EBB_MIX_HAAR, EBB_MIX_RANDOM, EBB_MIX_GIVEN } ebb_mixing_init;
typedef struct ebb_mixing_options {
  int             channels;
  int             group;      /* channels that are mixed with each other, neighbours; 0: all                    */
  ebb_orthogonal  kind;
  ebb_mixing_init init;
  int             stride[3];  /* HAAR: of the squeeze whose patches are the groups                              */
  const double   *given;      /* GIVEN: (group, group), orthogonal; copied                                      */
  bool            shared;     /* one matrix for all groups                                                      */
  bool            transposed; /* y = M^T x                                                                      */
  bool            fixed;      /* M stays what it is in the beginning                                            */
  int             turn_in;    /* M sees the stream's channels rotated (rotate.c) by so many, and its result is  */
  int             turn_out;   /* rotated by so many: rotations that cost nothing. One group, not transposed     */
} ebb_mixing_options;
ebb_layer *ebb_mixing(ebb_builder *b, const char *name, ebb_mixing_options o);
