/* labels.h -- labels as users write them, as class numbers.
 * Owns: the encodings (numbers of any type, (N, 1, ...), one-hot). Must not know: images. */
#pragma once
#include "datasets/hdf5.h"
#include "datasets/notes.h"

/* How the labels of a dataset are written. */
typedef struct ebb_labels {
  uint64_t samples;
  int      one_hot;  /* its number of columns; 0: class numbers */
} ebb_labels;

ebb_status ebb_labels_describe(ebb_labels *l, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *d);

/* Reads all labels; each must be a whole number 0 .. classes - 1, or below 2^31 if classes is 0. */
ebb_status ebb_labels_read(int32_t *label, ebb_h5 *f, const ebb_h5_dataset *d, const ebb_labels *l, int classes);

/* Rows of a dataset that are read together: whole chunks, or about 64 KiB. */
uint64_t ebb_rows_together(const ebb_h5_dataset *d);
