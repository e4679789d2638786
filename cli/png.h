/* png.h -- pictures as PNG files. Owns: libpng. */
#pragma once
#include "base/status.h"

/* rgb (height, width, 3). EBB_CANTCREAT, EBB_IOERR; whole or not at all. */
ebb_status ebb_png_write(const char *path, const unsigned char *rgb, int height, int width);
