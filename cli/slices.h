/* slices.h -- the middle slices of a volume and of its prediction, caught while planes go by, as a picture.
 * Owns: which slices, their memory. Must not know: files of predictions. */
#pragma once
#include "overlay.h"
#include "predictor.h"

enum { EBB_SLICES = 3 };

typedef struct ebb_slices {
  ebb_pool          pool;
  int               count;                     /* 3 of a volume, 1 of an image, 0 of a signal */
  int               axis[EBB_SLICES];          /* across which they lie                       */
  int               size[3];
  ebb_overlay_slice at[EBB_SLICES];
  uint16_t         *predicted[EBB_SLICES];
} ebb_slices;

/* Begins a volume; what was there is given back. */
void ebb_slices_begin(ebb_slices *s, const int size[3]);

/* Plane `at` across axis `outer` of the predicted classes. */
void ebb_slices_add(ebb_slices *s, int outer, int at, const uint16_t *classes);

/* Reads the image and labels of scan i, once its planes went by. */
ebb_status ebb_slices_finish(ebb_slices *s, ebb_scans *scans, int i);
void       ebb_slices_clear(ebb_slices *s);
