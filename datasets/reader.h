/* reader.h -- boxes of volumes as numbers a network takes, and their labels as classes.
 * Owns: the files that are open, and the buffer of a box as it is in the file. Must not know: where boxes are wanted. */
#pragma once
#include "base/view.h"
#include "datasets/volumes.h"

enum { EBB_READER_FILES = 64 }; /* open at a time */

typedef struct ebb_opened { ebb_h5 *file; ebb_pool pool; const ebb_stack *stack; } ebb_opened;

typedef struct ebb_reader {
  const ebb_volumes   *volumes;
  const ebb_label_map *map;
  int                  classes;
  void                *numbers;   /* room for the largest box of box_channels, 8 bytes a value; the caller's */
  ebb_opened           open[EBB_READER_FILES];
  int                  next;      /* the one to be closed when another is needed */
} ebb_reader;

/* The box start .. start + size - 1 (D H W) of volume `i`, x: (size, channels) dense. The volume's own mean is 0, its standard
 * deviation 1; beyond its border is 0. EBB_NOINPUT, EBB_DATA: the file is gone or has changed. */
ebb_status ebb_reader_image(ebb_reader *r, ebb_real *x, int i, const int start[3], const int size[3]);

/* The labels of such a box, labels: (size). -1 beyond the border, and outside of [own[k][0], own[k][1]) where own is not NULL. And, where
 * they are soft and soft is not NULL, their probabilities, soft: (size, ebb_soft_classes), 0 where the label is -1. */
ebb_status ebb_reader_labels(ebb_reader *r, int32_t *labels, ebb_real *soft, int i, const int start[3], const int size[3], const int own[3][2]);

void ebb_reader_close(ebb_reader *r);
