/* verb_predict.c -- `ebb predict`: labels or probabilities of whole volumes, as files and pictures. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/threads.h"
#include "build.h"
#include "datasets/predictions.h"
#include "predictor.h"
#include "print.h"
#include "slices.h"
#include "train/metrics.h"
#include "verb.h"

/* One of the worst volumes so far. */
typedef struct worst { double dice; const char *name; ebb_slices slices; } worst;

typedef struct session {
  const ebb_flags *flags;
  ebb_config      *config;
  ebb_scans       *scans;
  ebb_predictor    predictor;
  ebb_predictions *file;
  ebb_arena        memory;
  uint16_t        *classes;     /* (plane) */
  int32_t         *labels;      /* (plane) */
  ebb_metrics      all, one;    /* of all volumes, of the one at hand */
  ebb_slices       slices;
  worst           *worst;       /* (predict.overlays) the worst first */
  int              worst_count;
  int              i, sample;   /* the scan at hand, and its place in its file */
  json_t          *volumes;
} session;

#define PLANE_BYTES (sizeof(uint16_t) + sizeof(int32_t) + sizeof(float) + sizeof(int32_t)) /* here and in predictions.c */

/* ---- planes ---------------------------------------------------------------------------------------------------- */
static ebb_status compare(session *s, int at, size_t plane)
{
  const ebb_windows *w = &s->predictor.windows[s->i];
  int start[3] = {0}, size[3] = {w->volume[0], w->volume[1], w->volume[2]};
  start[w->outer] = at;
  size[w->outer] = 1;
  EBB_TRY(ebb_scans_labels(s->scans, s->labels, s->i, start, size));
  for (size_t i = 0; i < plane; i++)
    if (s->labels[i] == s->config->train.ignore) s->labels[i] = -1;
  ebb_metrics_add_classes(&s->all, s->predictor.classes, (uint64_t)s->i, s->classes, s->labels, plane);
  ebb_metrics_add_classes(&s->one, s->predictor.classes, (uint64_t)s->i, s->classes, s->labels, plane);
  return EBB_OK;
}

static ebb_status take_plane(session *s, int at, const float *q)
{
  size_t plane = ebb_predictor_plane(&s->predictor, s->i);
  ebb_predictor_classes(s->classes, q, s->predictor.model.out.c, plane);
  ebb_slices_add(&s->slices, s->predictor.windows[s->i].outer, at, s->classes);
  if (s->scans->at[s->i].labelled) EBB_TRY(compare(s, at, plane));
  return s->config->predict.output == EBB_PREDICT_LABELS ? ebb_predictions_labels(s->file, s->sample, at, s->classes)
                                                         : ebb_predictions_probabilities(s->file, s->sample, at, q);
}

static ebb_status take(void *context, int first, int count, const float *q)
{
  session *s = context;
  size_t plane = ebb_predictor_plane(&s->predictor, s->i) * (size_t)s->predictor.model.out.c;
  for (int at = 0; at < count; at++) EBB_TRY(take_plane(s, first + at, q + (size_t)at * plane));
  return EBB_OK;
}

/* ---- pictures -------------------------------------------------------------------------------------------------- */
static const char *picture_path(const session *s, const char *name)
{
  return ebb_pool_text(&s->config->pool, "%s/%s.png", s->config->predict.folder, name);
}

/* Keeps the slices if the volume is among the worst; s->slices is then empty. */
static void remember(session *s, double dice)
{
  int at = s->worst_count, most = s->config->predict.overlays;
  if (isnan(dice)) return;
  while (at > 0 && s->worst[at - 1].dice > dice) at--;
  if (at == most) return;
  if (s->worst_count == most) ebb_slices_clear(&s->worst[most - 1].slices);
  else s->worst_count++;
  memmove(&s->worst[at + 1], &s->worst[at], (size_t)(s->worst_count - at - 1) * sizeof *s->worst);
  s->worst[at] = (worst){dice, s->scans->at[s->i].name, s->slices};
  s->slices = (ebb_slices){0};
}

static ebb_status show_volume(session *s, double dice)
{
  if (s->config->predict.overlays == 0 || s->slices.count == 0) return EBB_OK;
  EBB_TRY(ebb_slices_finish(&s->slices, s->scans, s->i));
  if (s->i < s->config->predict.overlays)
    EBB_TRY(ebb_overlay_write(picture_path(s, ebb_pool_text(&s->config->pool, "%s_overlay", s->scans->at[s->i].name)), s->slices.at, s->slices.count));
  remember(s, dice);
  return EBB_OK;
}

static ebb_status show_worst(session *s)
{
  for (int i = 0; i < s->worst_count; i++) {
    const worst *k = &s->worst[i];
    const char  *path = picture_path(s, ebb_pool_text(&s->config->pool, "worst_%d", i + 1));
    EBB_TRY(ebb_overlay_write(path, k->slices.at, k->slices.count));
    if (!s->volumes) printf("wrote %s: %s, mean Dice %.4f\n", path, k->name, k->dice);
  }
  return EBB_OK;
}

/* ---- volumes and files ----------------------------------------------------------------------------------------- */
static void report_volume(session *s, double dice)
{
  const ebb_scan *v = &s->scans->at[s->i];
  if (s->volumes) {
    json_array_append_new(s->volumes, json_pack("{s:s, s:i, s:[i, i, i], s:o}", "file", v->file, "sample", (int)v->sample, "size", v->size[0], v->size[1],
                                                v->size[2], "mean_dice", ebb_json_number(dice)));
    return;
  }
  printf("%-32s %dx%dx%d", v->name, v->size[0], v->size[1], v->size[2]);
  if (!isnan(dice)) printf("   mean Dice %.4f", dice);
  putchar('\n');
}

static ebb_status predict_volume(session *s)
{
  double dice;
  s->one = (ebb_metrics){0};
  ebb_slices_begin(&s->slices, s->scans->at[s->i].size);
  EBB_TRY(ebb_predictor_run(&s->predictor, s->i, take, s, s->flags->quiet));
  ebb_metrics_finish(&s->one);
  dice = ebb_metrics_mean_dice(&s->one);
  report_volume(s, dice);
  return show_volume(s, dice);
}

/* How many scans from i on are of one file. */
static int samples_of(const ebb_scans *scans, int i)
{
  int n = 1;
  while (i + n < scans->count && strcmp(scans->at[i + n].file, scans->at[i].file) == 0) n++;
  return n;
}

static ebb_status predict_file(session *s, int first, int samples)
{
  const ebb_predict_options *o = &s->config->predict;
  const ebb_scan *scan = &s->scans->at[first];
  const char *path = ebb_predictions_path(o->folder, scan, &s->config->pool);
  int outputs = o->output == EBB_PREDICT_LABELS ? 0 : s->predictor.model.out.c;
  EBB_TRY(ebb_predictions_open(&s->file, path, s->scans, scan, samples, outputs));
  ebb_status status = EBB_OK;
  for (s->sample = 0; s->sample < samples && status == EBB_OK; s->sample++) {
    s->i = first + s->sample;
    status = predict_volume(s);
  }
  if (status == EBB_OK) status = ebb_predictions_commit(s->file);
  ebb_predictions_close(s->file);
  if (status == EBB_OK && !s->volumes) printf("wrote %s\n", path);
  return status;
}

static ebb_status predict_all(session *s)
{
  for (int i = 0; i < s->scans->count; i += samples_of(s->scans, i)) EBB_TRY(predict_file(s, i, samples_of(s->scans, i)));
  ebb_metrics_finish(&s->all);
  return show_worst(s);
}

/* ---- before anything is predicted ------------------------------------------------------------------------------ */
/* No file is written twice or replaced unasked; the samples of a file have one size. */
static ebb_status check_files(const session *s)
{
  ebb_pool  *pool = &s->config->pool;
  ebb_status status = EBB_OK;
  for (int i = 0; i < s->scans->count && status == EBB_OK; i += samples_of(s->scans, i)) {
    const ebb_scan *scan = &s->scans->at[i];
    const char *path = ebb_predictions_path(s->config->predict.folder, scan, pool);
    for (int j = 0; j < i && status == EBB_OK; j += samples_of(s->scans, j))
      if (strcmp(path, ebb_predictions_path(s->config->predict.folder, &s->scans->at[j], pool)) == 0)
        status = ebb_fail(EBB_USAGE, "%s and %s: expected files of different names, as both become %s\nhint: predict them one after the other, with "
                          "another predict.folder", s->scans->at[j].file, scan->file, path);
    for (int j = i; j < i + samples_of(s->scans, i) && status == EBB_OK; j++)
      if (memcmp(s->scans->at[j].size, scan->size, sizeof scan->size) != 0)
        status = ebb_fail(EBB_USAGE, "%s: expected one dataset of the file at a time, found two of different sizes", scan->file);
    if (status == EBB_OK && access(path, F_OK) == 0 && !s->flags->force)
      status = ebb_fail(EBB_CANTCREAT, "%s: expected no file, found one\nhint: --force replaces it, predict.folder=FOLDER goes elsewhere", path);
  }
  return status;
}

static ebb_status take_memory(session *s)
{
  size_t plane = 0;
  for (int i = 0; i < s->scans->count; i++)
    if (ebb_predictor_plane(&s->predictor, i) > plane) plane = ebb_predictor_plane(&s->predictor, i);
  EBB_TRY(ebb_arena_create(&s->memory, "planes", ebb_align(plane * sizeof *s->classes) + ebb_align(plane * sizeof *s->labels)));
  s->classes = ebb_arena_low(&s->memory, plane * sizeof *s->classes, EBB_USE_KEPT);
  s->labels = ebb_arena_low(&s->memory, plane * sizeof *s->labels, EBB_USE_KEPT);
  s->worst = ebb_pool_take(&s->config->pool, ((size_t)s->config->predict.overlays + 1) * sizeof *s->worst);
  return EBB_OK;
}

/* Words with '=' are options, the others places; none: the validation set of the training. */
static ebb_status open_scans(session *s, const char *const *places, int count)
{
  const ebb_config *c = s->config;
  ebb_shape x;
  if (count == 0 && !*c->data.val)
    return ebb_fail(EBB_USAGE, "predict: expected files to predict, found none\nhint: ebb predict CHECKPOINT.h5 FILE.h5, or a folder, or 'scans/s*.h5'");
  EBB_TRY(ebb_data_shape_read(&x, c->data.shape));
  EBB_TRY(ebb_scans_open(&s->scans, count ? places : &c->data.val, count ? count : 1, &c->data, x));
  for (int i = 0; i < s->scans->note_count && !s->flags->quiet; i++) fprintf(stderr, "data: %s\n", s->scans->notes[i]);
  return EBB_OK;
}

/* ---- the verb -------------------------------------------------------------------------------------------------- */
static int print_end(session *s)
{
  double dice = ebb_metrics_mean_dice(&s->all);
  if (!s->volumes) {
    for (int k = 1; k < s->all.classes; k++) printf("class %d: Dice %.4f\n", k, ebb_metrics_dice(&s->all, k));
    if (s->all.classes) printf("mean Dice %.4f\n", dice);
    return EBB_OK;
  }
  json_t *classes = json_array();
  for (int k = 0; k < s->all.classes; k++) json_array_append_new(classes, ebb_json_number(ebb_metrics_dice(&s->all, k)));
  return ebb_print_json(json_pack("{s:s, s:I, s:O, s:o, s:o}", "folder", s->config->predict.folder, "planned_bytes", (json_int_t)s->predictor.planned,
                                  "volumes", s->volumes, "dice", classes, "mean_dice", ebb_json_number(dice)));
}

static ebb_status work(session *s, const char *checkpoint)
{
  EBB_TRY(ebb_predictor_open(&s->predictor, s->config, checkpoint, s->scans, 0, PLANE_BYTES, s->flags->quiet));
  EBB_TRY(check_files(s));
  EBB_TRY(take_memory(s));
  EBB_TRY(ebb_folder_make(s->config->predict.folder));
  return predict_all(s);
}

static void finish(session *s)
{
  for (int i = 0; i < s->worst_count; i++) ebb_slices_clear(&s->worst[i].slices);
  ebb_slices_clear(&s->slices);
  ebb_arena_destroy(&s->memory);
  ebb_predictor_close(&s->predictor);
  ebb_scans_close(s->scans);
  json_decref(s->volumes);
}

static int predict(const ebb_flags *flags, ebb_config *c, const char *checkpoint, const char *const *places, int count)
{
  session s = {.flags = flags, .config = c, .volumes = flags->json ? json_array() : NULL};
  ebb_status status = ebb_predictor_check(c, checkpoint);
  if (status == EBB_OK) status = open_scans(&s, places, count);
  if (status == EBB_OK) status = work(&s, checkpoint);
  int code = status == EBB_OK ? print_end(&s) : ebb_verb_failed(status);
  finish(&s);
  return code;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  ebb_pool     pool = {0};
  ebb_config   c;
  char       **options = ebb_pool_take(&pool, (size_t)words.count * sizeof *options);
  const char **places = ebb_pool_take(&pool, (size_t)words.count * sizeof *places);
  int          option_count = 0, place_count = 0, code;
  for (int i = 1; i < words.count; i++) {
    if (strchr(words.at[i], '=')) options[option_count++] = words.at[i];
    else places[place_count++] = words.at[i];
  }
  ebb_status status = ebb_build_from_checkpoint(&c, words.at[0], options, option_count);
  if (status == EBB_OK) {
    ebb_threads_set(c.train.threads);
    code = predict(flags, &c, words.at[0], places, place_count);
    ebb_config_clear(&c);
  } else {
    code = ebb_verb_failed(status);
  }
  ebb_pool_clear(&pool);
  return code;
}

const ebb_verb ebb_verb_predict = {
  .name = "predict", .arguments = "CHECKPOINT.h5 [DATA ...] [key=value ...]", .summary = "Predicts label maps of whole volumes",
  .text = "DATA: FILE.h5, FILE.h5:GROUP, FOLDER or a pattern, with or without labels; none: data.val of the training. Each file's predictions are "
          "written to predict.folder as NAME_predictions.h5 with a dataset `predictions`, as pytorch-3dunet writes them, with overlays as PNG. A volume "
          "is predicted in one piece where the plan fits into memory (run.memory), else in sliding windows that overlap; the bytes are printed "
          "beforehand. data.raw, data.label and data.axes say what to read of other files than those of the training.",
  .flags = "json force quiet", .sections = "predict run", .least = 1, .run = run,
};
