/* hdf5_axes.c -- see hdf5_axes.h. */
#define H5_USE_110_API
#include "datasets/hdf5_axes.h"

#include <jansson.h>
#include <math.h>
#include <string.h>
#include <strings.h>

#define TEXT_MOST ((size_t)65536) /* characters of an attribute that are worth reading */
#define RANK_MOST 6

char ebb_h5_axis_letter(const char *name)
{
  static const struct {
    const char *name;
    char letter;
  } known[] = {{"n", 'n'}, {"t", 'n'},       {"b", 'n'},        {"batch", 'n'},  {"sample", 'n'}, {"samples", 'n'},
               {"c", 'c'}, {"channel", 'c'}, {"channels", 'c'}, {"d", 'd'},      {"z", 'd'},      {"depth", 'd'},
               {"h", 'h'}, {"y", 'h'},       {"height", 'h'},   {"row", 'h'},    {"rows", 'h'},   {"w", 'w'},
               {"x", 'w'}, {"width", 'w'},   {"column", 'w'},   {"columns", 'w'}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcasecmp(name, known[i].name) == 0) return known[i].letter;
  return 0;
}

/* Text of a string type whose memory is the file's own: h5py writes UTF-8 of variable length, others ASCII of a fixed
 * one, and reading either as the other fails. */
static hid_t string_type(hid_t attribute)
{
  hid_t type = H5Aget_type(attribute);
  if (type >= 0 && H5Tget_class(type) == H5T_STRING) return type;
  if (type >= 0) H5Tclose(type);
  return H5I_INVALID_HID;
}

static hssize_t points(hid_t attribute)
{
  hid_t space = H5Aget_space(attribute);
  hssize_t n = space < 0 ? -1 : H5Sget_simple_extent_npoints(space);
  if (space >= 0) H5Sclose(space);
  return n;
}

static bool read_variable(const char **out, hid_t attribute, hid_t type, hssize_t count, ebb_pool *pool)
{
  char *text[RANK_MOST] = {0};
  hid_t space = H5Aget_space(attribute);
  bool ok = space >= 0 && H5Aread(attribute, type, text) >= 0;
  for (hssize_t i = 0; ok && i < count; i++)
    out[i] = ebb_pool_text(pool, "%.*s", (int)TEXT_MOST, text[i] ? text[i] : "");
  if (ok) H5Dvlen_reclaim(type, space, H5P_DEFAULT, text);
  if (space >= 0) H5Sclose(space);
  return ok;
}

static bool read_fixed(const char **out, hid_t attribute, hid_t type, hssize_t count, ebb_pool *pool)
{
  size_t size = H5Tget_size(type);
  if (size == 0 || size > TEXT_MOST) return false;
  char *text = ebb_pool_take(pool, size * (size_t)count);
  if (H5Aread(attribute, type, text) < 0) return false;
  for (hssize_t i = 0; i < count; i++) out[i] = ebb_pool_text(pool, "%.*s", (int)size, text + (size_t)i * size);
  return true;
}

/* Reads an attribute of exactly `count` texts; false if there is none such. */
static bool read_texts(const char **out, hid_t dataset, const char *name, hssize_t count, ebb_pool *pool)
{
  if (H5Aexists(dataset, name) <= 0) return false;
  hid_t attribute = H5Aopen(dataset, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  hid_t type = string_type(attribute);
  bool ok = type >= 0 && points(attribute) == count;
  if (ok)
    ok = H5Tis_variable_str(type) > 0 ? read_variable(out, attribute, type, count, pool)
                                      : read_fixed(out, attribute, type, count, pool);
  if (type >= 0) H5Tclose(type);
  H5Aclose(attribute);
  return ok;
}

/* {"axes": [{"key": "t", ...}, {"key": "y", ...}, ...]} in the order of the axes. */
static bool from_axistags(char *letters, hid_t dataset, int rank, ebb_pool *pool)
{
  const char *text;
  if (!read_texts(&text, dataset, "axistags", 1, pool)) return false;
  json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
  json_t *axes = json_object_get(root, "axes");
  bool ok = json_is_array(axes) && json_array_size(axes) == (size_t)rank;
  for (int i = 0; ok && i < rank; i++) {
    const char *key = json_string_value(json_object_get(json_array_get(axes, (size_t)i), "key"));
    letters[i] = key ? ebb_h5_axis_letter(key) : 0;
    ok = letters[i] != 0;
  }
  json_decref(root);
  return ok;
}

static bool from_labels(char *letters, hid_t dataset, int rank, ebb_pool *pool)
{
  const char *text[RANK_MOST];
  if (!read_texts(text, dataset, "DIMENSION_LABELS", rank, pool)) return false;
  for (int i = 0; i < rank; i++)
    if (!(letters[i] = ebb_h5_axis_letter(text[i]))) return false;
  return true;
}

/* HDF5 Image specification 1.2, with a leading axis of samples. */
static bool from_image(char *letters, hid_t dataset, int rank, ebb_pool *pool)
{
  const char *text;
  if (!read_texts(&text, dataset, "CLASS", 1, pool) || strcmp(text, "IMAGE") != 0) return false;
  if (rank == 3) return memcpy(letters, "nhw", 3), true;
  if (rank != 4 || !read_texts(&text, dataset, "INTERLACE_MODE", 1, pool)) return false;
  if (strcmp(text, "INTERLACE_PIXEL") == 0) return memcpy(letters, "nhwc", 4), true;
  if (strcmp(text, "INTERLACE_PLANE") == 0) return memcpy(letters, "nchw", 4), true;
  if (strcmp(text, "INTERLACE_LINE") == 0) return memcpy(letters, "nhcw", 4), true;
  return false;
}

const char *ebb_h5_axes(const char **from, hid_t dataset, int rank, ebb_pool *pool)
{
  static const struct {
    const char *name;
    bool (*read)(char *, hid_t, int, ebb_pool *);
  } ways[] = {{"axistags", from_axistags}, {"DIMENSION_LABELS", from_labels}, {"CLASS=IMAGE", from_image}};
  char letters[RANK_MOST + 1] = {0};
  *from = NULL;
  if (rank < 1 || rank > RANK_MOST) return NULL;
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
    if (ways[i].read(letters, dataset, rank, pool)) {
      *from = ways[i].name;
      return ebb_pool_text(pool, "%.*s", rank, letters);
    }
  return NULL;
}

const char *ebb_h5_columns(hid_t dataset, ebb_pool *pool)
{
  const char *text;
  return read_texts(&text, dataset, "columns", 1, pool) ? text : NULL;
}

void ebb_h5_element_size(double um[3], hid_t dataset)
{
  double value[3] = {0};
  memset(um, 0, 3 * sizeof *um);
  if (H5Aexists(dataset, "element_size_um") <= 0) return;
  hid_t attribute = H5Aopen(dataset, "element_size_um", H5P_DEFAULT);
  if (attribute < 0) return;
  hssize_t n = points(attribute);
  if ((n == 2 || n == 3) && H5Aread(attribute, H5T_NATIVE_DOUBLE, value) >= 0)
    for (int i = 0; i < n; i++)
      if (value[i] > 0 && isfinite(value[i])) um[3 - n + i] = value[i];
  H5Aclose(attribute);
}
