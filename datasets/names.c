/* names.c -- which dataset is which; see layout.h. */
#include <string.h>
#include <strings.h>

#include "datasets/layout.h"

#define NAMES_MOST 16
#define LISTED     12 /* datasets named in a message */

/* ---- what users call them (case does not matter) --------------------------------------------------------------- */
typedef struct names {
  const char *images[NAMES_MOST], *labels[NAMES_MOST];
} names;

static const names plain = {
    {"raw", "image", "images", "img", "imgs", "data", "x", "exported_data"},
    {"label", "labels", "mask", "masks", "seg", "segmentation", "ans", "y", "target", "targets", "truth", "gt", "class", "classes"}};
static const names trains = {{"x_train", "train_x", "train_set_x", "train_images", "images_train", "train_data"},
                             {"y_train", "train_y", "train_set_y", "train_labels", "labels_train", "train_label"}};
static const names vals = {{"x_val", "val_x", "x_valid", "valid_x", "val_images", "images_val", "val_data"},
                           {"y_val", "val_y", "y_valid", "valid_y", "val_labels", "labels_val", "val_label"}};
static const names tests = {{"x_test", "test_x", "test_set_x", "test_images", "images_test", "test_data"},
                            {"y_test", "test_y", "test_set_y", "test_labels", "labels_test", "test_label"}};

/* The tables of a set, tried in turn: the more particular first. */
static const names *const tables[EBB_SPLITS][4] = {{&trains, &plain}, {&vals, &tests, &plain}};

/* Groups of a set, likewise. */
static const char *const groups[EBB_SPLITS][6] = {{"train", "training"},
                                                  {"val", "valid", "validation", "test", "testing"}};

static const char *base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

static bool listed(const char *const *list, size_t most, const char *name, size_t length)
{
  for (size_t i = 0; i < most && list[i]; i++)
    if (strlen(list[i]) == length && strncasecmp(list[i], name, length) == 0) return true;
  return false;
}

/* ---- the scope: the group that is searched --------------------------------------------------------------------- */
typedef struct scope {
  const char *group; /* "/train", or "" for the whole file                */
  bool rest;         /* the whole file but the groups of the other set    */
  ebb_split split;
  int least;         /* axes of images that no name tells                 */
} scope;

static bool under(const char *path, const char *group)
{
  size_t n = strlen(group);
  return n == 0 || (strncmp(path, group, n) == 0 && (path[n] == '/' || path[n] == 0)); /* 0: a dataset instead of a group */
}

static bool inside(const scope *s, const char *path)
{
  const char *slash = strchr(path + 1, '/');
  if (!under(path, s->group)) return false;
  if (!s->rest || !slash) return true;
  return !listed(groups[!s->split], 6, path + 1, (size_t)(slash - path - 1));
}

/* The group of the set at the root of the file; NULL if there is none. */
static const char *split_group(const ebb_h5 *f, ebb_split split, ebb_pool *pool)
{
  ebb_h5_list list = ebb_h5_datasets(f);
  for (size_t g = 0; g < 6 && groups[split][g]; g++)
    for (int i = 0; i < list.count; i++) {
      const char *path = list.at[i].path, *slash = strchr(path + 1, '/');
      if (slash && listed(&groups[split][g], 1, path + 1, (size_t)(slash - path - 1)))
        return ebb_pool_text(pool, "%.*s", (int)(slash - path), path);
    }
  return NULL;
}

bool ebb_layout_has(const ebb_h5 *f, ebb_split split, ebb_pool *pool)
{
  if (split_group(f, split, pool)) return true;
  ebb_h5_list list = ebb_h5_datasets(f);
  for (int t = 0; tables[split][t] && tables[split][t] != &plain; t++)
    for (int i = 0; i < list.count; i++) {
      const char *name = base_name(list.at[i].path);
      if (listed(tables[split][t]->images, NAMES_MOST, name, strlen(name))) return true;
    }
  return false;
}

/* ---- messages -------------------------------------------------------------------------------------------------- */
static const char *all_of(const ebb_h5 *f, ebb_pool *pool)
{
  ebb_h5_list list = ebb_h5_datasets(f);
  const char *text = list.count ? "" : " no datasets";
  for (int i = 0; i < list.count && i < LISTED; i++)
    text = ebb_pool_text(pool, "%s\n  %.80s %s%s", text, list.at[i].path, ebb_h5_describe(&list.at[i], pool),
                         list.at[i].trouble ? " (cannot be read)" : "");
  if (list.count > LISTED) text = ebb_pool_text(pool, "%s\n  and %d more", text, list.count - LISTED);
  return text;
}

static ebb_status refuse_missing(const ebb_h5 *f, ebb_pool *pool, const char *what, const char *option)
{
  return ebb_fail(EBB_DATA, "%s: expected %s, found:%s\nhint: name the dataset with data.%s=NAME", ebb_h5_path(f), what,
                  all_of(f, pool), option);
}

static ebb_status refuse_doubt(const ebb_h5 *f, ebb_pool *pool, const char *what, const char *option,
                               const ebb_h5_dataset *a, const ebb_h5_dataset *b)
{
  return ebb_fail(EBB_DATA,
                  "%s: expected one dataset of %s, found two candidates, %s and %s, among:%s"
                  "\nhint: choose one with data.%s=%s",
                  ebb_h5_path(f), what, a->path, b->path, all_of(f, pool), option, a->path);
}

/* ---- the search ------------------------------------------------------------------------------------------------ */
static bool named(const ebb_h5_dataset *d, const scope *s, const char *wanted)
{
  const char *relative = d->path + strlen(s->group);
  return strcmp(d->path, wanted) == 0 || (*relative && strcmp(relative + 1, wanted) == 0) || strcmp(base_name(d->path), wanted) == 0;
}

static ebb_status find_wanted(const ebb_h5_dataset **found, const ebb_h5 *f, const scope *s, ebb_pool *pool,
                              const char *wanted, const char *option)
{
  ebb_h5_list list = ebb_h5_datasets(f);
  const char *names_there[LISTED] = {0};
  size_t names_count = 0;
  *found = NULL;
  for (int i = 0; i < list.count; i++) {
    const ebb_h5_dataset *d = &list.at[i];
    if (strcmp(d->path, wanted) == 0) return *found = d, EBB_OK;
    if (!inside(s, d->path)) continue;
    if (names_count < LISTED) names_there[names_count++] = base_name(d->path);
    if (!named(d, s, wanted)) continue;
    if (*found) return refuse_doubt(f, pool, ebb_pool_text(pool, "the name %s", wanted), option, *found, d);
    *found = d;
  }
  if (*found) return EBB_OK;
  const char *near = ebb_nearest(wanted, names_there, names_count);
  return refuse_missing(f, pool,
                        ebb_pool_text(pool, "a dataset %s (data.%s)%s%s%s", wanted, option,
                                      near ? " -- did you mean " : "", near ? near : "", near ? "?" : ""),
                        option);
}

/* One dataset of the scope by a table of names; NULL if there is none. */
static ebb_status find_named(const ebb_h5_dataset **found, const ebb_h5 *f, const scope *s, ebb_pool *pool,
                             const char *const *list_of_names, const char *what, const char *option)
{
  ebb_h5_list list = ebb_h5_datasets(f);
  *found = NULL;
  for (int i = 0; i < list.count; i++) {
    const ebb_h5_dataset *d = &list.at[i];
    const char *name = base_name(d->path);
    if (!inside(s, d->path) || !listed(list_of_names, NAMES_MOST, name, strlen(name))) continue;
    if (*found) return refuse_doubt(f, pool, what, option, *found, d);
    *found = d;
  }
  return EBB_OK;
}

/* The only readable dataset of the scope with `least` axes or more. */
static ebb_status find_only(const ebb_h5_dataset **found, const ebb_h5 *f, const scope *s, ebb_pool *pool)
{
  ebb_h5_list list = ebb_h5_datasets(f);
  *found = NULL;
  for (int i = 0; i < list.count; i++) {
    const ebb_h5_dataset *d = &list.at[i];
    if (!inside(s, d->path) || d->trouble || d->rank < s->least) continue;
    if (*found) return refuse_doubt(f, pool, "images", "raw", *found, d);
    *found = d;
  }
  return EBB_OK;
}

static ebb_status find_images(const ebb_h5_dataset **images, ebb_notes *notes, const ebb_h5 *f, const scope *s)
{
  for (int t = 0; tables[s->split][t]; t++) {
    EBB_TRY(find_named(images, f, s, notes->pool, tables[s->split][t]->images, "images", "raw"));
    if (*images) return ebb_note(notes, "%s:%s: images, by its name", ebb_h5_path(f), (*images)->path), EBB_OK;
  }
  EBB_TRY(find_only(images, f, s, notes->pool));
  if (!*images) return refuse_missing(f, notes->pool, "a dataset of images", "raw");
  ebb_note(notes, "%s:%s: images, as the only dataset with %s axes or more", ebb_h5_path(f), (*images)->path, s->least == 3 ? "three" : "two");
  return EBB_OK;
}

/* NULL if there are none. */
static ebb_status find_labels(const ebb_h5_dataset **labels, ebb_notes *notes, const ebb_h5 *f, const scope *s)
{
  *labels = NULL;
  for (int t = 0; tables[s->split][t] && !*labels; t++)
    EBB_TRY(find_named(labels, f, s, notes->pool, tables[s->split][t]->labels, "labels", "label"));
  if (*labels) ebb_note(notes, "%s:%s: labels, by its name", ebb_h5_path(f), (*labels)->path);
  return EBB_OK;
}

static ebb_status find_scope(scope *s, const ebb_h5 *f, ebb_pool *pool, const char *group, ebb_split split)
{
  const char *own = *group ? NULL : split_group(f, split, pool);
  size_t n = strlen(group);
  while (n && group[n - 1] == '/') n--;
  *s = (scope){.group = own ? own : "", .rest = !own && !*group, .split = split, .least = 3};
  if (n == 0) return EBB_OK;
  s->group = ebb_pool_text(pool, "%s%.*s", *group == '/' ? "" : "/", (int)n, group);
  ebb_h5_list list = ebb_h5_datasets(f);
  for (int i = 0; i < list.count; i++)
    if (under(list.at[i].path, s->group)) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected a group or dataset %s, found:%s\nhint: FILE.h5:GROUP names a group of the file, FILE.h5:DATASET a dataset",
                  ebb_h5_path(f), s->group, all_of(f, pool));
}

ebb_status ebb_layout_find_images(const ebb_h5_dataset **images, const ebb_h5_dataset **labels, ebb_notes *notes,
                                  const ebb_h5 *f, const char *group, ebb_split split, const char *raw, const char *label)
{
  scope s;
  EBB_TRY(find_scope(&s, f, notes->pool, group, split));
  EBB_TRY(*raw ? find_wanted(images, f, &s, notes->pool, raw, "raw") : find_images(images, notes, f, &s));
  return *label ? find_wanted(labels, f, &s, notes->pool, label, "label") : find_labels(labels, notes, f, &s);
}

ebb_status ebb_layout_find_density(const ebb_h5_dataset **images, ebb_notes *notes, const ebb_h5 *f, const char *group, ebb_split split,
                                   const char *raw)
{
  scope s;
  EBB_TRY(find_scope(&s, f, notes->pool, group, split));
  s.least = 2;
  return *raw ? find_wanted(images, f, &s, notes->pool, raw, "raw") : find_images(images, notes, f, &s);
}

ebb_status ebb_layout_find(const ebb_h5_dataset **images, const ebb_h5_dataset **labels, ebb_notes *notes,
                           const ebb_h5 *f, const char *group, ebb_split split, const char *raw, const char *label)
{
  EBB_TRY(ebb_layout_find_images(images, labels, notes, f, group, split, raw, label));
  return *labels ? EBB_OK : refuse_missing(f, notes->pool, "a dataset of labels", "label");
}
