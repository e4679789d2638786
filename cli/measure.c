/* measure.c -- see measure.h. */
#include "measure.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "build.h"
#include "course.h"
#include "random.h"

uint64_t ebb_hash(uint64_t hash, const void *bytes, size_t count)
{
  const unsigned char *p = bytes;
  for (size_t i = 0; i < count; i++) hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
  return hash;
}

/* Largest resident size of this process so far, bytes; 0 if the system does not say. */
static size_t resident_peak(void)
{
  FILE  *f = fopen("/proc/self/status", "r");
  char   line[256];
  size_t kib = 0;
  while (f && fgets(line, sizeof line, f))
    if (sscanf(line, "VmHWM: %zu", &kib) == 1) break;
  if (f) fclose(f);
  return kib * 1024;
}

/* ---- reconstruction ------------------------------------------------------------------------------------------- */
/* The true inputs of reversible layers, as the forward pass saw them, newest first. */
typedef struct seen { struct seen *before; const ebb_layer *layer; void *bytes; } seen;

typedef struct witness {
  ebb_pool pool;
  seen    *last;
  double   worst;
  size_t   compared;
  bool     no_memory;
} witness;

static size_t value_bytes(ebb_view v)
{
  return v.s.stream ? sizeof(ebb_fixed) : sizeof(ebb_real);
}

static void remember(witness *w, const ebb_layer *l, ebb_view x)
{
  size_t row = (size_t)x.s.c * value_bytes(x), sites = ebb_sites(x.s);
  if (w->no_memory || ebb_memory_available() < 2 * row * sites) {
    w->no_memory = true;
    return;
  }
  seen *s = EBB_POOL_NEW(&w->pool, seen);
  *s = (seen){w->last, l, ebb_pool_take(&w->pool, row * sites)};
  for (size_t i = 0; i < sites; i++)
    memcpy((char *)s->bytes + i * row, (const char *)x.p + i * (size_t)x.stride * value_bytes(x), row);
  w->last = s;
}

/* max |a - b|, of the stream in the units of activations */
static double difference(ebb_view x, const void *truth)
{
  double worst = 0;
  for (size_t i = 0; i < ebb_sites(x.s); i++)
    for (int c = 0; c < x.s.c; c++) {
      size_t here = i * (size_t)x.stride + (size_t)c, there = i * (size_t)x.s.c + (size_t)c;
      double d = x.s.stream ? ((double)((ebb_fixed *)x.p)[here] - (double)((const ebb_fixed *)truth)[there]) / (double)EBB_FIXED_ONE
                            : (double)((ebb_real *)x.p)[here] - (double)((const ebb_real *)truth)[there];
      worst = ebb_worse(worst, fabs(d));
    }
  return worst;
}

static void watch(ebb_run *r, const ebb_layer *l, ebb_view x, bool reconstructed)
{
  witness *w = r->watcher;
  if (!reconstructed) {
    remember(w, l, x);
    return;
  }
  const seen *s = w->last;
  while (s && s->layer != l) s = s->before;
  if (!s) return;
  w->worst = ebb_worse(w->worst, difference(x, s->bytes));
  w->compared++;
}

/* One more step, watched; what was kept for it is not part of the mode's memory, so this comes last. */
static ebb_status reconstruction(json_t **error, ebb_trainer *t, ebb_source *source)
{
  witness     w = {.worst = 0};
  ebb_metrics m = {0};
  t->work.run.watch = watch;
  t->work.run.watcher = &w;
  ebb_status status = ebb_trainer_step(t, source, &m);
  t->work.run.watch = NULL;
  ebb_pool_clear(&w.pool);
  bool known = status == EBB_OK && !w.no_memory && (w.compared || t->policy != EBB_REVERSE);
  *error = !known ? json_null() : isfinite(w.worst) ? json_real(w.worst) : json_string("not finite");
  return status;
}

/* ---- steps ---------------------------------------------------------------------------------------------------- */
static ebb_status run_steps(json_t *seconds, ebb_trainer *t, ebb_source *source, int warmup, int steps)
{
  for (int i = 0; i < warmup + steps; i++) {
    ebb_metrics m = {0};
    double      begin = ebb_seconds();
    EBB_TRY(ebb_trainer_step(t, source, &m));
    if (i >= warmup) json_array_append_new(seconds, json_real(ebb_seconds() - begin));
  }
  return EBB_OK;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

double ebb_median(double *values, int count)
{
  qsort(values, (size_t)count, sizeof *values, ascending);
  return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* Median of training forward passes alone, under this mode. */
static ebb_status forward_seconds(double *median, ebb_pool *pool, ebb_trainer *t, ebb_source *source, int count)
{
  double   *seconds = ebb_pool_take(pool, (size_t)count * sizeof *seconds);
  ebb_batch batch;
  ebb_view  y;
  for (int i = 0; i < count; i++) {
    EBB_TRY(source->ops->next(source, &batch));
    t->work.run.pass = EBB_TRAIN;
    double begin = ebb_seconds();
    ebb_forward(&t->work.run, t->model, batch.x, &y);
    seconds[i] = ebb_seconds() - begin;
    ebb_release(&t->work.run);
  }
  *median = ebb_median(seconds, count);
  return EBB_OK;
}

static uint64_t weights_hash(const ebb_trainer *t)
{
  const ebb_workspace *w = &t->work;
  uint64_t hash = ebb_hash(EBB_HASH_BEGIN, w->weights, t->model->weights * sizeof(ebb_real));
  hash = ebb_hash(hash, w->state, t->model->states * sizeof(ebb_real));
  return ebb_hash(hash, w->optimizer, t->plan.optimizer);
}

static ebb_status measure_trainer(json_t *answer, ebb_trainer *t, ebb_source *source, int warmup, int steps, bool wanted)
{
  json_t *seconds = json_array(), *course, *error;
  double  forward;
  char    hash[24];
  json_object_set_new(answer, "step_seconds", seconds);
  EBB_TRY(run_steps(seconds, t, source, warmup, steps));
  size_t resident = resident_peak();
  snprintf(hash, sizeof hash, "%016" PRIx64, weights_hash(t));
  size_t peak = ebb_workspace_peak(&t->work, source->bytes);
  EBB_TRY(forward_seconds(&forward, &t->pool, t, source, steps));
  if (wanted) {
    EBB_TRY(ebb_course(&course, t, source, t->work.model.peak + source->bytes));
    json_object_set_new(answer, "course", course);
  }
  EBB_TRY(reconstruction(&error, t, source));
  json_object_update_new(answer, json_pack("{s:f, s:I, s:I, s:I, s:o, s:s, s:I}", "forward_seconds", forward, "peak_bytes",
                                       (json_int_t)peak, "planned_bytes", (json_int_t)t->plan.peak, "rss_bytes",
                                       (json_int_t)resident, "reconstruction_max_error", error, "weights", hash,
                                       "parameters", (json_int_t)t->model->weights));
  return EBB_OK;
}

static ebb_status with_model(json_t *answer, const ebb_model *m, ebb_config *c, ebb_shape x, int warmup, int steps, bool course)
{
  ebb_trainer t;
  ebb_source *source;
  c->train.steps = (warmup + steps + 1) * 1000; /* the schedule's beginning: a profile is not a training */
  size_t batches = ebb_data_batch_bytes(x, (size_t)x.n * ebb_sites(m->out));
  EBB_TRY(ebb_trainer_create(&t, m, x, &c->train, &c->run, 0, batches));
  ebb_status status = ebb_random_open(&source, x, m->out, ebb_build_levels(c), c->train.seed, &c->pool);
  if (status == EBB_OK) {
    status = measure_trainer(answer, &t, source, warmup, steps, course);
    source->ops->close(source);
  }
  ebb_trainer_destroy(&t);
  return status;
}

ebb_status ebb_measure(json_t **answer, ebb_config *c, ebb_policy mode, int warmup, int steps, bool course)
{
  ebb_model m;
  ebb_input in;
  c->run.backward = (int)mode;
  if (mode != EBB_AUTO) c->run.memory = 0;
  EBB_TRY(ebb_build_input(&in, c));
  EBB_TRY(ebb_build_model(&m, c, in.shape, in.classes));
  *answer = json_object();
  ebb_status status = with_model(*answer, &m, c, ebb_build_batch(in.shape, c->train.batch), warmup, steps, course);
  ebb_model_destroy(&m);
  if (status == EBB_OK) return EBB_OK;
  json_decref(*answer);
  *answer = NULL;
  return status;
}
