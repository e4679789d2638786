/* augment.h -- random changes of patches in training: of their geometry and of their values.
 * Owns: the options' meaning and the drawing of numbers, by counters: the same patch of the same epoch is changed alike on any
 * number of threads and after any resume. Must not know: files, volumes. */
#pragma once
#include "base/rng.h"
#include "base/view.h"

/* Every one is off at 0 or "". Geometry changes raw data and probabilities (trilinear) and labels (nearest) alike. */
typedef struct ebb_augment {
  const char *mirror;  /* dimensions mirrored with probability 1/2, letters of d h w               */
  bool   turn;         /* quarter turns in the plane of h and w, which must be equal               */
  double rotate;       /* degrees, uniform within +-, about every axis                             */
  double scale;        /* share, uniform within +-                                                 */
  double elastic;      /* sites, standard deviation of a smooth displacement (cubic B-splines)     */
  double contrast;     /* share, uniform within +-: x becomes x (1 + c)                            */
  double brightness;   /* standard deviations, uniform within +-: added                            */
  double gamma;        /* uniform within +-: exponent e^g of the values scaled to 0..1             */
  double noise;        /* standard deviation of Gaussian noise, itself uniform from 0              */
  double blur;         /* sites, standard deviation of a Gaussian, itself uniform from 0           */
} ebb_augment;

/* A patch as it is changed: sizes D H W, dense; labels beyond the data are -1, values 0. */
typedef struct ebb_patch {
  int       size[3], channels, soft_channels;
  ebb_real *x;             /* (sites, channels)                                  */
  int32_t  *labels;        /* (sites)                                            */
  ebb_real *soft;          /* (sites, soft_channels) probabilities; or none: 0   */
} ebb_patch;

bool ebb_augment_warps(const ebb_augment *a);

/* Sites on each side that a warped patch may look at beyond its own. */
void ebb_augment_margin(int margin[3], const ebb_augment *a, const int patch[3], int rank);

/* `to` from the middle of `wide`, which is larger by the margin on every side; patch number `index`. */
void ebb_augment_warp(ebb_patch to, ebb_patch wide, const ebb_augment *a, int rank, ebb_rng g, uint64_t index);

/* Mirrors, turns; in place, with `scratch` as large as the patch. */
void ebb_augment_mirror(ebb_patch p, const ebb_augment *a, ebb_patch scratch, ebb_rng g, uint64_t index);

/* Changes values in place, with `scratch` of as many values. */
void ebb_augment_values(ebb_patch p, const ebb_augment *a, ebb_real *scratch, int rank, ebb_rng g, uint64_t index);
