/* hdf5_axes.h -- what the attributes of a dataset say about its axes.
 * Owns: the conventions of vigra/ilastik (axistags), of dimension scales (DIMENSION_LABELS) and of HDF5 images
 * (CLASS=IMAGE). Must not know: shapes, or who believes it. */
#pragma once
#include <hdf5.h>

#include "base/arena.h"

/* A letter an axis, of n c d h w; NULL if no attribute says so for all of them. */
const char *ebb_h5_axes(const char **from, hid_t dataset, int rank, ebb_pool *pool);

/* The letter of an axis called `name`: "x", "width" and "W" are w; 0 if unknown. */
char ebb_h5_axis_letter(const char *name);
