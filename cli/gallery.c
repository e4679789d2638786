/* gallery.c -- see gallery.h. */
#include "gallery.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "png.h"

enum { GAP = 2, BACKGROUND = 24, SIDE = 64 }; /* SIDE: an image is at least so large */

static int zoom_of(int height, int width)
{
  int largest = height > width ? height : width;
  return largest < SIDE ? SIDE / largest : 1;
}

ebb_status ebb_gallery_write(const char *path, const float *images, int count, int height, int width, int channels, double white, int columns)
{
  ebb_pool       pool = {0};
  int            zoom = zoom_of(height, width), rows = (count + columns - 1) / columns, step_y = height * zoom + GAP, step_x = width * zoom + GAP;
  int            all_y = rows * step_y + GAP, all_x = columns * step_x + GAP;
  size_t         bytes = (size_t)all_y * (size_t)all_x * 3;
  unsigned char *rgb = ebb_pool_take(&pool, bytes);
  memset(rgb, BACKGROUND, bytes);
  for (int i = 0; i < count; i++)
    for (int y = 0; y < height * zoom; y++)
      for (int x = 0; x < width * zoom; x++) {
        const float   *from = images + (((size_t)i * (size_t)height + (size_t)(y / zoom)) * (size_t)width + (size_t)(x / zoom)) * (size_t)channels;
        unsigned char *to = rgb + ((size_t)(GAP + i / columns * step_y + y) * (size_t)all_x + (size_t)(GAP + i % columns * step_x + x)) * 3;
        for (int c = 0; c < 3; c++) to[c] = (unsigned char)lround(255 * fmin(1, fmax(0, (double)from[c % channels] / white)));
      }
  ebb_status status = ebb_png_write(path, rgb, all_y, all_x);
  ebb_pool_clear(&pool);
  return status;
}
