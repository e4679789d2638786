/* sample.h -- one sample, from the file's numbers to a normalised, augmented place in a batch.
 * Owns: number types, order of axes, normalisation, crop and flip. Must not know: files, which sample it is. */
#pragma once
#include "datasets/layout.h"

typedef struct ebb_norm { double mean, std; } ebb_norm; /* (x - mean) / std */

/* The crop of the padded sample: output (d, h, w) is input (d + crop.d, h + crop.h, w + crop.w), and the mean beyond. */
typedef struct ebb_crop { int d, h, w; bool flip; } ebb_crop;

/* Draws a crop within `pad` and a flip. A function of (seed, epoch, sample). */
ebb_crop ebb_crop_draw(ebb_shape s, int pad, bool flip, uint64_t seed, uint32_t epoch, uint32_t sample);

/* Writes the sample to y, (d, h, w, c) dense. False if a value used is NaN or Inf. norm: (c) */
bool ebb_sample_place(ebb_real *y, const void *in, ebb_h5_kind kind, const ebb_axes *axes, const ebb_norm *norm,
                      ebb_crop crop);
