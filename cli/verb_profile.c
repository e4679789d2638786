/* verb_profile.c -- `ebb profile`: the same training steps under reverse, store, checkpoint and auto, side by side; or a sweep.
 * Each mode runs in a process of its own, one after the other, so that the system's peak of memory is that mode's. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"
#include "build.h"
#include "measure.h"
#include "print.h"
#include "report.h"
#include "spawn.h"
#include "sweep.h"
#include "verb.h"

enum { SECONDS_MOST = 4096, WORDS_MOST = 200, MIB = 1 << 20 };

typedef struct row {
  bool        wanted;
  json_t     *answer;                 /* of the mode's last child                      */
  double      seconds[SECONDS_MOST];  /* of all children                               */
  int         count;
  double      median, least, most;
  bool        same;                   /* weights, momenta, statistics as under store   */
} row;

enum { MODES = EBB_POLICIES + 1 }; /* and auto */

typedef struct profile {
  ebb_config      *config;
  const ebb_flags *flags;
  ebb_words        words;
  ebb_model        model;
  ebb_shape        x;
  int              order[MODES], modes;
  row              rows[MODES];
} profile;

/* ---- which modes ---------------------------------------------------------------------------------------------- */
static ebb_status mode_read(int *mode, const char *word)
{
  for (int i = 0; i < MODES; i++)
    if (strcmp(ebb_policy_names[i], word) == 0) {
      *mode = i;
      return EBB_OK;
    }
  const char *near = ebb_nearest(word, ebb_policy_names, MODES);
  return ebb_fail(EBB_USAGE, "--modes: expected reverse, store, checkpoint or auto, found '%s'%s%s%s", word,
                  near ? "\nhint: did you mean " : "", near ? near : "", near ? "?" : "");
}

static ebb_status modes_read(profile *p, const char *text)
{
  char word[64];
  while (*text) {
    size_t length = strcspn(text, ",");
    int    mode;
    snprintf(word, sizeof word, "%.*s", (int)length, text);
    EBB_TRY(mode_read(&mode, word));
    if (!p->rows[mode].wanted) p->order[p->modes++] = mode;
    p->rows[mode].wanted = true;
    text += length + (text[length] == ',');
  }
  return p->modes ? EBB_OK : ebb_fail(EBB_USAGE, "--modes: expected reverse, store, checkpoint or auto, found nothing");
}

/* ---- running -------------------------------------------------------------------------------------------------- */
/* With one more word behind the others, or NULL. */
static ebb_status measure_child(json_t **answer, int mode, const char *word, void *context)
{
  const profile *p = context;
  const char    *arguments[WORDS_MOST + 10] = {"profile"};
  bool           course = !*p->flags->sweep && (p->flags->json || *p->flags->png);
  ebb_pool      *pool = &p->config->pool;
  int            count = 1;
  if (p->words.count > WORDS_MOST) return ebb_fail(EBB_USAGE, "expected at most %d words", WORDS_MOST);
  arguments[count++] = ebb_pool_text(pool, "--child=%s", ebb_policy_names[mode]);
  arguments[count++] = ebb_pool_text(pool, "--steps=%d", p->flags->steps);
  arguments[count++] = ebb_pool_text(pool, "--warmup=%d", p->flags->warmup);
  if (course) arguments[count++] = "--json"; /* a child always answers so: with the course of a step, which takes another */
  arguments[count++] = "--";
  for (int i = 0; i < p->words.count; i++) arguments[count++] = p->words.at[i];
  arguments[count] = word;
  return ebb_spawn_json(answer, NULL, arguments);
}

static ebb_status measure_mode(profile *p, int mode)
{
  row *r = &p->rows[mode];
  json_decref(r->answer);
  r->answer = NULL;
  EBB_TRY(measure_child(&r->answer, mode, NULL, p));
  json_t *seconds = json_object_get(r->answer, "step_seconds");
  for (size_t i = 0; i < json_array_size(seconds) && r->count < SECONDS_MOST; i++)
    r->seconds[r->count++] = json_number_value(json_array_get(seconds, i));
  return EBB_OK;
}

static const char *weights_of(const row *r)
{
  const char *hash = r->answer ? json_string_value(json_object_get(r->answer, "weights")) : NULL;
  return hash ? hash : "";
}

static void summarise(profile *p)
{
  for (int i = 0; i < p->modes; i++) {
    row *r = &p->rows[p->order[i]];
    r->median = ebb_median(r->seconds, r->count);
    r->least = r->seconds[0];
    r->most = r->seconds[r->count - 1];
    r->same = strcmp(weights_of(r), weights_of(&p->rows[EBB_STORE])) == 0;
  }
}

static ebb_status measure_all(profile *p)
{
  for (int round = 0; round < p->flags->repeat; round++)
    for (int i = 0; i < p->modes; i++) EBB_TRY(measure_mode(p, p->order[i]));
  summarise(p);
  return EBB_OK;
}

/* ---- telling -------------------------------------------------------------------------------------------------- */
static size_t bytes_of(const row *r, const char *key)
{
  return (size_t)json_integer_value(json_object_get(r->answer, key));
}

/* Compared with store only where store ran. */
static json_t *same_json(const profile *p, const row *r)
{
  return p->rows[EBB_STORE].wanted ? json_boolean(r->same) : json_null();
}

static json_t *mode_json(const profile *p, const row *r)
{
  return json_pack("{s:f, s:f, s:O, s:I, s:I, s:I, s:O, s:O, s:o}", "step_seconds", r->median, "step_seconds_spread", r->most - r->least,
                   "forward_seconds", json_object_get(r->answer, "forward_seconds"), "peak_bytes",
                   (json_int_t)bytes_of(r, "peak_bytes"), "planned_bytes", (json_int_t)bytes_of(r, "planned_bytes"), "rss_bytes",
                   (json_int_t)bytes_of(r, "rss_bytes"), "course", json_object_get(r->answer, "course"), "reconstruction_max_error",
                   json_object_get(r->answer, "reconstruction_max_error"), "weights_bits_equal_to_store", same_json(p, r));
}

static int print_json(const profile *p)
{
  json_t *modes = json_object();
  for (int i = 0; i < p->modes; i++)
    json_object_set_new(modes, ebb_policy_names[p->order[i]], mode_json(p, &p->rows[p->order[i]]));
  return ebb_print_json(json_pack("{s:s, s:i, s:o, s:i, s:I, s:i, s:o}", "model", p->model.name, "batch", p->x.n, "shape",
                                  ebb_json_shape(p->x), "threads", ebb_threads(), "parameters",
                                  (json_int_t)p->model.weights, "steps", p->flags->steps * p->flags->repeat, "modes", modes));
}

typedef void (*cell)(char text[64], const profile *p, const row *r);

static void cell_step(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%.4f s", r->median);
}
static void cell_spread(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%.4f..%.4f", r->least, r->most);
}
static void cell_ratio(char text[64], const profile *p, const row *r)
{
  const row *store = &p->rows[EBB_STORE];
  if (store->wanted) snprintf(text, 64, "%.2f", r->median / store->median);
  else strcpy(text, "-");
}
static void cell_forward(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%.4f s", json_number_value(json_object_get(r->answer, "forward_seconds")));
}
static void cell_peak(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%zu", bytes_of(r, "peak_bytes"));
}
static void cell_planned(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%zu", bytes_of(r, "planned_bytes"));
}
static void cell_mib(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%.1f MiB", (double)bytes_of(r, "peak_bytes") / MIB);
}
static void cell_resident(char text[64], const profile *p, const row *r)
{
  (void)p;
  snprintf(text, 64, "%.1f MiB", (double)bytes_of(r, "rss_bytes") / MIB);
}
static void cell_error(char text[64], const profile *p, const row *r)
{
  const json_t *error = json_object_get(r->answer, "reconstruction_max_error");
  (void)p;
  if (r != &p->rows[EBB_REVERSE]) strcpy(text, "-");
  else if (json_is_number(error)) snprintf(text, 64, "%g", json_number_value(error));
  else snprintf(text, 64, "%s", json_is_string(error) ? json_string_value(error) : "-");
}
static void cell_same(char text[64], const profile *p, const row *r)
{
  bool rounds = (r == &p->rows[EBB_REVERSE] || r == &p->rows[EBB_AUTO]) && p->config->network->flow != EBB_NO_FLOW;
  strcpy(text, !p->rows[EBB_STORE].wanted ? "-" : r->same ? "yes" : rounds ? "but rounding" : "NO");
}

static const struct { const char *name; cell show; } lines[] = {
  {"step, median", cell_step},
  {"step, least..most", cell_spread},
  {"step, ratio to store", cell_ratio},
  {"forward alone", cell_forward},
  {"peak memory", cell_mib},
  {"peak bytes, observed", cell_peak},
  {"peak bytes, planned", cell_planned},
  {"process RSS", cell_resident},
  {"reconstruction error", cell_error},
  {"bits equal to store", cell_same},
};
enum { LINES = sizeof lines / sizeof *lines };

static void print_table(FILE *out, const profile *p, const char *name_format, const char *cell_format)
{
  char text[64];
  fprintf(out, name_format, "");
  for (int i = 0; i < p->modes; i++) fprintf(out, cell_format, ebb_policy_names[p->order[i]]);
  fputc('\n', out);
  for (int k = 0; k < LINES; k++) {
    fprintf(out, name_format, lines[k].name);
    for (int i = 0; i < p->modes; i++) {
      lines[k].show(text, p, &p->rows[p->order[i]]);
      fprintf(out, cell_format, text);
    }
    fputc('\n', out);
  }
}

static int print_human(const profile *p)
{
  char shape[EBB_SHAPE_TEXT];
  printf("%s, %zu parameters, batch %d of %s, %d threads, %d steps each\n\n", p->model.name, p->model.weights, p->x.n,
         ebb_shape_print(shape, p->x), ebb_threads(), p->flags->steps * p->flags->repeat);
  print_table(stdout, p, "%-22s", " | %18s");
  return EBB_OK;
}

static ebb_status write_csv(const profile *p)
{
  FILE *f = fopen(p->flags->csv, "w");
  if (!f) return ebb_fail(EBB_CANTCREAT, "%s: expected to create the file, found: %s", p->flags->csv, strerror(errno));
  fputs("mode,step_seconds,step_seconds_spread,forward_seconds,peak_bytes,planned_bytes,rss_bytes,bits_equal_to_store\n", f);
  for (int i = 0; i < p->modes; i++) {
    const row *r = &p->rows[p->order[i]];
    fprintf(f, "%s,%.6f,%.6f,%.6f,%zu,%zu,%zu,%s\n", ebb_policy_names[p->order[i]], r->median, r->most - r->least,
            json_number_value(json_object_get(r->answer, "forward_seconds")), bytes_of(r, "peak_bytes"),
            bytes_of(r, "planned_bytes"), bytes_of(r, "rss_bytes"), !p->rows[EBB_STORE].wanted ? "" : r->same ? "true" : "false");
  }
  return fclose(f) == 0 ? EBB_OK : ebb_fail(EBB_IOERR, "%s: writing failed: %s", p->flags->csv, strerror(errno));
}

static double *numbers(const json_t *list, double unit, ebb_pool *pool)
{
  size_t  count = json_array_size(list);
  double *values = ebb_pool_take(pool, count * sizeof *values);
  for (size_t i = 0; i < count; i++) values[i] = json_number_value(json_array_get(list, i)) / unit;
  return values;
}

static ebb_report_course course_of(const profile *p, const row *r)
{
  const json_t *seconds = json_object_get(json_object_get(r->answer, "course"), "seconds");
  const json_t *bytes = json_object_get(json_object_get(r->answer, "course"), "bytes");
  ebb_pool     *pool = &p->config->pool;
  return (ebb_report_course){numbers(seconds, 1, pool), numbers(bytes, MIB, pool), (int)json_array_size(seconds)};
}

static void draw(const profile *p)
{
  ebb_report_bar bars[MODES];
  char           title[160], shape[EBB_SHAPE_TEXT];
  for (int i = 0; i < p->modes; i++) {
    const row *r = &p->rows[p->order[i]];
    bars[i] = (ebb_report_bar){ebb_policy_names[p->order[i]], (double)bytes_of(r, "peak_bytes") / MIB,
                               (double)bytes_of(r, "rss_bytes") / MIB, r->median, course_of(p, r)};
  }
  snprintf(title, sizeof title, "%s, batch %d of %s", p->model.name, p->x.n, ebb_shape_print(shape, p->x));
  ebb_report_memory(p->flags->png, title, bars, p->modes);
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */
static int child(const ebb_flags *flags, ebb_config *c)
{
  int        mode;
  json_t    *answer = NULL;
  ebb_status status = mode_read(&mode, flags->child);
  if (status == EBB_OK) status = ebb_measure(&answer, c, (ebb_policy)mode, flags->warmup, flags->steps, flags->json);
  return status == EBB_OK ? ebb_print_json(answer) : ebb_verb_failed(status);
}

/* Measuring takes minutes: what cannot be written is said before. */
static ebb_status can_write(const char *path)
{
  ebb_pool    pool = {0};
  const char *slash = strrchr(path, '/');
  const char *folder = slash ? ebb_pool_text(&pool, "%.*s", slash == path ? 1 : (int)(slash - path), path) : ".";
  ebb_status  status = EBB_OK;
  if (*path && access(folder, W_OK | X_OK) != 0)
    status = ebb_fail(EBB_CANTCREAT, "%s: expected a folder to write to, found: %s: %s", path, folder, strerror(errno));
  ebb_pool_clear(&pool);
  return status;
}

static ebb_status prepare(profile *p)
{
  ebb_input in;
  EBB_TRY(modes_read(p, p->flags->modes));
  EBB_TRY(can_write(p->flags->csv));
  EBB_TRY(can_write(p->flags->png));
  EBB_TRY(ebb_build_input(&in, p->config));
  p->x = ebb_build_batch(in.shape, p->config->train.batch);
  return ebb_build_model(&p->model, p->config, in.shape, in.classes);
}

static int tell(const profile *p)
{
  int        code = p->flags->json ? print_json(p) : print_human(p);
  ebb_status status = *p->flags->csv ? write_csv(p) : EBB_OK;
  if (*p->flags->png) draw(p);
  return status == EBB_OK ? code : ebb_verb_failed(status);
}

static ebb_status sweep(profile *p)
{
  ebb_sweep s = {.flags = p->flags, .config = p->config, .modes = p->order, .count = p->modes, .measure = measure_child, .context = p};
  s.title = ebb_pool_text(&p->config->pool, "%s, %d threads", p->model.name, ebb_threads());
  return ebb_sweep_run(&s);
}

static int parent(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  profile    p = {.config = c, .flags = flags, .words = words};
  ebb_status status = prepare(&p);
  if (status == EBB_OK) status = *flags->sweep ? sweep(&p) : measure_all(&p);
  int code = status != EBB_OK ? ebb_verb_failed(status) : *flags->sweep ? EBB_OK : tell(&p);
  for (int i = 0; i < MODES; i++) json_decref(p.rows[i].answer);
  if (p.model.root) ebb_model_destroy(&p.model);
  return code;
}

static int with_config(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  return *flags->child ? child(flags, c) : parent(flags, c, words);
}

static int run(const ebb_flags *flags, ebb_words words)
{
  return ebb_build_with_config(flags, words, with_config);
}

const ebb_verb ebb_verb_profile = {
  .name = "profile", .arguments = "CONFIG [key=value ...]", .summary = "Compares reverse, store and checkpoint: time, memory, bits",
  .text = "Runs the same training steps on random input of shape data.shape, each mode in a fresh process. `bits equal` compares "
          "all weights, momenta and running statistics after the steps; by reversal of real values, as of flows, they are equal but for rounding. "
          "Mode auto, which is not among the default ones, is the fastest plan within run.memory.",
  .flags = "json steps warmup repeat modes sweep csv png child", .sections = "model data train run", .least = 1, .run = run,
};
