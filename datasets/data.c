/* data.c -- opens sets: files are described, labels read, mean and standard deviation found; see datasets.h. */
#include "datasets/data.h"

#include <string.h>
#include <unistd.h>

#include "datasets/stats.h"
#include "datasets/tables.h"

void ebb_data_init(void)
{
  ebb_h5_init();
}

/* ---- one set --------------------------------------------------------------------------------------------------- */
void ebb_set_place(const char **file, const char **group, const char *text, ebb_pool *pool)
{
  const char *colon = strrchr(text, ':');
  bool whole = !colon || access(text, F_OK) == 0;
  *file = whole ? text : ebb_pool_text(pool, "%.*s", (int)(colon - text), text);
  *group = whole ? "" : colon + 1;
}

/* Labels, as many as there are samples. */
static ebb_status describe_labels(ebb_set *s, ebb_notes *notes, const ebb_h5 *f)
{
  const ebb_h5_dataset *x = s->images, *y = s->label_data;
  EBB_TRY(ebb_labels_describe(&s->encoding, notes, f, y));
  if (x->count == 0 || x->dims[0] == s->encoding.samples) return EBB_OK;
  return ebb_fail(EBB_DATA,
                  "%s: expected as many labels as images, found %llu images in %s %s and %llu labels in %s %s"
                  "\nhint: choose others with data.raw=NAME and data.label=NAME",
                  s->file, (unsigned long long)x->dims[0], x->path, ebb_h5_describe(x, notes->pool),
                  (unsigned long long)s->encoding.samples, y->path, ebb_h5_describe(y, notes->pool));
}

ebb_status ebb_set_describe(ebb_set *s, ebb_notes *notes, const ebb_h5 *f, const char *group, ebb_split split,
                            const ebb_data_options *o)
{
  const char *path = ebb_h5_path(f);
  *s = (ebb_set){.split = split, .file = path, .group = group};
  EBB_TRY(o->density ? ebb_layout_find_density(&s->images, notes, f, group, split, o->raw)
                     : ebb_layout_find(&s->images, &s->label_data, notes, f, group, split, o->raw, o->label));
  const ebb_h5_dataset *x = s->images;
  if (x->trouble) return ebb_fail(EBB_DATA, "%s:%s: expected images, but %s", path, x->path, x->trouble);
  if (s->label_data) EBB_TRY(describe_labels(s, notes, f));
  if (x->count == 0)
    return ebb_fail(EBB_DATA,
                    "%s:%s: expected samples, found an empty set, %s\nhint: choose another dataset with "
                    "data.raw=NAME",
                    path, x->path, ebb_h5_describe(x, notes->pool));
  EBB_TRY(ebb_layout_axes(&s->axes, notes, f, x, o->axes, o->density));
  s->samples = (uint32_t)x->dims[0];
  s->name = ebb_pool_text(notes->pool, "%s:%s", path, x->path);
  return EBB_OK;
}

ebb_status ebb_set_read_labels(ebb_set *s, ebb_h5 *f, int classes)
{
  EBB_TRY(ebb_arena_create(&s->memory, "labels", (size_t)s->samples * sizeof *s->label));
  s->label = ebb_arena_low(&s->memory, s->memory.size, EBB_USE_KEPT);
  return ebb_labels_read(s->label, f, s->label_data, &s->encoding, classes);
}

int ebb_set_classes(const ebb_set *s)
{
  int32_t most = 0;
  for (uint32_t i = 0; i < s->samples; i++)
    if (s->label[i] > most) most = s->label[i];
  return most < INT32_MAX ? most + 1 : most;
}

/* ---- classes --------------------------------------------------------------------------------------------------- */
/* Known before labels are read: given, or known from the training set, or the columns of one-hot labels. */
static int classes_known(const ebb_data_parts *p, const ebb_set *s)
{
  if (p->shown.classes) return p->shown.classes;
  return s->encoding.one_hot;
}

static void settle_classes(ebb_data_parts *p, const ebb_set *s)
{
  if (p->shown.classes) return;
  p->shown.classes = s->encoding.one_hot ? s->encoding.one_hot : ebb_set_classes(s);
  ebb_note(&p->notes, "%s: %d classes, %s (data.classes overrides)", s->file, p->shown.classes,
           s->encoding.one_hot ? "the columns of the one-hot labels" : "the largest label + 1");
}

/* ---- mean and standard deviation ------------------------------------------------------------------------------- */
static ebb_status check_given(const ebb_numbers *n, const char *key, int channels, bool positive)
{
  if (n->count > 1 && n->count != channels)
    return ebb_fail(EBB_CONFIG, "data.%s: expected one number or one for each of the %d channels, found %d", key,
                    channels, n->count);
  for (int i = 0; i < n->count; i++)
    if (positive && !(n->at[i] > 0))
      return ebb_fail(EBB_CONFIG, "data.%s: expected positive numbers, found %g", key, n->at[i]);
  return EBB_OK;
}

static double positive_std(ebb_data_parts *p, double std, int channel)
{
  if (std > 0) return std;
  ebb_note(&p->notes, "warning: channel %d is constant in the training set; it is not scaled", channel);
  return 1.0;
}

static void take_measured(ebb_data_parts *p, const ebb_stats *stats)
{
  ebb_data *d = &p->shown;
  bool common = stats->channels > EBB_LIST_MOST;
  ebb_channel all = ebb_stats_together(stats);
  int count = common ? 1 : stats->channels;
  if (common) ebb_note(&p->notes, "%d channels: one mean and standard deviation for all of them", stats->channels);
  for (int c = 0; c < count; c++) {
    const ebb_channel *k = common ? &all : &stats->channel[c];
    if (p->options.mean.count == 0) d->mean.at[c] = ebb_channel_mean(k);
    if (p->options.std.count == 0) d->std.at[c] = positive_std(p, ebb_channel_std(k), c);
  }
  if (p->options.mean.count == 0) d->mean.count = count;
  if (p->options.std.count == 0) d->std.count = count;
}

static const char *numbers_text(const ebb_numbers *n, ebb_pool *pool)
{
  const char *text = "";
  for (int i = 0; i < n->count; i++) text = ebb_pool_text(pool, "%s%s%.6g", text, i ? "," : "", n->at[i]);
  return text;
}

static void note_norm(ebb_data_parts *p, const ebb_set *s)
{
  ebb_data *d = &p->shown;
  const char *mean = numbers_text(&d->mean, &p->pool), *std = numbers_text(&d->std, &p->pool);
  ebb_note(&p->notes, "mean %s, std %s, %s", mean, std, d->measured ? "measured on the training set" : "as given");
  bool integers = !ebb_h5_is_float(s->images->kind);
  bool as_they_are = d->mean.at[0] == 0 && d->std.at[0] == 1;
  if (!d->measured && integers && !as_they_are && d->mean.at[0] <= 1 && d->std.at[0] <= 1)
    ebb_note(&p->notes, "warning: %s holds %s; mean and std are in its units (0..255), and these look like 0..1",
             s->name, s->images->type);
}

static ebb_status settle_norm(ebb_data_parts *p, ebb_h5 *f, const ebb_set *s)
{
  const ebb_data_options *o = &p->options;
  ebb_data *d = &p->shown;
  EBB_TRY(check_given(&o->mean, "mean", d->shape.c, false));
  EBB_TRY(check_given(&o->std, "std", d->shape.c, true));
  d->mean = o->mean;
  d->std = o->std;
  d->measured = o->mean.count == 0 || o->std.count == 0;
  if (d->measured && s->split != EBB_TRAIN_SET)
    return ebb_fail(EBB_CONFIG, "data.mean, data.std: expected the numbers of the training set, found none"
                                "\nhint: give data.train, or data.mean and data.std");
  if (d->measured) {
    ebb_stats stats;
    EBB_TRY(ebb_stats_measure(&stats, f, s->images, &s->axes, &p->pool));
    if (stats.bad) return ebb_stats_refuse(s->name, stats.bad_sample);
    take_measured(p, &stats);
  }
  p->norm = ebb_pool_take(&p->pool, (size_t)d->shape.c * sizeof *p->norm);
  for (int c = 0; c < d->shape.c; c++)
    p->norm[c] = (ebb_norm){d->mean.at[d->mean.count > 1 ? c : 0], d->std.at[d->std.count > 1 ? c : 0]};
  note_norm(p, s);
  return EBB_OK;
}

/* ---- both sets ------------------------------------------------------------------------------------------------- */
static ebb_status require_same_samples(const ebb_data_parts *p, const ebb_set *s)
{
  char a[EBB_SHAPE_TEXT], b[EBB_SHAPE_TEXT];
  if (p->shown.shape.rank == 0 || ebb_shape_equal(p->shown.shape, s->axes.shape)) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected samples of %s, as in %s, found %s\nhint: both sets must have the same shape",
                  s->name, ebb_shape_print(a, p->shown.shape), p->set[EBB_TRAIN_SET].name,
                  ebb_shape_print(b, s->axes.shape));
}

/* How many samples are shuffled together, and what a chunk that is too large costs. */
static void note_storage(ebb_data_parts *p, const ebb_set *s)
{
  const ebb_h5_dataset *x = s->images;
  size_t block = x->filtered ? (size_t)x->chunk[0] * ebb_count(s->axes.shape) * x->bytes : 0;
  ebb_note(&p->notes, "%s: %u samples of %s, %s", s->name, s->samples, x->type, x->storage);
  if (block > p->options.window && x->dims[0] > x->chunk[0])
    ebb_note(
        &p->notes,
        "warning: %s: its compressed chunks of %llu samples take %zu bytes, more than data.window; they are shuffled "
        "one by one, and smaller chunks (h5repack) would shuffle better",
        s->name, (unsigned long long)x->chunk[0], block);
}

static ebb_status open_set(ebb_data_parts *p, ebb_h5 *f, const char *group, ebb_split split)
{
  ebb_set *s = &p->set[split];
  EBB_TRY(ebb_set_describe(s, &p->notes, f, group, split, &p->options));
  EBB_TRY(require_same_samples(p, s));
  if (s->label_data) {
    EBB_TRY(ebb_set_read_labels(s, f, classes_known(p, s)));
    settle_classes(p, s);
  }
  if (p->options.density && split == EBB_TRAIN_SET && ebb_layout_table(&s->axes)) EBB_TRY(ebb_table_check(s, f, &p->notes));
  p->shown.shape = s->axes.shape;
  p->shown.samples[split] = s->samples;
  p->shown.name[split] = s->name;
  note_storage(p, s);
  return p->norm ? EBB_OK : settle_norm(p, f, s);
}

/* The validation set beside the training set: another dataset, or the run would be judged by what it has learnt. */
static ebb_status open_found_val(ebb_data_parts *p, ebb_h5 *f)
{
  EBB_TRY(open_set(p, f, "", EBB_VAL_SET));
  if (p->set[EBB_VAL_SET].images != p->set[EBB_TRAIN_SET].images) return EBB_OK;
  return ebb_fail(EBB_CONFIG,
                  "%s: expected a validation set of its own, found that data.raw=%s names the training set's images for both"
                  "\nhint: name the group, data.train=%s:GROUP and data.val=%s:GROUP, or leave data.raw out",
                  p->set[EBB_VAL_SET].name, p->options.raw, ebb_h5_path(f), ebb_h5_path(f));
}

static ebb_status open_train(ebb_data_parts *p)
{
  const char *file, *group;
  ebb_h5 *f;
  ebb_set_place(&file, &group, p->options.train, &p->pool);
  EBB_TRY(ebb_h5_open(&f, file, &p->pool));
  ebb_status status = open_set(p, f, group, EBB_TRAIN_SET);
  if (status == EBB_OK && !*p->options.val) {
    if (!*group && ebb_layout_has(f, EBB_VAL_SET, &p->pool))
      status = open_found_val(p, f);
    else
      ebb_note(&p->notes, "%s: no validation set; data.val names one", file);
  }
  ebb_h5_close(f);
  return status;
}

static ebb_status open_val(ebb_data_parts *p)
{
  const char *file, *group;
  ebb_h5 *f;
  ebb_set_place(&file, &group, p->options.val, &p->pool);
  EBB_TRY(ebb_h5_open(&f, file, &p->pool));
  ebb_status status = open_set(p, f, group, EBB_VAL_SET);
  ebb_h5_close(f);
  return status;
}

static ebb_status open_all(ebb_data_parts *p)
{
  const ebb_data_options *o = &p->options;
  if (!*o->train && !*o->val)
    return ebb_fail(EBB_CONFIG, "data.train: expected an HDF5 file, found nothing\nhint: give data.train=FILE.h5");
  EBB_TRY(ebb_volumes_meant(&p->shown.maps, *o->train ? o->train : o->val, o, &p->pool));
  if (p->shown.maps) return ebb_data_open_maps(p);
  if (*o->train) EBB_TRY(open_train(p));
  if (*o->val) EBB_TRY(open_val(p));
  return EBB_OK;
}

static const char *copy(const char *text, ebb_pool *pool)
{
  return text && *text ? ebb_pool_text(pool, "%s", text) : "";
}

static void copy_options(ebb_data_options *to, const ebb_data_options *o, ebb_pool *pool)
{
  *to = *o;
  to->train = copy(o->train, pool);
  to->val = copy(o->val, pool);
  to->raw = copy(o->raw, pool);
  to->label = copy(o->label, pool);
  to->axes = copy(o->axes, pool);
  to->shape = copy(o->shape, pool);
  to->patch = copy(o->patch, pool);
  to->label_map = copy(o->label_map, pool);
  to->group = copy(o->group, pool);
  to->augment.mirror = copy(o->augment.mirror, pool);
}

ebb_status ebb_data_open(ebb_data **data, const ebb_data_options *options)
{
  ebb_pool pool = {0};
  ebb_data_parts *p = EBB_POOL_NEW(&pool, ebb_data_parts);
  p->pool = pool;
  p->notes.pool = &p->pool;
  p->shown.name[EBB_TRAIN_SET] = p->shown.name[EBB_VAL_SET] = "";
  p->shown.classes = options->classes;
  p->shown.label_map = "";
  copy_options(&p->options, options, &p->pool);
  ebb_status status = open_all(p);
  p->shown.notes = p->notes.line;
  p->shown.note_count = p->notes.count;
  *data = &p->shown;
  if (status == EBB_OK) return EBB_OK;
  ebb_data_close(*data);
  *data = NULL;
  return status;
}

void ebb_data_close(ebb_data *data)
{
  if (!data) return;
  ebb_data_parts *p = (ebb_data_parts *)data;
  ebb_pool pool = p->pool; /* holds p itself */
  for (int i = 0; i < EBB_SPLITS; i++) ebb_arena_destroy(&p->set[i].memory);
  ebb_pool_clear(&pool);
}

/* ---- sizes as text --------------------------------------------------------------------------------------------- */
/* "40x56x40" -> at most `most` numbers from `least` up; how many, or -1 if the text is anything else. */
static int read_sizes(int *size, int most, int least, const char *text)
{
  int count = 0, length = 0, used = 0;
  for (;;) {
    if (count == most || sscanf(text + length, "%9d%n", &size[count], &used) != 1 || size[count] < least) return -1;
    length += used;
    count++;
    if (!text[length]) return count;
    if (text[length++] != 'x') return -1;
  }
}

ebb_status ebb_data_sizes_read(int size[3], const char *text, int rank, int least, const char *option)
{
  int found[3], count = read_sizes(found, 3, least, text);
  if (count != 1 && count != rank)
    return ebb_fail(EBB_CONFIG, "%s: expected one size of at least %d, or %d for %d-D data, such as %s, found \"%s\"", option, least, rank,
                    rank, rank == 3 ? "64x64x64" : rank == 2 ? "128x128" : "512", text);
  for (int i = 0; i < 3; i++) size[i] = i < 3 - rank ? least : found[count == 1 ? 0 : i - (3 - rank)];
  return EBB_OK;
}

ebb_status ebb_data_shape_read(ebb_shape *shape, const char *text)
{
  int size[4], count = read_sizes(size, 4, 1, text);
  if (count < 2)
    return ebb_fail(EBB_CONFIG,
                    "data.shape: expected one to three spatial sizes, then channels, found \"%s\""
                    "\nhint: 32x32x3 for colour images, 28x28x1 for grey ones, 64x64x64x1 for volumes",
                    text);
  *shape = (ebb_shape){.rank = count - 1, .n = 1, .d = 1, .h = 1, .w = size[count - 2], .c = size[count - 1]};
  if (count > 2) shape->h = size[count - 3];
  if (count > 3) shape->d = size[0];
  return EBB_OK;
}
