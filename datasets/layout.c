/* layout.c -- which axis is which; see layout.h. */
#include "datasets/layout.h"

#include <string.h>

/* ---- the letters ----------------------------------------------------------------------------------------------- */
/* x y z are w h d, as ilastik writes them; t is n. */
static char canonical(char letter)
{
  switch (letter | 32) {
  case 'x':
    return 'w';
  case 'y':
    return 'h';
  case 'z':
    return 'd';
  case 't':
    return 'n';
  default:
    return (char)(letter | 32);
  }
}

/* NULL if the letters can be the axes of a set of samples, else what is wrong with them. */
static const char *wrong(const char *letters)
{
  static const char all[] = "ncdhw";
  int seen[256] = {0};
  for (const char *l = letters; *l; l++) {
    if (!strchr(all, *l)) return "a letter other than n c d h w";
    if (seen[(unsigned char)*l]++) return "a letter twice";
  }
  if (letters[0] != 'n') return "no n (samples) in first place";
  if (strcmp(letters, "nc") == 0) return NULL;
  if (!seen['w']) return "no w (width)";
  if (seen['d'] && !seen['h']) return "a d (depth) without h (height)";
  return NULL;
}

/* ---- the rule for sizes ---------------------------------------------------------------------------------------- */
static bool like_channels(uint64_t size)
{
  return size == 1 || size == 3 || size == 4;
}

/* (N, H, W); (N, H, W, 1|3|4); (N, 1|3|4, H, W); for a density (N, C). NULL: no rule explains the sizes; "": more than one does. */
static const char *by_sizes(const ebb_h5_dataset *d, bool density, const char **why)
{
  if (d->rank == 2 && density) return *why = "two axes are rows and columns of a table", "nc";
  if (d->rank == 3) return *why = "three axes are samples of one channel", "nhw";
  if (d->rank != 4) return NULL;
  bool last = like_channels(d->dims[3]), second = like_channels(d->dims[1]);
  if (last && second) return "";
  if (last) return *why = "the last axis is 1, 3 or 4", "nhwc";
  if (second) return *why = "the second axis is 1, 3 or 4", "nchw";
  return NULL;
}

static const char *readings(const ebb_h5_dataset *d)
{
  switch (d->rank) {
  case 2:
    return "nw (signals) or nc (rows and columns of a table)";
  case 3:
    return "nhw, ncw or nwc (signals)";
  case 4:
    return "nhwc (channels last), nchw (channels first) or ndhw";
  case 5:
    return "ndhwc (channels last) or ncdhw (channels first)";
  default:
    return "letters n c d h w, one an axis";
  }
}

static ebb_status refuse_sizes(const ebb_h5 *f, const ebb_h5_dataset *d, const char *found, ebb_pool *pool)
{
  return ebb_fail(EBB_DATA,
                  "%s:%s: expected axes (N, H, W), (N, H, W, C) or (N, C, H, W) with 1, 3 or 4 channels, "
                  "found %s, %s\nhint: say which axis is which with data.axes=..., here %s",
                  ebb_h5_path(f), d->path, ebb_h5_describe(d, pool), found, readings(d));
}

/* ---- the choice ------------------------------------------------------------------------------------------------ */
static ebb_status take_wanted(char *letters, const ebb_h5 *f, const ebb_h5_dataset *d, const char *wanted,
                              ebb_pool *pool)
{
  if (strlen(wanted) != (size_t)d->rank)
    return ebb_fail(EBB_CONFIG, "data.axes: expected %d letters for %s:%s %s, found \"%s\"\nhint: %s", d->rank,
                    ebb_h5_path(f), d->path, ebb_h5_describe(d, pool), wanted, readings(d));
  for (int i = 0; i < d->rank; i++) letters[i] = canonical(wanted[i]);
  letters[d->rank] = 0;
  if (wrong(letters))
    return ebb_fail(EBB_CONFIG, "data.axes: expected letters such as nhwc, found \"%s\": %s\nhint: %s", wanted,
                    wrong(letters), readings(d));
  return EBB_OK;
}

static ebb_status choose(char *letters, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *d, bool density)
{
  const char *path = ebb_h5_path(f), *why = NULL;
  if (d->axes && !wrong(d->axes)) {
    strcpy(letters, d->axes);
    return ebb_note(notes, "%s:%s: axes %s, as its attribute %s says", path, d->path, letters, d->axes_from), EBB_OK;
  }
  if (d->axes)
    ebb_note(notes, "warning: %s:%s: %s says axes %s, which has %s; left aside", path, d->path, d->axes_from, d->axes,
             wrong(d->axes));
  const char *guess = by_sizes(d, density, &why);
  if (!guess) return refuse_sizes(f, d, "which no rule explains", notes->pool);
  if (!*guess) return refuse_sizes(f, d, "which can be (N, H, W, C) and (N, C, H, W)", notes->pool);
  strcpy(letters, guess);
  ebb_note(notes, "%s:%s: axes %s of %s, because %s", path, d->path, letters, ebb_h5_describe(d, notes->pool), why);
  return EBB_OK;
}

/* Steps and sizes of a sample, from the last axis to the second. */
static void measure(ebb_axes *a, const ebb_h5_dataset *d)
{
  ptrdiff_t step = 1;
  a->shape = (ebb_shape){.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 1};
  a->d = a->h = a->w = a->c = 0;
  for (int i = d->rank - 1; i > 0; i--) {
    int size = (int)d->dims[i];
    switch (a->letters[i]) {
    case 'c':
      a->shape.c = size, a->c = step;
      break;
    case 'd':
      a->shape.d = size, a->d = step, a->shape.rank = 3;
      break;
    case 'h':
      a->shape.h = size, a->h = step, a->shape.rank = a->shape.rank < 2 ? 2 : a->shape.rank;
      break;
    default:
      a->shape.w = size, a->w = step;
      break;
    }
    step *= size;
  }
}

bool ebb_layout_table(const ebb_axes *axes)
{
  return strcmp(axes->letters, "nc") == 0;
}

ebb_status ebb_layout_axes(ebb_axes *axes, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *images, const char *wanted, bool density)
{
  *axes = (ebb_axes){0};
  EBB_TRY(*wanted ? take_wanted(axes->letters, f, images, wanted, notes->pool)
                  : choose(axes->letters, notes, f, images, density));
  measure(axes, images);
  uint64_t values = images->dims[0] ? images->count / images->dims[0] : 0;
  if (values > INT32_MAX)
    return ebb_fail(EBB_DATA, "%s:%s: expected samples of less than 2^31 values, found %s", ebb_h5_path(f),
                    images->path, ebb_h5_describe(images, notes->pool));
  return EBB_OK;
}
