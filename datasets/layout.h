/* layout.h -- conventions: which dataset holds the images, which the labels, and which axis is which.
 * Owns: the names users give, the rules for axes. Must not know: values. Every choice is noted; a doubt is an error. */
#pragma once
#include <stddef.h>

#include "datasets/datasets.h"
#include "datasets/hdf5.h"
#include "datasets/notes.h"

/* Where the values of one sample are: steps between neighbours, in values; 0 where there is no such axis. */
typedef struct ebb_axes {
  ebb_shape shape;                   /* n = 1                                 */
  ptrdiff_t d, h, w, c;
  char      letters[EBB_H5_RANK + 1];/* "nchw"                                */
} ebb_axes;

/* True for a table: rows and columns, axes "nc". */
bool ebb_layout_table(const ebb_axes *axes);

/* True if the file has a group (or names such as x_test) for this set. */
bool ebb_layout_has(const ebb_h5 *f, ebb_split split, ebb_pool *pool);

/* The datasets of a set: by `raw` and `label` where given, else by their names, within `group` ("" is: detect). */
ebb_status ebb_layout_find(const ebb_h5_dataset **images, const ebb_h5_dataset **labels, ebb_notes *notes,
                           const ebb_h5 *f, const char *group, ebb_split split, const char *raw, const char *label);

/* The same where labels need not be there: then *labels is NULL. */
ebb_status ebb_layout_find_images(const ebb_h5_dataset **images, const ebb_h5_dataset **labels, ebb_notes *notes,
                                  const ebb_h5 *f, const char *group, ebb_split split, const char *raw, const char *label);

/* The same for a density: labels do not count, and the only dataset with two axes or more may be a table. */
ebb_status ebb_layout_find_density(const ebb_h5_dataset **images, ebb_notes *notes, const ebb_h5 *f, const char *group, ebb_split split,
                                   const char *raw);

/* The axes: as `wanted` ("nchw") where given, else as the attributes say, else by the sizes; two axes are a table's for a density
 * alone. */
ebb_status ebb_layout_axes(ebb_axes *axes, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *images, const char *wanted,
                           bool density);
