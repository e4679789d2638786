/* hdf5_axes.h -- what the attributes of a dataset say about its axes.
 * Owns: the conventions of vigra/ilastik (axistags), of dimension scales (DIMENSION_LABELS) and of HDF5 images
 * (CLASS=IMAGE), of PlantSeg and pytorch-3dunet (element_size_um). Must not know: shapes, or who believes it. */
#pragma once
#include <hdf5.h>

#include "base/arena.h"

/* A letter an axis, of n c d h w; NULL if no attribute says so for all of them. */
const char *ebb_h5_axes(const char **from, hid_t dataset, int rank, ebb_pool *pool);

/* The text of the attribute columns, names with commas between them, as `ebb convert table` writes it; NULL if there is none. */
const char *ebb_h5_columns(hid_t dataset, ebb_pool *pool);

/* Sizes of an element along D H W, in micrometres, from the attribute element_size_um of three (or two: H W) numbers; 0 where it
 * does not say. */
void ebb_h5_element_size(double um[3], hid_t dataset);

/* The letter of an axis called `name`: "x", "width" and "W" are w; 0 if unknown. */
char ebb_h5_axis_letter(const char *name);
