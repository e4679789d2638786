/* gallery.h -- many small images as one picture. Owns: its layout. */
#pragma once
#include "base/status.h"

/* images (count, height, width, channels), channels 1 (grey) or 3, values from 0 to `white`; rows of `columns`, magnified by a whole
 * number where they are small. EBB_CANTCREAT, EBB_IOERR. */
ebb_status ebb_gallery_write(const char *path, const float *images, int count, int height, int width, int channels, double white, int columns);
