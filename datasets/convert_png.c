/* convert_png.c -- PNG images and label maps to HDF5, by libpng. Owns: what pixels become. */
#include <errno.h>
#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include "datasets/convert_pairs.h"
#include "datasets/datasets.h"

typedef struct reading {
  const char  *path;
  FILE        *file;
  png_structp  png;
  png_infop    info;
  char         why[160];
} reading;

static void failed(png_structp png, png_const_charp why)
{
  reading *r = png_get_error_ptr(png);
  snprintf(r->why, sizeof r->why, "%s", why);
  longjmp(png_jmpbuf(png), 1);
}

static void ignored(png_structp png, png_const_charp why)
{
  (void)png, (void)why;
}

/* Images: grey or colour, 8 or 16 bit. Labels: the numbers themselves, of a palette or of grey. */
static void settle_pixels(reading *r, bool label)
{
  int kind = png_get_color_type(r->png, r->info), depth = png_get_bit_depth(r->png, r->info);
  if (!label && kind == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r->png);
  else if (!label && depth < 8) png_set_expand_gray_1_2_4_to_8(r->png);
  else if (depth < 8) png_set_packing(r->png);
  if (kind & PNG_COLOR_MASK_ALPHA) png_set_strip_alpha(r->png);
  if (depth == 16) png_set_swap(r->png); /* to little-endian */
  png_set_interlace_handling(r->png);
  png_read_update_info(r->png, r->info);
}

/* Pixels stand (h, w, c) in the file and (c, h, w) in the array. */
static void part_channels(void *to, const void *from, size_t pixels, size_t channels, size_t bytes)
{
  for (size_t i = 0; i < pixels; i++)
    for (size_t c = 0; c < channels; c++)
      memcpy((char *)to + (c * pixels + i) * bytes, (const char *)from + (i * channels + c) * bytes, bytes);
}

static ebb_status take_memory(ebb_array *a, size_t bytes, size_t height, unsigned char **pixels, png_bytep **rows)
{
  EBB_TRY(ebb_arena_create(&a->memory, "image", 2 * ebb_align(bytes) + ebb_align(height * sizeof **rows)));
  a->values = ebb_arena_low(&a->memory, bytes, EBB_USE_KEPT);
  *pixels = ebb_arena_low(&a->memory, bytes, EBB_USE_KEPT);
  *rows = ebb_arena_low(&a->memory, height * sizeof **rows, EBB_USE_KEPT);
  for (size_t i = 0; i < height; i++) (*rows)[i] = *pixels + i * (bytes / height);
  return EBB_OK;
}

static ebb_status read_pixels(ebb_array *a, reading *r, bool label)
{
  unsigned char *pixels;
  png_bytep     *rows;
  png_read_info(r->png, r->info);
  settle_pixels(r, label);
  size_t height = png_get_image_height(r->png, r->info), width = png_get_image_width(r->png, r->info);
  size_t channels = png_get_channels(r->png, r->info), bytes = png_get_bit_depth(r->png, r->info) == 16 ? 2 : 1;
  if (label && channels != 1)
    return ebb_fail(EBB_DATA, "%s: expected a label map of one number a pixel (grey or palette), found colours\nhint: save it with indexed colours", r->path);
  a->type = (ebb_write_type){EBB_WRITE_UNSIGNED, (int)bytes, false};
  a->channels = channels > 1;
  if (a->channels) a->dims[a->rank++] = channels;
  a->dims[a->rank++] = height;
  a->dims[a->rank++] = width;
  EBB_TRY(take_memory(a, height * width * channels * bytes, height, &pixels, &rows));
  png_read_image(r->png, rows);
  png_read_end(r->png, NULL);
  part_channels(a->values, pixels, height * width, channels, bytes);
  return EBB_OK;
}

static ebb_status read_file(ebb_array *a, reading *r, bool label)
{
  if (setjmp(png_jmpbuf(r->png))) return ebb_fail(EBB_DATA, "%s: expected a whole PNG image, libpng: %s", r->path, r->why);
  png_init_io(r->png, r->file);
  return read_pixels(a, r, label);
}

static ebb_status read_image(ebb_array *a, const char *path, bool label)
{
  reading r = {.path = path, .file = fopen(path, "rb")};
  if (!r.file) return ebb_fail(EBB_NOINPUT, "%s: %s", path, strerror(errno));
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, failed, ignored);
  r.info = r.png ? png_create_info_struct(r.png) : NULL;
  ebb_status status = r.info ? read_file(a, &r, label) : ebb_fail(EBB_OSERR, "%s: libpng has no memory", path);
  png_destroy_read_struct(&r.png, &r.info, NULL);
  fclose(r.file);
  return status;
}

ebb_status ebb_convert_png(const char *out, const char *const *in, int count)
{
  static const char *const endings[] = {".png", NULL};
  return ebb_convert_pairs(out, in, count, &(ebb_pair_format){endings, read_image});
}
