/* verb_train.c -- `ebb train`: from a configuration and data to checkpoints, logs and curves in a folder.
 * Order matters: all that can go wrong is tried before anything is written. */
#define _POSIX_C_SOURCE 200809L
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/threads.h"
#include "build.h"
#include "print.h"
#include "progress.h"
#include "report.h"
#include "stop.h"
#include "train/checkpoint.h"
#include "verb.h"

typedef struct session {
  ebb_config       *config;
  const ebb_flags  *flags;
  ebb_data         *data;
  ebb_model         model;
  ebb_trainer       trainer;
  ebb_source       *train, *val;
  const char       *checkpoint;    /* OUT/checkpoint_last.h5 */
  bool              created, resumed;   /* created: the trainer is there */
  ebb_progress_line line;
} session;

/* ---- the folder of results ------------------------------------------------------------------------------------ */
static bool exists(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0;
}

/* Without creating anything: could `path` be made, or written into? */
static ebb_status folder_possible(const char *path)
{
  struct stat s;
  ebb_pool    pool = {0};
  char       *at = ebb_pool_text(&pool, "%s", path);
  while (stat(at, &s) != 0 && errno == ENOENT && strcmp(at, ".") != 0) {
    char *slash = strrchr(at, '/');
    if (slash == at && at[1]) at[1] = '\0';
    else if (slash && slash != at) *slash = '\0';
    else at = ebb_pool_text(&pool, ".");
  }
  ebb_status status = EBB_OK;
  if (stat(at, &s) != 0)
    status = ebb_fail(EBB_CANTCREAT, "%s: expected a folder to write to, found: %s\nhint: out=FOLDER", path, strerror(errno));
  else if (!S_ISDIR(s.st_mode))
    status = ebb_fail(EBB_CANTCREAT, "%s: expected a folder to write to, found that %s is a file\nhint: out=FOLDER", path, at);
  else if (access(at, W_OK | X_OK) != 0)
    status = ebb_fail(EBB_CANTCREAT, "%s: expected a folder to write to, found: %s: %s\nhint: out=FOLDER", path, at, strerror(errno));
  ebb_pool_clear(&pool);
  return status;
}

static ebb_status folder_check(const session *s)
{
  if (s->flags->force && s->flags->resume)
    return ebb_fail(EBB_USAGE, "expected --resume, which goes on with a run, or --force, which replaces it, found both");
  EBB_TRY(folder_possible(s->config->out));
  if (exists(s->checkpoint) && !s->flags->resume && !s->flags->force)
    return ebb_fail(EBB_CANTCREAT, "%s: expected a folder without a run, found checkpoint_last.h5\n"
                    "hint: --resume goes on with it, --force replaces it, out=FOLDER goes elsewhere", s->config->out);
  return EBB_OK;
}

/* ---- resuming ------------------------------------------------------------------------------------------------- */
/* Paths and how the run is computed may change without a word; anything else makes another run of it. */
static void note_difference(const char *key, const char *before, const char *now, void *context)
{
  static const char *const harmless[] = {"train.threads", "train.log_every", "train.save_every", "run.backward",
                                         "run.memory", "run.update", "data.window", "data.train", "data.val"};
  (void)context;
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
    if (strcmp(harmless[i], key) == 0) return;
  fprintf(stderr, "ebb: note: %s was %s in the checkpoint and is %s now\n", key, *before ? before : "empty", *now ? now : "empty");
}

static ebb_status resume(session *s)
{
  ebb_pool    pool = {0};
  ebb_config  before;
  const char *text;
  if (!exists(s->checkpoint)) {
    fprintf(stderr, "ebb: note: there is no %s to resume, so training begins anew\n", s->checkpoint);
    return EBB_OK;
  }
  ebb_status status = ebb_checkpoint_load(s->checkpoint, &s->trainer, false);
  if (status == EBB_OK) status = ebb_checkpoint_config(s->checkpoint, &text, &pool);
  if (status == EBB_OK) status = ebb_config_parse(&before, s->checkpoint, text, NULL, 0);
  if (status == EBB_OK) {
    ebb_config_compare(&before, s->config, note_difference, NULL);
    ebb_config_clear(&before);
  }
  ebb_pool_clear(&pool);
  s->resumed = status == EBB_OK;
  return status;
}

/* ---- the parts of a run --------------------------------------------------------------------------------------- */
static void print_notes(const session *s)
{
  for (int i = 0; i < s->data->note_count && !s->flags->quiet; i++) fprintf(stderr, "data: %s\n", s->data->notes[i]);
}

/* What was found out becomes part of the configuration: a checkpoint must not depend on the data to be rebuilt. */
static void settle_config(session *s)
{
  ebb_config *c = s->config;
  char        text[EBB_SHAPE_TEXT];
  ebb_shape_print(text, s->data->shape);
  if (*c->data.shape && strcmp(c->data.shape, text) != 0)
    fprintf(stderr, "ebb: note: data.shape says %s, the data are %s, and that counts\n", c->data.shape, text);
  c->data.shape = ebb_pool_text(&c->pool, "%s", text);
  c->data.classes = s->data->classes;
  c->data.mean = s->data->mean;
  c->data.std = s->data->std;
  if (!s->data->maps) return;
  c->data.label_map = ebb_pool_text(&c->pool, "%s", s->data->label_map);
  c->data.patch = ebb_pool_text(&c->pool, "%.*s", (int)(strrchr(text, 'x') - text), text);
}

static ebb_status open_data(session *s)
{
  if (!*s->config->data.train)
    return ebb_fail(EBB_CONFIG, "%s: expected data.train, found none\nhint: data.train=FILE.h5; `ebb convert` makes one, "
                    "`ebb plan` and `ebb profile` need none", s->config->origin);
  EBB_TRY(ebb_data_open(&s->data, &s->config->data));
  print_notes(s);
  settle_config(s);
  return EBB_OK;
}

static size_t source_bytes(const session *s)
{
  int batch = s->config->train.batch;
  return ebb_data_train_bytes(s->data, batch) +
         (s->data->samples[EBB_VAL_SET] ? ebb_data_eval_bytes(s->data, EBB_VAL_SET, batch) : 0);
}

static ebb_status open_sources(session *s)
{
  const ebb_train_options *o = &s->config->train;
  EBB_TRY(ebb_data_train(&s->train, s->data, o->batch, o->seed));
  return s->data->samples[EBB_VAL_SET] ? ebb_data_eval(&s->val, s->data, EBB_VAL_SET, o->batch) : EBB_OK;
}

/* Of run.backward=auto. */
static void print_choice(const ebb_plan *p, const ebb_model *m)
{
  ebb_forecast f = ebb_plan_forecast(p, m);
  fprintf(stderr, "auto: of %d reversible blocks %d keep what is inside them and %d keep all; as measured they take %.3g s of a step (replayed %.3g s, "
          "stored %.3g s)\n", f.blocks, f.spared, f.stored, f.planned, f.least, f.most);
}

static void print_start(const session *s)
{
  char               bytes[EBB_BYTES_TEXT], shape[EBB_SHAPE_TEXT];
  const ebb_trainer *t = &s->trainer;
  if (s->flags->quiet) return;
  fprintf(stderr, "%s: %zu parameters, input %s, batch %d, %s, %s planned, %d threads\n", s->model.name, s->model.weights,
          ebb_shape_print(shape, s->data->shape), t->options.batch, ebb_policy_names[t->policy],
          ebb_print_bytes(bytes, t->plan.peak), ebb_threads());
  if (t->plan.costs) print_choice(&t->plan, &s->model);
  ebb_build_note_padding(&s->model);
  if (s->resumed) fprintf(stderr, "resumed at step %" PRIu64 " of %" PRIu64 "\n", t->step, t->steps);
}

/* ---- the run -------------------------------------------------------------------------------------------------- */
/* Values of a sample whose density a flow learns; of other networks 0. */
static size_t dimensions(const session *s)
{
  return s->model.flow ? ebb_count(s->model.in) : 0;
}

static void draw_curves(const session *s)
{
  ebb_report_curves(s->config->out, s->data->maps, dimensions(s));
}

static void report(const ebb_progress *p, void *context)
{
  session *s = context;
  ebb_progress_show(&s->line, p);
  if (p->validated) draw_curves(s);
}

static ebb_status write_config(const session *s, const char *text)
{
  ebb_bytes_part part = {text, strlen(text)};
  return ebb_file_replace(ebb_pool_text(&s->config->pool, "%s/config.yaml", s->config->out), &part, 1);
}

/* --force: nothing of the run before stays beside the new one's. */
static void remove_old(const session *s)
{
  static const char *const names[] = {"checkpoint_last.h5", "checkpoint_best.h5", "nonfinite.json", "curves.png"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    unlink(ebb_pool_text(&s->config->pool, "%s/%s", s->config->out, names[i]));
}

static ebb_status fit(session *s)
{
  const char *text = ebb_config_text(s->config);
  ebb_fit     f = {.train = s->train, .val = s->val, .folder = s->config->out, .config = text, .report = report,
                   .context = s, .stop = &ebb_stop};
  EBB_TRY(ebb_folder_make(s->config->out));
  if (s->flags->force) remove_old(s);
  EBB_TRY(write_config(s, text));
  print_start(s);
  ebb_progress_begin(&s->line, s->config->train.batch * s->config->train.accumulate, s->trainer.best, s->flags->quiet);
  ebb_stop_listen();
  ebb_status status = ebb_trainer_fit(&s->trainer, &f);
  ebb_progress_end(&s->line);
  if (status == EBB_OK) draw_curves(s);
  return status;
}

/* Each stage needs the one before; the caller closes what is open. */
static ebb_status with_trainer(session *s)
{
  if (s->flags->resume) EBB_TRY(resume(s));
  ebb_status status = open_sources(s);
  if (status == EBB_OK) status = fit(s);
  if (s->train) s->train->ops->close(s->train);
  if (s->val) s->val->ops->close(s->val);
  return status;
}

static ebb_status with_model(session *s)
{
  const ebb_config *c = s->config;
  EBB_TRY(ebb_trainer_create(&s->trainer, &s->model, ebb_build_batch(s->data->shape, c->train.batch), &c->train, &c->run,
                             s->data->samples[EBB_TRAIN_SET], source_bytes(s)));
  s->created = true;
  return with_trainer(s);
}

static ebb_status train(session *s)
{
  EBB_TRY(folder_check(s));
  EBB_TRY(open_data(s));
  EBB_TRY(ebb_build_model(&s->model, s->config, s->data->shape, s->data->classes));
  EBB_TRY(ebb_build_fits(&s->model, s->data));
  return with_model(s);
}

/* What the best validation was best by, under its name. */
static json_t *best_of(const session *s)
{
  double best = s->trainer.best;
  if (!isfinite(best)) return json_null();
  return json_real(s->model.flow ? -best : best);
}

static void print_best(const session *s)
{
  double      best = s->trainer.best;
  const char *out = s->config->out;
  if (!isfinite(best)) printf("done: results are in %s\n", out);
  else if (s->model.flow) printf("done: best validation %.4f nats, %.4f bits/dim; results are in %s\n", -best, ebb_bits(-best, dimensions(s)), out);
  else if (s->data->maps) printf("done: best validation Dice %.4f; results are in %s\n", best, out);
  else printf("done: best validation accuracy %.2f %%; results are in %s\n", 100 * best, out);
}

static void print_end(const session *s)
{
  const ebb_trainer *t = &s->trainer;
  const char        *best = s->model.flow ? "best_loss" : s->data->maps ? "best_dice" : "best_accuracy";
  if (s->flags->json)
    ebb_print_json(json_pack("{s:s, s:s, s:I, s:I, s:o, s:b}", "model", s->model.name, "out", s->config->out, "step",
                             (json_int_t)t->step, "steps", (json_int_t)t->steps, best, best_of(s), "stopped", ebb_stop != 0));
  else if (ebb_stop) printf("stopped at step %" PRIu64 " of %" PRIu64 "; --resume goes on\n", t->step, t->steps);
  else if (t->step < t->steps)
    printf("done at step %" PRIu64 " of %" PRIu64 ": %d validations brought nothing better (train.stop_after); results are in %s\n", t->step, t->steps,
           t->options.stop_after, s->config->out);
  else print_best(s);
}

static int run(const ebb_flags *flags, ebb_words words)
{
  ebb_config c;
  session    s = {.config = &c, .flags = flags};
  ebb_status status = ebb_build_load(&c, words);
  if (status != EBB_OK) return ebb_verb_failed(status);
  ebb_threads_set(c.train.threads);
  s.checkpoint = ebb_pool_text(&c.pool, "%s/checkpoint_last.h5", c.out);
  status = train(&s);
  if (status == EBB_OK) print_end(&s);
  int code = status == EBB_OK ? ebb_stop_code() : ebb_verb_failed(status);
  if (s.created) ebb_trainer_destroy(&s.trainer);
  if (s.model.root) ebb_model_destroy(&s.model);
  ebb_data_close(s.data);
  ebb_config_clear(&c);
  return code;
}

const ebb_verb ebb_verb_train = {
  .name = "train", .arguments = "CONFIG [key=value ...]", .summary = "Trains a network",
  .text = "CONFIG is a YAML file, a preset or a network's name. The folder `out` gets checkpoint_last.h5, "
          "with a validation set checkpoint_best.h5, log.csv, log.jsonl, config.yaml and curves.png. SIGINT and SIGTERM finish the step, save and "
          "exit with 130 or 143; a second one stops at once.",
  .flags = "json resume force quiet", .sections = "model data train run out", .least = 1, .run = run,
};
