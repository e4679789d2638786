/* check_maps.c -- what a set of label maps holds and what training on it would trip over; see ebb_data_check.
 * Owns: the report. It opens the set as training would: what that notes and refuses is the report. */
#include "datasets/check_maps.h"

#include <string.h>

#include "datasets/data.h"

enum { SHOWN = 20 }; /* samples named in the text */

static json_t *sample_json(const ebb_volume *v, int channels)
{
  json_t *mean = json_array(), *std = json_array();
  for (int c = 0; c < channels; c++) {
    json_array_append_new(mean, json_real(v->mean[c]));
    json_array_append_new(std, json_real(v->std[c]));
  }
  return json_pack("{s:s, s:s, s:s, s:I, s:[i, i, i], s:o, s:o, s:b}", "file", v->stack->file, "raw", v->stack->raw->path, "label",
                   v->stack->label->path, "sample", (json_int_t)v->sample, "size", v->size[0], v->size[1], v->size[2], "mean", mean,
                   "std", std, "foreground", v->foreground_count > 0);
}

static json_t *report_of(const ebb_data *d, int batch)
{
  const ebb_volumes *v = &ebb_data_inside(d)->maps[EBB_TRAIN_SET].volumes;
  json_t *notes = json_array(), *samples = json_array();
  for (int i = 0; i < d->note_count; i++) json_array_append_new(notes, json_string(d->notes[i]));
  for (int i = 0; i < v->count; i++) json_array_append_new(samples, sample_json(&v->at[i], v->channels));
  return json_pack("{s:s, s:i, s:i, s:i, s:s, s:o, s:o, s:I, s:b}", "task", "segmentation", "dimensions", v->rank, "channels", v->channels,
                   "classes", d->classes, "label_map", d->label_map, "notes", notes, "samples", samples, "batches_bytes",
                   (json_int_t)ebb_data_train_bytes(d, batch), "ok", true);
}

static void print(FILE *f, const char *path, const ebb_data *d, int batch)
{
  const ebb_volumes *v = &ebb_data_inside(d)->maps[EBB_TRAIN_SET].volumes;
  fprintf(f, "%s\n", path);
  for (int i = 0; i < d->note_count; i++) fprintf(f, "    %s\n", d->notes[i]);
  for (int i = 0; i < v->count && i < SHOWN; i++) {
    const ebb_volume *x = &v->at[i];
    fprintf(f, "    %s:%s sample %u: %dx%dx%d, mean %.6g, std %.6g%s\n", x->stack->file, x->stack->raw->path, x->sample, x->size[0],
            x->size[1], x->size[2], x->mean[0], x->std[0], x->foreground_count ? "" : ", no foreground");
  }
  if (v->count > SHOWN) fprintf(f, "    and %d more\n", v->count - SHOWN);
  fprintf(f, "    memory for batches of %d patches: %zu bytes\nready for training\n", batch, ebb_data_train_bytes(d, batch));
}

ebb_status ebb_data_check_maps(json_t **report, FILE *text, const char *path, const ebb_data_options *options, int batch)
{
  ebb_data *d;
  ebb_data_options o = *options;
  o.train = path;
  o.val = "";
  ebb_status status = ebb_data_open(&d, &o);
  if (status != EBB_OK) {
    if (text) fprintf(text, "%s\ntrouble: %s\n", path, ebb_message());
    if (report) *report = json_pack("{s:s, s:b, s:[s]}", "task", "segmentation", "ok", false, "problems", ebb_message());
    return status;
  }
  if (text) print(text, path, d, batch);
  if (report) *report = report_of(d, batch);
  ebb_data_close(d);
  return EBB_OK;
}
