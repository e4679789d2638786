/* convert_pairs.c -- see convert_pairs.h. */
#define _GNU_SOURCE
#include "datasets/convert_pairs.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"

typedef struct pair { const char *name, *image, *label; /* label NULL: there is none */ } pair;

typedef struct pairs {
  ebb_pool pool;
  pair    *at;
  int      count;
} pairs;

size_t ebb_array_bytes(const ebb_array *a)
{
  size_t bytes = (size_t)a->type.bytes;
  for (int i = 0; i < a->rank; i++) bytes *= (size_t)a->dims[i];
  return bytes;
}

static bool is_folder(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static bool ends_with(const char *text, const char *ending)
{
  size_t n = strlen(text), m = strlen(ending);
  return n > m && strcasecmp(text + n - m, ending) == 0;
}

/* Length of a file's name without one of the format's endings; 0: it has none of them. */
static size_t stem(const char *file, const ebb_pair_format *format)
{
  for (const char *const *e = format->endings; *e; e++)
    if (ends_with(file, *e)) return strlen(file) - strlen(*e);
  return 0;
}

/* ---- finding ---------------------------------------------------------------------------------------------------- */
static int by_name(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The format's files in a folder, sorted. */
static ebb_status list_folder(const char ***files, int *count, const char *folder, const ebb_pair_format *format, ebb_pool *pool)
{
  struct dirent **entries;
  int n = scandir(folder, &entries, NULL, NULL);
  *count = 0;
  if (n < 0) return ebb_fail(EBB_NOINPUT, "%s: expected a folder, %s", folder, strerror(errno));
  *files = ebb_pool_take(pool, ((size_t)n + 1) * sizeof **files);
  for (int i = 0; i < n; i++) {
    const char *name = entries[i]->d_name;
    if (name[0] != '.' && stem(name, format)) (*files)[(*count)++] = ebb_pool_text(pool, "%s", name);
    free(entries[i]);
  }
  free(entries);
  if (*count) qsort(*files, (size_t)*count, sizeof **files, by_name);
  if (*count) return EBB_OK;
  return ebb_fail(EBB_NOINPUT, "%s: expected files ending with %s, found none", folder, format->endings[0]);
}

static const char *find_stem(const char **files, int count, const char *name, size_t length, const ebb_pair_format *format)
{
  for (int i = 0; i < count; i++)
    if (stem(files[i], format) == length && strncmp(files[i], name, length) == 0) return files[i];
  return NULL;
}

/* nnU-Net's images end with _0000, the number of a channel; its labels do not. */
static size_t without_channel(const char *name, size_t length)
{
  static const char suffix[] = "_0000";
  size_t n = strlen(suffix);
  return length > n && strncmp(name + length - n, suffix, n) == 0 ? length - n : length;
}

static ebb_status pair_folders(pairs *p, const char *images, const char *labels, const ebb_pair_format *format)
{
  const char **image, **label = NULL;
  int          label_count = 0;
  EBB_TRY(list_folder(&image, &p->count, images, format, &p->pool));
  if (labels) EBB_TRY(list_folder(&label, &label_count, labels, format, &p->pool));
  p->at = ebb_pool_take(&p->pool, (size_t)p->count * sizeof *p->at);
  for (int i = 0; i < p->count; i++) {
    size_t      length = stem(image[i], format), bare = without_channel(image[i], length);
    const char *own = labels ? find_stem(label, label_count, image[i], length, format) : NULL;
    if (labels && !own && bare < length) own = find_stem(label, label_count, image[i], bare, format);
    if (labels && !own)
      return ebb_fail(EBB_DATA, "%s/%s: expected a label of the same name in %s, found none\nhint: move images without labels elsewhere", images, image[i],
                      labels);
    p->at[i] = (pair){.name = ebb_pool_text(&p->pool, "%.*s", (int)(own ? stem(own, format) : length), image[i]),
                      .image = ebb_pool_text(&p->pool, "%s/%s", images, image[i]), .label = own ? ebb_pool_text(&p->pool, "%s/%s", labels, own) : NULL};
  }
  return EBB_OK;
}

static ebb_status find_pairs(pairs *p, const char *const *in, int count, const ebb_pair_format *format)
{
  if (count < 1 || count > 2) return ebb_fail(EBB_USAGE, "convert: expected IMAGE [LABEL] OUT, or the folders of both, found %d names to read", count);
  if (is_folder(in[0])) return pair_folders(p, in[0], count > 1 ? in[1] : NULL, format);
  p->at = EBB_POOL_NEW(&p->pool, pair);
  p->count = 1;
  p->at[0] = (pair){.name = in[0], .image = in[0], .label = count > 1 ? in[1] : NULL};
  return EBB_OK;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */
static const char *sizes(const ebb_array *a, ebb_pool *pool)
{
  const char *text = "";
  for (int i = 0; i < a->rank; i++) text = ebb_pool_text(pool, "%s%s%llu", text, i ? " x " : "", (unsigned long long)a->dims[i]);
  return text;
}

/* Sizes and grid of an image are its label's. */
static ebb_status require_fit(const ebb_array *image, const ebb_array *label, const pair *p, ebb_pool *pool)
{
  int skip = image->channels;
  bool fits = !label->channels && label->rank == image->rank - skip && memcmp(image->dims + skip, label->dims, (size_t)label->rank * sizeof *label->dims) == 0;
  if (!fits)
    return ebb_fail(EBB_DATA, "%s: expected the sizes of its image %s, %s, found %s", p->label, p->image, sizes(image, pool), sizes(label, pool));
  for (int i = 0; i < 16; i++)
    if (fabs(image->grid[i] - label->grid[i]) > 1e-3 * (1 + fabs(image->grid[i])))
      return ebb_fail(EBB_DATA, "%s: expected the place in space of its image %s, found another (affine value %d: %g, %g)\nhint: resample one to the other's grid",
                      p->label, p->image, i, image->grid[i], label->grid[i]);
  return EBB_OK;
}

typedef struct both { ebb_array image, label; } both;

static void forget(both *b)
{
  ebb_arena_destroy(&b->image.memory);
  ebb_arena_destroy(&b->label.memory);
}

static ebb_status read_pair(both *b, const pair *p, const ebb_pair_format *format, ebb_pool *pool)
{
  *b = (both){0};
  EBB_TRY(format->read(&b->image, p->image, false));
  if (!p->label) return EBB_OK;
  EBB_TRY(format->read(&b->label, p->label, true));
  return require_fit(&b->image, &b->label, p, pool);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */
static ebb_status write_array(ebb_write *w, const char *name, const ebb_array *a)
{
  EBB_TRY(ebb_write_dataset(w, name, a->type, a->rank, a->dims));
  EBB_TRY(ebb_write_rows(w, a->values, a->dims[0]));
  return a->um[2] > 0 ? ebb_write_numbers(w, "element_size_um", a->um, 3) : EBB_OK;
}

static ebb_status convert_one(const char *out, const pair *p, const ebb_pair_format *format, ebb_pool *pool)
{
  const char *const inputs[] = {p->image, p->label ? p->label : p->image};
  ebb_write *w = NULL;
  both b;
  ebb_status status = read_pair(&b, p, format, pool);
  if (status == EBB_OK) status = ebb_write_open(&w, out, inputs, 2);
  if (status == EBB_OK) status = write_array(w, "/raw", &b.image);
  if (status == EBB_OK && p->label) status = write_array(w, "/label", &b.label);
  if (status == EBB_OK) status = ebb_write_commit(w);
  ebb_write_close(w);
  forget(&b);
  return status;
}

static ebb_status convert_each(const char *folder, const pairs *p, const ebb_pair_format *format, ebb_pool *pool)
{
  EBB_TRY(ebb_folder_make(folder));
  for (int i = 0; i < p->count; i++) EBB_TRY(convert_one(ebb_pool_text(pool, "%s/%s.h5", folder, p->at[i].name), &p->at[i], format, pool));
  return EBB_OK;
}

static ebb_status begin_stack(ebb_write *w, const char *name, const ebb_array *a, int count)
{
  uint64_t dims[5] = {(uint64_t)count};
  memcpy(dims + 1, a->dims, sizeof a->dims);
  return ebb_write_dataset(w, name, a->type, a->rank + 1, dims);
}

static bool same_kind(const ebb_array *a, const ebb_array *b)
{
  return a->rank == b->rank && a->channels == b->channels && memcmp(a->dims, b->dims, sizeof a->dims) == 0 && a->type.kind == b->type.kind &&
         a->type.bytes == b->type.bytes;
}

/* All images, or all labels, as one dataset: files are read one after the other. */
static ebb_status write_stack(ebb_write *w, const pairs *p, const ebb_pair_format *format, bool label, ebb_pool *pool)
{
  ebb_array first = {0};
  ebb_status status = EBB_OK;
  for (int i = 0; i < p->count && status == EBB_OK; i++) {
    both b;
    status = read_pair(&b, &p->at[i], format, pool);
    const ebb_array *a = label ? &b.label : &b.image;
    if (status == EBB_OK && i == 0) first = *a, status = begin_stack(w, label ? "/label" : "/raw", a, p->count);
    if (status == EBB_OK && !same_kind(&first, a))
      status = ebb_fail(EBB_DATA, "%s: expected the sizes and type of the first, %s, found %s\nhint: name a folder in place of FILE.h5 to get one file each",
                        label ? p->at[i].label : p->at[i].image, sizes(&first, pool), sizes(a, pool));
    if (status == EBB_OK) status = ebb_write_rows(w, a->values, 1);
    forget(&b);
  }
  return status;
}

static ebb_status convert_stack(const char *out, const pairs *p, const ebb_pair_format *format, ebb_pool *pool)
{
  const char *const inputs[] = {p->at[0].image};
  ebb_write *w;
  EBB_TRY(ebb_write_open(&w, out, inputs, 1));
  ebb_status status = write_stack(w, p, format, false, pool);
  if (status == EBB_OK && p->at[0].label) status = write_stack(w, p, format, true, pool);
  if (status == EBB_OK) status = ebb_write_commit(w);
  ebb_write_close(w);
  return status;
}

ebb_status ebb_convert_pairs(const char *out, const char *const *in, int count, const ebb_pair_format *format)
{
  pairs p = {0};
  ebb_status status = find_pairs(&p, in, count, format);
  if (status == EBB_OK) {
    if (!is_folder(in[0])) status = convert_one(out, &p.at[0], format, &p.pool);
    else if (ends_with(out, ".h5")) status = convert_stack(out, &p, format, &p.pool);
    else status = convert_each(out, &p, format, &p.pool);
  }
  ebb_pool_clear(&p.pool);
  return status;
}
