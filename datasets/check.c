/* check.c -- what a file holds and what training on it would trip over; see datasets.h.
 * Owns: the report. It is made as JSON, and the text is made from that. Must not know: how training goes. */
#include <string.h>

#include "datasets/check_maps.h"
#include "datasets/data.h"
#include "datasets/stats.h"
#include "datasets/tables.h"

typedef struct checking {
  ebb_data_options options; /* density: the file has no labels         */
  int batch;
  ebb_pool pool;
  ebb_h5 *file;
  json_t *report, *problems;
  ebb_data_parts found; /* the sets, as training would see them */
  ebb_status status;    /* of the first trouble                 */
  const char *message;
} checking;

/* ---- the report ------------------------------------------------------------------------------------------------ */
static void put(json_t *object, const char *key, json_t *value)
{
  json_object_set_new(object, key, value ? value : json_null());
}

/* Names in files need not be UTF-8; what is not becomes null. */
static void put_text(json_t *object, const char *key, const char *text)
{
  put(object, key, text ? json_string(text) : NULL);
}

static void put_count(json_t *object, const char *key, uint64_t count)
{
  put(object, key, json_integer((json_int_t)count));
}

static void trouble(checking *c, ebb_status status)
{
  if (status == EBB_OK) return;
  const char *message = ebb_pool_text(&c->pool, "%s", ebb_message());
  json_array_append_new(c->problems, json_string(message));
  if (c->status == EBB_OK) c->status = status, c->message = message;
}

/* ---- the file's datasets --------------------------------------------------------------------------------------- */
static json_t *sizes(const uint64_t *dims, int rank)
{
  json_t *list = json_array();
  for (int i = 0; i < rank; i++) json_array_append_new(list, json_integer((json_int_t)dims[i]));
  return list;
}

static json_t *dataset_report(const ebb_h5_dataset *d)
{
  json_t *o = json_object();
  put_text(o, "path", d->path);
  put(o, "shape", sizes(d->dims, d->rank));
  put_text(o, "type", d->type);
  put_text(o, "storage", d->storage);
  put(o, "chunk", d->chunked ? sizes(d->chunk, d->rank) : NULL);
  put_count(o, "stored_bytes", d->stored);
  put_text(o, "axes", d->axes);
  put_text(o, "trouble", d->trouble);
  return o;
}

static void report_datasets(checking *c)
{
  ebb_h5_list list = ebb_h5_datasets(c->file);
  json_t *all = json_array();
  for (int i = 0; i < list.count; i++) json_array_append_new(all, dataset_report(&list.at[i]));
  put(c->report, "datasets", all);
}

/* ---- one set --------------------------------------------------------------------------------------------------- */
static json_t *channel_report(const ebb_channel *k)
{
  json_t *o = json_object();
  put(o, "min", json_real(k->min));
  put(o, "max", json_real(k->max));
  put(o, "mean", json_real(ebb_channel_mean(k)));
  put(o, "std", json_real(ebb_channel_std(k)));
  put_count(o, "nan", k->nan);
  put_count(o, "inf", k->inf);
  return o;
}

static void report_images(checking *c, const ebb_set *s, json_t *o)
{
  ebb_stats stats;
  ebb_status status = ebb_stats_measure(&stats, c->file, s->images, &s->axes, &c->pool);
  trouble(c, status);
  if (status != EBB_OK) return;
  json_t *channels = json_array();
  for (int i = 0; i < stats.channels; i++) json_array_append_new(channels, channel_report(&stats.channel[i]));
  put(o, "channels", channels);
  if (ebb_layout_table(&s->axes) && s->split == EBB_TRAIN_SET && c->options.density) {
    ebb_notes quiet = {.pool = &c->pool};
    trouble(c, ebb_table_check(s, c->file, &quiet));
  } else if (stats.bad) trouble(c, ebb_stats_refuse(s->name, stats.bad_sample));
}

#define CLASSES_SHOWN 10000

static void report_labels(checking *c, ebb_set *s, json_t *o)
{
  ebb_data *d = &c->found.shown;
  ebb_status status = ebb_set_read_labels(s, c->file, d->classes ? d->classes : s->encoding.one_hot);
  trouble(c, status);
  if (status != EBB_OK) return;
  if (!d->classes) d->classes = s->encoding.one_hot ? s->encoding.one_hot : ebb_set_classes(s);
  put_count(o, "classes", (uint64_t)d->classes);
  if (d->classes > CLASSES_SHOWN) return;
  uint64_t *count = ebb_pool_take(&c->pool, (size_t)d->classes * sizeof *count);
  for (uint32_t i = 0; i < s->samples; i++) count[s->label[i]]++;
  put(o, "label_counts", sizes(count, d->classes));
}

static void report_choice(checking *c, const ebb_set *s, json_t *o)
{
  char text[EBB_SHAPE_TEXT];
  char *lines = ebb_pool_text(&c->pool, "%s", ebb_shape_print(text, s->axes.shape));
  put_text(o, "images", s->images->path);
  put_text(o, "labels", s->label_data ? s->label_data->path : NULL);
  put_text(o, "axes", s->axes.letters);
  put_text(o, "sample", lines);
  put_count(o, "samples", s->samples);
}

static void report_memory(checking *c, const ebb_set *s, json_t *o)
{
  ebb_data *d = &c->found.shown;
  d->shape = s->axes.shape;
  put_count(o, "batch", (uint64_t)c->batch);
  put_count(o, "batches_bytes",
            s->split == EBB_TRAIN_SET ? ebb_data_train_bytes(d, c->batch) : ebb_data_eval_bytes(d, s->split, c->batch));
}

static void compare_shape(checking *c, const ebb_set *s)
{
  const ebb_set *train = &c->found.set[EBB_TRAIN_SET];
  char a[EBB_SHAPE_TEXT], b[EBB_SHAPE_TEXT];
  if (s == train || !train->name || ebb_shape_equal(train->axes.shape, s->axes.shape)) return;
  trouble(c, ebb_fail(EBB_DATA, "%s: expected samples of %s, as in %s, found %s", s->name,
                      ebb_shape_print(a, train->axes.shape), train->name, ebb_shape_print(b, s->axes.shape)));
}

static json_t *note_list(const ebb_notes *notes)
{
  json_t *list = json_array();
  for (int i = 0; i < notes->count; i++) json_array_append_new(list, json_string(notes->line[i]));
  return list;
}

static json_t *set_report(checking *c, const char *group, ebb_split split)
{
  ebb_notes notes = {.pool = &c->pool};
  ebb_set *s = &c->found.set[split];
  json_t *o = json_object();
  ebb_status status = ebb_set_describe(s, &notes, c->file, group, split, &c->options);
  put_text(o, "set", split == EBB_TRAIN_SET ? "train" : "val");
  trouble(c, status);
  if (status == EBB_OK) {
    report_choice(c, s, o);
    compare_shape(c, s);
    if (s->label_data) report_labels(c, s, o);
    report_images(c, s, o);
    if (s->label || !s->label_data) report_memory(c, s, o);
  }
  put(o, "notes", note_list(&notes));
  return o;
}

/* A file that holds a set for validation and nothing else is not one that lacks a training set. */
static bool only_val(checking *c)
{
  ebb_notes notes = {.pool = &c->pool};
  ebb_set s;
  return !ebb_layout_has(c->file, EBB_TRAIN_SET, &c->pool) && ebb_layout_has(c->file, EBB_VAL_SET, &c->pool) &&
         ebb_set_describe(&s, &notes, c->file, "", EBB_TRAIN_SET, &c->options) != EBB_OK;
}

/* Images or a table that nothing in the file labels: for a density. Doubts about labels are none about that. */
static bool without_labels(checking *c, const char *group)
{
  const ebb_data_options *o = &c->options;
  const ebb_h5_dataset   *x, *y;
  ebb_notes               quiet = {.pool = &c->pool};
  if (*o->label) return false;
  if (ebb_layout_find_images(&x, &y, &quiet, c->file, group, EBB_TRAIN_SET, o->raw, "") == EBB_OK) return !y;
  return ebb_layout_find_density(&x, &quiet, c->file, group, EBB_TRAIN_SET, o->raw) == EBB_OK && x->rank == 2;
}

static void report_sets(checking *c, const char *group)
{
  json_t *sets = json_array();
  bool val = !*group && ebb_layout_has(c->file, EBB_VAL_SET, &c->pool);
  if (!val || !only_val(c)) json_array_append_new(sets, set_report(c, group, EBB_TRAIN_SET));
  if (val) json_array_append_new(sets, set_report(c, group, EBB_VAL_SET));
  put(c->report, "sets", sets);
}

/* ---- the text -------------------------------------------------------------------------------------------------- */
static const char *string_of(const json_t *o, const char *key)
{
  const char *text = json_string_value(json_object_get(o, key));
  return text ? text : "";
}

static long long integer_of(const json_t *o, const char *key)
{
  return json_integer_value(json_object_get(o, key));
}

static double real_of(const json_t *o, const char *key)
{
  return json_real_value(json_object_get(o, key));
}

static void print_sizes(FILE *f, const json_t *list, const char *between)
{
  for (size_t i = 0; i < json_array_size(list); i++)
    fprintf(f, "%s%lld", i ? between : "", (long long)json_integer_value(json_array_get(list, i)));
}

static void print_dataset(FILE *f, const json_t *o)
{
  fprintf(f, "  %s  (", string_of(o, "path"));
  print_sizes(f, json_object_get(o, "shape"), ", ");
  fprintf(f, ") %s, %s\n", string_of(o, "type"), string_of(o, "storage"));
  if (*string_of(o, "trouble")) fprintf(f, "    cannot be read: %s\n", string_of(o, "trouble"));
}

#define LABELS_SHOWN 20

static void print_labels(FILE *f, const json_t *o)
{
  const json_t *counts = json_object_get(o, "label_counts");
  size_t n = json_array_size(counts);
  if (n == 0) return;
  fprintf(f, "    labels %s, %lld classes, samples of each:", string_of(o, "labels"), integer_of(o, "classes"));
  for (size_t i = 0; i < n && i < LABELS_SHOWN; i++)
    fprintf(f, " %lld", (long long)json_integer_value(json_array_get(counts, i)));
  fprintf(f, n > LABELS_SHOWN ? " ...\n" : "\n");
}

static void print_set(FILE *f, const json_t *o)
{
  size_t i;
  const json_t *x;
  fprintf(f, "%s set\n", string_of(o, "set"));
  json_array_foreach(json_object_get(o, "notes"), i, x) fprintf(f, "    %s\n", json_string_value(x));
  if (!*string_of(o, "images")) return;
  fprintf(f, "    %lld samples of %s, %s, axes %s\n", integer_of(o, "samples"), string_of(o, "sample"),
          string_of(o, "images"), string_of(o, "axes"));
  json_array_foreach(json_object_get(o, "channels"), i, x)
      fprintf(f, "    channel %zu: %.6g to %.6g, mean %.6g, std %.6g, %lld NaN, %lld Inf\n", i, real_of(x, "min"),
              real_of(x, "max"), real_of(x, "mean"), real_of(x, "std"), integer_of(x, "nan"), integer_of(x, "inf"));
  print_labels(f, o);
  if (integer_of(o, "batch"))
    fprintf(f, "    memory for batches of %lld: %lld bytes\n", integer_of(o, "batch"), integer_of(o, "batches_bytes"));
}

static void print(FILE *f, const json_t *report)
{
  size_t i;
  const json_t *x;
  fprintf(f, "%s\n", string_of(report, "file"));
  json_array_foreach(json_object_get(report, "datasets"), i, x) print_dataset(f, x);
  json_array_foreach(json_object_get(report, "sets"), i, x) print_set(f, x);
  json_array_foreach(json_object_get(report, "problems"), i, x) fprintf(f, "trouble: %s\n", json_string_value(x));
  if (json_is_true(json_object_get(report, "ok"))) fprintf(f, "ready for training\n");
}

/* ---- the whole ------------------------------------------------------------------------------------------------- */
static void make_report(checking *c, const char *file, const char *group)
{
  c->report = json_object();
  c->problems = json_array();
  c->options.density = without_labels(c, group);
  c->found.options = c->options;
  c->found.shown.classes = c->options.classes;
  put_text(c->report, "file", file);
  report_datasets(c);
  report_sets(c, group);
  put(c->report, "problems", c->problems);
  put(c->report, "ok", json_boolean(c->status == EBB_OK));
}

static void finish(checking *c)
{
  for (int i = 0; i < EBB_SPLITS; i++) ebb_arena_destroy(&c->found.set[i].memory);
  ebb_h5_close(c->file);
  json_decref(c->report);
  ebb_pool_clear(&c->pool);
}

ebb_status ebb_data_check(json_t **report, FILE *text, const char *path, const ebb_data_options *options, int batch)
{
  checking c = {.options = *options, .batch = batch};
  const char *file, *group;
  bool maps = false;
  if (report) *report = NULL;
  if (ebb_volumes_meant(&maps, path, options, &c.pool) == EBB_OK && maps) {
    ebb_pool_clear(&c.pool);
    return ebb_data_check_maps(report, text, path, options, batch);
  }
  ebb_set_place(&file, &group, path, &c.pool);
  ebb_status status = ebb_h5_open(&c.file, file, &c.pool);
  if (status == EBB_OK) {
    make_report(&c, file, group);
    if (text) print(text, c.report);
    if (report) *report = json_incref(c.report);
    status = c.status;
  }
  if (c.message) ebb_fail(c.status, "%s", c.message);
  finish(&c);
  return status;
}
