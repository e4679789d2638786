/* png.c -- see png.h. */
#include "png.h"

#include <png.h>

#include "base/arena.h"
#include "base/file.h"

ebb_status ebb_png_write(const char *path, const unsigned char *rgb, int height, int width)
{
  ebb_pool         pool = {0};
  png_image        image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = PNG_FORMAT_RGB};
  png_alloc_size_t bytes = PNG_IMAGE_PNG_SIZE_MAX(image);
  void            *file = ebb_pool_take(&pool, bytes);
  ebb_status       status = png_image_write_to_memory(&image, file, &bytes, 0, rgb, 0, NULL)
                                ? ebb_file_replace(path, &(ebb_bytes_part){file, bytes}, 1)
                                : ebb_fail(EBB_IOERR, "%s: libpng: %s", path, image.message);
  png_image_free(&image);
  ebb_pool_clear(&pool);
  return status;
}
