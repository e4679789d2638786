/* overlay.h -- pictures of segmentations: image, label and prediction side by side, as PNG.
 * Owns: colours, layout. */
#pragma once
#include <stdint.h>

#include "base/status.h"

/* A slice of a volume, all (height, width). */
typedef struct ebb_overlay_slice {
  int             height, width;
  const float    *image;        /* any scale: shown from its 1st to its 99th percentile      */
  const uint16_t *label;        /* classes, 0 is not coloured; NULL: there are none          */
  const uint16_t *predicted;
} ebb_overlay_slice;

/* One row a slice: image, label if there is one, prediction. EBB_CANTCREAT, EBB_IOERR; whole or not at all. */
ebb_status ebb_overlay_write(const char *path, const ebb_overlay_slice *slices, int count);
