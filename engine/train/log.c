/* log.c -- see log.h. */
#define _GNU_SOURCE
#include "train/log.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

static const char header[] = "step,epoch,lr,loss,accuracy,grad_norm,step_seconds,val_loss,val_accuracy,val_top5,val_dice,skipped,held\n";

enum { PATH_SIZE = 4096, LINE_SIZE = 1024 };

static const char *in_folder(char path[PATH_SIZE], const ebb_log *log, const char *name)
{
  snprintf(path, PATH_SIZE, "%s/%s", log->folder, name);
  return path;
}

static ebb_status trouble(const char *path)
{
  return ebb_fail(EBB_IOERR, "%s: %s\nhint: is the disk full, or the folder no longer there?", path, strerror(errno));
}

/* ---- resuming ------------------------------------------------------------------------------------------------ */
/* The step of a line of either file; -1: none, a header. */
static long long step_of(const char *line)
{
  long long step;
  if (sscanf(line, "{\"step\": %lld", &step) == 1 || sscanf(line, "%lld,", &step) == 1) return step;
  return -1;
}

/* Keeps a file's lines up to `step`; it is put in place whole. */
static ebb_status trim(const char *path, uint64_t step, const char *first)
{
  ebb_pool       pool = {0};
  char           line[LINE_SIZE];
  ebb_bytes_part part = {first, strlen(first)};
  size_t         most = strlen(first) + 1;
  FILE          *f = step > 0 ? fopen(path, "r") : NULL;
  if (f) {
    while (fgets(line, sizeof line, f)) most += strlen(line);
    char *text = ebb_pool_take(&pool, most), *end = text;
    rewind(f);
    while (fgets(line, sizeof line, f))
      if (step_of(line) <= (long long)step) end = stpcpy(end, line);
    fclose(f);
    part = (ebb_bytes_part){text, (size_t)(end - text)};
  }
  ebb_status status = ebb_file_replace(path, &part, 1);
  ebb_pool_clear(&pool);
  return status;
}

ebb_status ebb_log_open(ebb_log *log, const char *folder, uint64_t step)
{
  char path[PATH_SIZE];
  log->folder = folder;
  EBB_TRY(trim(in_folder(path, log, "log.csv"), step, header));
  return trim(in_folder(path, log, "log.jsonl"), step, "");
}

/* ---- lines --------------------------------------------------------------------------------------------------- */
static ebb_status append(const char *path, const char *text)
{
  FILE *f = fopen(path, "a");
  if (!f) return trouble(path);
  bool good = fputs(text, f) >= 0;
  good = fclose(f) == 0 && good;
  return good ? EBB_OK : trouble(path);
}

/* What there is not is left empty. */
static void put(char line[LINE_SIZE], double v)
{
  size_t n = strlen(line);
  if (isnan(v)) snprintf(line + n, LINE_SIZE - n, ",");
  else snprintf(line + n, LINE_SIZE - n, "%.9g,", v);
}

static ebb_status add_csv(const ebb_log *log, const ebb_progress *p)
{
  char path[PATH_SIZE], line[LINE_SIZE];
  snprintf(line, sizeof line, "%" PRIu64 ",%" PRIu32 ",%.9g,%.9g,", p->step, p->epoch, p->lr, p->loss);
  put(line, p->accuracy);
  size_t n = strlen(line);
  snprintf(line + n, sizeof line - n, "%.9g,%.6g,", p->grad_norm, p->step_seconds);
  put(line, p->validated ? p->val_loss : NAN);
  put(line, p->validated ? p->val_accuracy : NAN);
  put(line, p->validated ? p->val_top5 : NAN);
  put(line, p->validated ? p->val_dice : NAN);
  n = strlen(line);
  snprintf(line + n, sizeof line - n, "%" PRIu64 ",%d\n", p->skipped, p->held);
  return append(in_folder(path, log, "log.csv"), line);
}

static json_t *number(double v)
{
  return isfinite(v) ? json_real(v) : json_null();
}

static ebb_status add_jsonl(const ebb_log *log, const ebb_progress *p)
{
  char    path[PATH_SIZE], line[LINE_SIZE];
  json_t *o = json_pack("{s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "step", (json_int_t)p->step, "epoch", (json_int_t)p->epoch,
                        "lr", number(p->lr), "loss", number(p->loss), "accuracy", number(p->accuracy), "grad_norm",
                        number(p->grad_norm), "step_seconds", number(p->step_seconds));
  if (p->skipped) json_object_set_new(o, "skipped", json_integer((json_int_t)p->skipped));
  if (p->held) json_object_set_new(o, "held", json_integer(p->held));
  if (p->drifted) {
    json_object_set_new(o, "drifted", json_string(p->drifted));
    json_object_set_new(o, "drift", number(p->drift));
  }
  if (p->validated) {
    json_object_set_new(o, "val_loss", number(p->val_loss));
    json_object_set_new(o, "val_accuracy", number(p->val_accuracy));
    json_object_set_new(o, "val_top5", number(p->val_top5));
    if (!isnan(p->val_dice)) json_object_set_new(o, "val_dice", number(p->val_dice));
  }
  size_t n = json_dumpb(o, line, sizeof line - 2, JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(9));
  json_decref(o);
  EBB_ASSERT(n <= sizeof line - 2, "a line of %zu bytes", n);
  memcpy(line + n, "\n", 2);
  return append(in_folder(path, log, "log.jsonl"), line);
}

ebb_status ebb_log_add(const ebb_log *log, const ebb_progress *p)
{
  EBB_TRY(add_csv(log, p));
  return add_jsonl(log, p);
}

/* ---- the dump -------------------------------------------------------------------------------------------------- */
static json_t *census(const ebb_real *v, size_t count)
{
  size_t bad = 0;
  double largest = 0;
  for (size_t i = 0; i < count; i++)
    if (!isfinite(v[i])) bad++;
    else largest = fmax(largest, fabs((double)v[i]));
  return json_pack("{s:I, s:f}", "nonfinite", (json_int_t)bad, "largest", largest);
}

ebb_status ebb_log_dump(const ebb_log *log, const ebb_trainer *t)
{
  const size_t flags = JSON_INDENT(1) | JSON_PRESERVE_ORDER;
  char         path[PATH_SIZE];
  ebb_pool     pool = {0};
  json_t      *params = json_array();
  for (const ebb_param *p = t->model->params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    json_t *gradients = t->plan.spans ? NULL : census(t->work.grads + p->offset, p->count); /* else they are gone */
    json_array_append_new(params, json_pack("{s:s, s:o, s:o*}", "name", p->name, "weights",
                                            census(t->work.weights + p->offset, p->count), "gradients", gradients));
  }
  json_t *o = json_pack("{s:I, s:I, s:I, s:s, s:o}", "step", (json_int_t)t->step, "epoch", (json_int_t)t->epoch, "cursor",
                        (json_int_t)t->cursor, "message", ebb_message(), "parameters", params);
  size_t         size = json_dumpb(o, NULL, 0, flags);
  char          *text = ebb_pool_take(&pool, size);
  ebb_bytes_part part = {text, json_dumpb(o, text, size, flags)};
  ebb_status     status = ebb_file_replace(in_folder(path, log, "nonfinite.json"), &part, 1);
  ebb_pool_clear(&pool);
  json_decref(o);
  return status;
}
