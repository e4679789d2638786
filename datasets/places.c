/* places.c -- see places.h. */
#define _POSIX_C_SOURCE 200809L
#include "datasets/places.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const endings[] = {".h5", ".hdf5", ".hdf", ".hd5"};

/* "path[2:5]" -> "path", 2, 5; either number may be missing. */
static ebb_status take_range(ebb_places *p, char *text, const char *whole)
{
  size_t length = strlen(text);
  char *open = strrchr(text, '['), *end;
  p->first = 0;
  p->last = INT64_MAX;
  if (!open || length == 0 || text[length - 1] != ']' || !strchr(open, ':')) return EBB_OK;
  const char *colon = strchr(open, ':');
  bool good = true;
  if (open[1] != ':') p->first = strtoll(open + 1, &end, 10), good = end == colon;
  if (colon[1] != ']') p->last = strtoll(colon + 1, &end, 10), good = good && strcmp(end, "]") == 0;
  if (!good || p->first < 0 || p->last <= p->first)
    return ebb_fail(EBB_CONFIG, "%s: expected a range such as [0:160], from the first to before the last, found \"%s\"", whole,
                    open);
  *open = 0;
  return EBB_OK;
}

static bool is_folder(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

static void append(const char ***list, int *count, const char *path, ebb_pool *pool)
{
  const char **more = ebb_pool_take(pool, (size_t)(*count + 1) * sizeof *more);
  if (*count) memcpy(more, *list, (size_t)*count * sizeof *more);
  more[(*count)++] = ebb_pool_text(pool, "%s", path);
  *list = more;
}

static int by_name(const void *a, const void *b)
{
  return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Files that match any of the patterns; sorted. */
static void match(ebb_places *p, const char *const *patterns, int count, ebb_pool *pool)
{
  glob_t g = {0};
  for (int i = 0; i < count; i++) glob(patterns[i], (i ? GLOB_APPEND : 0) | GLOB_NOSORT, NULL, &g);
  const char **list = ebb_pool_take(pool, (g.gl_pathc ? g.gl_pathc : 1) * sizeof *list);
  for (size_t i = 0; i < g.gl_pathc; i++) list[i] = ebb_pool_text(pool, "%s", g.gl_pathv[i]);
  qsort(list, g.gl_pathc, sizeof *list, by_name);
  p->file = list;
  p->count = (int)g.gl_pathc;
  globfree(&g);
}

static void cut(ebb_places *p)
{
  int64_t last = p->last < p->count ? p->last : p->count;
  p->file += p->first < last ? p->first : 0;
  p->count = p->first < last ? (int)(last - p->first) : 0;
}

static ebb_status nothing(const char *whole, const char *looked_for)
{
  return ebb_fail(EBB_NOINPUT, "%s: expected HDF5 files, found none there (%s)\nhint: a file, a folder, or a quoted pattern "
                               "such as 'scans/s*.h5', with a range [0:160] behind it if only some are meant", whole, looked_for);
}

static ebb_status find_folder(ebb_places *p, const char *path, const char *whole, ebb_pool *pool)
{
  const char *patterns[4];
  for (int i = 0; i < 4; i++) patterns[i] = ebb_pool_text(pool, "%s/*%s", path, endings[i]);
  match(p, patterns, 4, pool);
  cut(p);
  return p->count ? EBB_OK : nothing(whole, "the directory has no *.h5, *.hdf5, *.hdf, *.hd5, or not so many");
}

static ebb_status find_file(ebb_places *p, char *path, ebb_pool *pool)
{
  char *colon = strrchr(path, ':');
  int count = 0;
  const char **list = NULL;
  if (colon && access(path, F_OK) != 0) {
    *colon = 0;
    p->group = colon + 1;
  }
  append(&list, &count, path, pool);
  p->file = list;
  p->count = 1;
  p->single = true;
  return EBB_OK; /* whether it can be read is said where it is opened */
}

ebb_status ebb_places_find(ebb_places *p, const char *text, ebb_pool *pool)
{
  char *path = ebb_pool_text(pool, "%s", text);
  *p = (ebb_places){.group = ""};
  EBB_TRY(take_range(p, path, text));
  if (is_folder(path)) return find_folder(p, path, text, pool);
  if (strpbrk(path, "*?") == NULL) return find_file(p, path, pool);
  match(p, (const char *const *)&path, 1, pool);
  cut(p);
  return p->count ? EBB_OK : nothing(text, "the pattern matches nothing, or not so many");
}
