/* test_train.c -- training: schedules, SGD, loss, metrics, steps, what stops a run, checkpoints, resuming.
 * Owns: two small networks and a source of batches in memory, so that it needs no model of the catalogue and no file.
 * Every expected number comes from a formula written here, not from the engine. */
#define _GNU_SOURCE
#include <check.h>
#include <fcntl.h>
#include <hdf5.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ebb.h"
#include "train/log.h"
#include "train/schedule.h"
#include "tests/suite.h"

static void succeeds(ebb_status status)
{
  ck_assert_msg(status == EBB_OK, "%d: %s", (int)status, ebb_message());
}

static void says(const char *words)
{
  ck_assert_msg(strstr(ebb_message(), words) != NULL, "expected \"%s\" in: %s", words, ebb_message());
}

static void fails(ebb_status status, ebb_status expected, const char *words)
{
  ck_assert_msg(status == expected, "status %d, expected %d: %s", (int)status, (int)expected, ebb_message());
  says(words);
}

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){17, EBB_RNG_TEST, what}, i);
}

/* ---- two networks ------------------------------------------------------------------------------------------------ */
enum { CLASSES = 6 };
static const ebb_shape image = {.rank = 2, .n = 1, .d = 1, .h = 6, .w = 6, .c = 3};

static ebb_layer *conv(ebb_builder *b, const char *name, int in, int out, int stride)
{
  return ebb_conv(b, name, (ebb_conv_options){.in = in, .out = out, .kernel = 3, .stride = stride, .pad = 1, .bias = true});
}

static void end(ebb_model *m, const ebb_builder *b, ebb_sequence *s)
{
  succeeds(ebb_model_end(m, b, ebb_sequence_close(s)));
}

/* No batch norm, no stream: the gradient of a batch is the mean of its samples'. */
static ebb_model plain_network(void)
{
  ebb_model   m;
  ebb_builder b;
  ebb_model_begin(&m, &b, "plain", image);
  ebb_sequence *s = ebb_sequence_open(&b, "net", 6);
  ebb_sequence_add(s, conv(&b, "conv1", 3, 8, 1));
  ebb_sequence_add(s, ebb_relu(&b, "relu1"));
  ebb_sequence_add(s, conv(&b, "conv2", 8, 10, 2));
  ebb_sequence_add(s, ebb_relu(&b, "relu2"));
  ebb_sequence_add(s, ebb_global_mean(&b, "mean"));
  ebb_sequence_add(s, ebb_linear(&b, "linear", 10, CLASSES));
  end(&m, &b, s);
  return m;
}

static ebb_layer *batch_norm(ebb_builder *b, const char *name, int channels)
{
  return ebb_batch_norm(b, name, (ebb_norm_options){.channels = channels, .eps = 1e-5, .momentum = 0.1});
}

static ebb_layer *path(ebb_builder *b, const char *name, int channels)
{
  ebb_sequence *s = ebb_sequence_open(b, name, 4);
  const char   *outer = ebb_scope_enter(b, "%s", name);
  ebb_sequence_add(s, batch_norm(b, "norm", channels));
  ebb_sequence_add(s, ebb_relu(b, "relu"));
  ebb_sequence_add(s, ebb_dropout(b, "dropout", 0.2));
  ebb_sequence_add(s, conv(b, "conv", channels, channels, 1));
  b->scope = outer;
  return ebb_sequence_close(s);
}

static ebb_layer *coupling(ebb_builder *b, const char *name, int width)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = path(b, "f", width / 2), *g = path(b, "g", width / 2);
  b->scope = outer;
  return ebb_coupling(b, name, width, width / 2, f, g);
}

/* Batch norm, dropout and couplings on a stream. */
static ebb_model reversible_network(int width, int blocks)
{
  ebb_model   m;
  ebb_builder b;
  ebb_model_begin(&m, &b, "reversible", image);
  ebb_sequence *s = ebb_sequence_open(&b, "net", blocks + 7);
  ebb_sequence_add(s, conv(&b, "stem", 3, width, 1));
  ebb_sequence_add(s, ebb_quantise(&b, "enter"));
  for (int i = 0; i < blocks; i++) ebb_sequence_add(s, coupling(&b, ebb_pool_text(b.pool, "block%d", i), width));
  ebb_sequence_add(s, ebb_dequantise(&b, "leave"));
  ebb_sequence_add(s, batch_norm(&b, "norm", width));
  ebb_sequence_add(s, ebb_relu(&b, "relu"));
  ebb_sequence_add(s, ebb_global_mean(&b, "mean"));
  ebb_sequence_add(s, ebb_linear(&b, "linear", width, CLASSES));
  end(&m, &b, s);
  return m;
}

static const ebb_param *param_named(const ebb_model *m, const char *name)
{
  for (const ebb_param *p = m->params; p; p = p->next)
    if (strcmp(p->name, name) == 0) return p;
  ck_abort_msg("no parameter %s", name);
  return NULL;
}

/* ---- a source in memory: the sample at (epoch, position) is a function of these two ------------------------------ */
typedef struct memory {
  ebb_source   base;
  bool         training;
  uint32_t     epoch;
  uint64_t     cursor;
  uint64_t     calls;       /* of next, so far                                        */
  uint64_t     nan_call;    /* the call whose first value is NaN; 0: none             */
  volatile int stop;        /* set in call stop_call                                  */
  uint64_t     stop_call;
  const char  *copy_from, *copy_to; /* done in call copy_call: a crash at that moment */
  uint64_t     copy_call;
  ebb_pool     pool;
  ebb_real    *x;
  int32_t     *labels;
  uint32_t    *index;
} memory;

static char *whole_file(const char *path, size_t *size, ebb_pool *pool)
{
  struct stat s;
  FILE       *f = fopen(path, "rb");
  ck_assert_msg(f != NULL, "%s is not there", path);
  ck_assert_int_eq(fstat(fileno(f), &s), 0);
  char *bytes = ebb_pool_take(pool, (size_t)s.st_size + 1);
  *size = fread(bytes, 1, (size_t)s.st_size, f);
  ck_assert_uint_eq(*size, (size_t)s.st_size);
  fclose(f);
  return bytes;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
  FILE *f = fopen(path, "wb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fwrite(bytes, 1, size, f), size);
  fclose(f);
}

static void copy_file(const char *to, const char *from)
{
  ebb_pool pool = {0};
  size_t   size;
  char    *bytes = whole_file(from, &size, &pool);
  write_file(to, bytes, size);
  ebb_pool_clear(&pool);
}

/* Noise with a brighter stripe whose place is the class: it can be learned. */
static void draw_sample(ebb_real *x, int32_t *label, uint32_t epoch, uint64_t position)
{
  size_t count = ebb_count(image), row = (size_t)(image.w * image.c);
  *label = (int32_t)ebb_rng_below((ebb_rng){17, EBB_RNG_AUGMENT, epoch}, position, CLASSES);
  for (size_t i = 0; i < count; i++)
    x[i] = (ebb_real)(0.5 * noise(1000 + epoch, position * count + i) + (i / row == (size_t)*label ? 1.5 : 0));
}

static void hooks(memory *s)
{
  s->calls++;
  if (s->calls == s->nan_call) s->x[0] = (ebb_real)NAN;
  if (s->calls == s->stop_call) s->stop = 1;
  if (s->calls == s->copy_call) copy_file(s->copy_to, s->copy_from);
}

static ebb_status memory_next(ebb_source *base, ebb_batch *batch)
{
  memory   *s = (memory *)base;
  uint64_t  left = s->base.samples - s->cursor, n = (uint64_t)s->base.shape.n;
  ebb_shape shape = s->base.shape;
  if (left < n) n = s->training ? 0 : left;
  for (uint64_t i = 0; i < n; i++) {
    draw_sample(s->x + i * ebb_count(image), &s->labels[i], s->epoch, s->cursor + i);
    s->index[i] = (uint32_t)(s->cursor + i);
  }
  s->cursor += n;
  shape.n = (int)n;
  *batch = (ebb_batch){.x = ebb_view_of(s->x, shape), .labels = s->labels, .index = s->index};
  hooks(s);
  return EBB_OK;
}

static ebb_status memory_seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  memory *s = (memory *)base;
  s->epoch = s->training ? epoch : 999;
  s->cursor = cursor;
  return EBB_OK;
}

static void memory_close(ebb_source *base)
{
  ebb_pool_clear(&((memory *)base)->pool);
}

static const ebb_source_ops memory_ops = {memory_next, memory_seek, memory_close};

static memory memory_of(bool training, int n, uint64_t samples)
{
  memory s = {.training = training, .epoch = training ? 0 : 999};
  s.base = (ebb_source){&memory_ops, "memory", image, CLASSES, samples, 0};
  s.base.shape.n = n;
  s.x = ebb_pool_take(&s.pool, ebb_bytes(s.base.shape));
  s.labels = ebb_pool_take(&s.pool, (size_t)n * sizeof *s.labels);
  s.index = ebb_pool_take(&s.pool, (size_t)n * sizeof *s.index);
  return s;
}

/* ---- a trainer --------------------------------------------------------------------------------------------------- */
enum { BATCH = 4, SAMPLES = 35 }; /* eight batches an epoch, three samples are left */

static ebb_train_options standard(void)
{
  ebb_train_options o;
  ebb_options_default(&o, ebb_train_option_table);
  o.batch = BATCH;
  o.steps = 20;
  o.lr = 0.05;
  o.threads = 1;
  return o;
}

static void trainer_run(ebb_trainer *t, const ebb_model *m, const ebb_train_options *o, ebb_run_options run)
{
  ebb_shape x = image;
  x.n = o->batch;
  succeeds(ebb_trainer_create(t, m, x, o, &run, SAMPLES, 0));
}

static void trainer_of(ebb_trainer *t, const ebb_model *m, const ebb_train_options *o, ebb_policy policy)
{
  trainer_run(t, m, o, (ebb_run_options){.backward = (int)policy});
}

static void steps(ebb_trainer *t, memory *s, int count)
{
  ebb_metrics m = {0};
  for (int i = 0; i < count; i++) succeeds(ebb_trainer_step(t, &s->base, &m));
}

/* All that a checkpoint holds, to be compared later. */
typedef struct snapshot {
  ebb_pool  pool;
  ebb_real *weights, *momenta, *state;
  uint64_t  step, epoch, cursor, forwards, seed;
  double    best;
} snapshot;

static ebb_real *copied(ebb_pool *pool, const void *values, size_t count)
{
  ebb_real *p = ebb_pool_take(pool, count * sizeof *p);
  memcpy(p, values, count * sizeof *p);
  return p;
}

static snapshot snapshot_of(const ebb_trainer *t)
{
  const ebb_model *m = t->model;
  snapshot         s = {.step = t->step, .epoch = t->epoch, .cursor = t->cursor, .best = t->best};
  s.forwards = t->work.run.step;
  s.seed = t->work.run.seed;
  s.weights = copied(&s.pool, t->work.weights, m->weights);
  s.momenta = copied(&s.pool, t->work.optimizer, m->weights);
  s.state = copied(&s.pool, t->work.state, m->states);
  return s;
}

static const char *difference(const ebb_trainer *t, const snapshot *s)
{
  const ebb_model *m = t->model;
  if (memcmp(t->work.weights, s->weights, m->weights * sizeof(ebb_real))) return "weights";
  if (memcmp(t->work.optimizer, s->momenta, m->weights * sizeof(ebb_real))) return "momenta";
  if (memcmp(t->work.state, s->state, m->states * sizeof(ebb_real))) return "running statistics";
  if (t->step != s->step || t->epoch != s->epoch || t->cursor != s->cursor) return "step, epoch, cursor";
  if (t->work.run.step != s->forwards || t->work.run.seed != s->seed) return "forwards, seed";
  return t->best == s->best ? NULL : "best";
}

static void equals(const ebb_trainer *t, const snapshot *s)
{
  const char *what = difference(t, s);
  ck_assert_msg(what == NULL, "%s differ", what);
}

/* ---- a folder ---------------------------------------------------------------------------------------------------- */
typedef struct folder { char path[64]; } folder;

static folder folder_make(void)
{
  folder f = {"/tmp/ebb-test-train-XXXXXX"};
  ck_assert_ptr_nonnull(mkdtemp(f.path));
  return f;
}

static void folder_remove(const folder *f)
{
  static const char *const names[] = {"log.csv", "log.jsonl", "nonfinite.json", "checkpoint_last.h5", "checkpoint_best.h5",
                                      "a.h5", "b.h5"};
  char path[128];
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    snprintf(path, sizeof path, "%s/%s", f->path, names[i]);
    unlink(path);
  }
  ck_assert_msg(rmdir(f->path) == 0, "%s: something is left that has no business there", f->path);
}

typedef struct path_text { char text[128]; } path_text;

static path_text in(const folder *f, const char *name)
{
  path_text p;
  snprintf(p.text, sizeof p.text, "%s/%s", f->path, name);
  return p;
}

/* ---- schedules --------------------------------------------------------------------------------------------------- */
enum { CONSTANT, STEP, COSINE, POLY };
static const double pi = 3.14159265358979323846;

static ebb_train_options scheduled(int schedule, double warmup)
{
  ebb_train_options o = standard();
  o.schedule = schedule;
  o.warmup = warmup;
  o.lr = 0.4;
  o.lr_end = 0.01;
  return o;
}

START_TEST(a_constant_rate_is_constant)
{
  ebb_train_options o = scheduled(CONSTANT, 0);
  for (uint64_t i = 0; i < 100; i++) ck_assert_double_eq(ebb_schedule_lr(&o, i, 100), 0.4);
}
END_TEST

START_TEST(a_rate_in_steps_is_cut_at_its_milestones)
{
  ebb_train_options o = scheduled(STEP, 0);
  o.milestones = (ebb_numbers){3, {0.3, 0.7, 0.9}};
  o.gamma = 0.5;
  for (uint64_t i = 0; i < 10; i++) {
    double cuts = (i >= 3) + (i >= 7) + (i >= 9);
    ck_assert_double_eq_tol(ebb_schedule_lr(&o, i, 10), 0.4 * pow(0.5, cuts), 1e-15);
  }
}
END_TEST

START_TEST(cosine_and_poly_follow_their_formulas)
{
  ebb_train_options c = scheduled(COSINE, 0), p = scheduled(POLY, 0);
  p.power = 2;
  for (uint64_t i = 0; i < 100; i++) {
    double t = (double)i / 100;
    ck_assert_double_eq_tol(ebb_schedule_lr(&c, i, 100), 0.01 + 0.39 * (1 + cos(pi * t)) / 2, 1e-14);
    ck_assert_double_eq_tol(ebb_schedule_lr(&p, i, 100), 0.01 + 0.39 * (1 - t) * (1 - t), 1e-14);
  }
  ck_assert_double_eq(ebb_schedule_lr(&c, 0, 100), 0.4);
  ck_assert_double_eq_tol(ebb_schedule_lr(&c, 50, 100), 0.205, 1e-14);
  ck_assert_double_eq_tol(ebb_schedule_lr(&c, 99, 100), 0.01, 2e-4);
}
END_TEST

START_TEST(a_warm_rate_rises_to_the_top_and_then_falls)
{
  for (int schedule = CONSTANT; schedule <= POLY; schedule++) {
    ebb_train_options o = scheduled(schedule, 0.2);
    for (uint64_t i = 0; i < 10; i++)
      ck_assert_double_eq_tol(ebb_schedule_lr(&o, i, 50), 0.4 * (double)(i + 1) / 10, 1e-15);
    ck_assert_double_eq_tol(ebb_schedule_lr(&o, 10, 50), 0.4, 1e-15);
    for (uint64_t i = 10; i < 49; i++) ck_assert(ebb_schedule_lr(&o, i + 1, 50) <= ebb_schedule_lr(&o, i, 50));
  }
  ebb_train_options c = scheduled(COSINE, 0.2); /* what is left of the run is the whole cosine */
  ck_assert_double_eq_tol(ebb_schedule_lr(&c, 30, 50), 0.205, 1e-14);
}
END_TEST

START_TEST(short_runs_and_long_warm_ups_have_a_rate)
{
  for (int schedule = CONSTANT; schedule <= POLY; schedule++)
    for (int tenths = 0; tenths <= 10; tenths += 5)
      for (uint64_t count = 1; count <= 3; count++)
        for (uint64_t i = 0; i < count; i++) {
          ebb_train_options o = scheduled(schedule, tenths / 10.);
          double            lr = ebb_schedule_lr(&o, i, count);
          ck_assert_msg(lr > 0 && lr <= 0.4 + 1e-15, "schedule %d, step %d of %d: %g", schedule, (int)i, (int)count, lr);
        }
}
END_TEST

/* ---- SGD --------------------------------------------------------------------------------------------------------- */
typedef struct sgd {
  ebb_pool   pool;
  ebb_model  model;
  ebb_real  *w, *g, *m;
  double    *w_ref, *m_ref;   /* PyTorch's rule in double */
} sgd;

static sgd sgd_open(void)
{
  sgd    t = {.model = reversible_network(8, 1)};
  size_t n = t.model.weights;
  t.w = ebb_pool_take(&t.pool, n * sizeof *t.w);
  t.g = ebb_pool_take(&t.pool, n * sizeof *t.g);
  t.m = ebb_pool_take(&t.pool, n * sizeof *t.m);
  t.w_ref = ebb_pool_take(&t.pool, n * sizeof *t.w_ref);
  t.m_ref = ebb_pool_take(&t.pool, n * sizeof *t.m_ref);
  for (size_t i = 0; i < n; i++) t.w_ref[i] = t.w[i] = (ebb_real)noise(1, i);
  return t;
}

static void sgd_close(sgd *t)
{
  ebb_model_destroy(&t->model);
  ebb_pool_clear(&t->pool);
}

/* torch.optim.SGD, written from its documentation: g += decay w; buf = g first, else mu buf + g; nesterov: g + mu buf. */
static void torch_step(sgd *t, const ebb_train_options *o, double lr, bool first)
{
  for (const ebb_param *p = t->model.params; p; p = p->next) {
    bool kernel = p->kind == EBB_WEIGHT && p->rank >= 2; /* of a convolution or a linear layer */
    if (p->kind != EBB_WEIGHT) continue;
    for (size_t i = p->offset; i < p->offset + p->count; i++) {
      double d = (double)t->g[i] + (kernel || o->decay_all ? o->decay : 0) * t->w_ref[i];
      t->m_ref[i] = first ? d : o->momentum * t->m_ref[i] + d;
      t->w_ref[i] -= lr * (o->nesterov ? d + o->momentum * t->m_ref[i] : o->momentum > 0 ? t->m_ref[i] : d);
    }
  }
}

static void sgd_follows(sgd *t, const ebb_train_options *o)
{
  for (uint32_t k = 0; k < 6; k++) {
    double lr = 0.1 / (k + 1);
    for (size_t i = 0; i < t->model.weights; i++) t->g[i] = (ebb_real)noise(10 + k, i);
    torch_step(t, o, lr, k == 0);
    ebb_optim_step(o, &t->model, t->w, t->g, ebb_optim_bytes(o, &t->model) ? t->m : NULL, lr,
                   ebb_optim_norm(&t->model, t->g), k);
    for (size_t i = 0; i < t->model.weights; i++) {
      ck_assert_msg(fabs((double)t->w[i] - t->w_ref[i]) <= 2e-6, "step %u, weight %zu: %.9g, PyTorch's rule %.9g", k, i,
                    (double)t->w[i], t->w_ref[i]);
      ck_assert_msg(t->g[i] == 0, "gradients are left");
    }
  }
}

/* momentum, nesterov, decay, decay_all */
static const struct rule { double momentum; bool nesterov; double decay; bool decay_all; } rules[] = {
    {0.9, false, 0, false}, {0.9, true, 0, false},     {0.9, false, 0.1, false},
    {0.9, true, 0.1, false}, {0.9, false, 0.1, true},  {0, false, 0, false}, {0, false, 0.1, false},
};

START_TEST(sgd_is_pytorchs)
{
  const struct rule *r = &rules[_i];
  ebb_train_options  o = standard();
  sgd                t = sgd_open();
  o.momentum = r->momentum;
  o.nesterov = r->nesterov;
  o.decay = r->decay;
  o.decay_all = r->decay_all;
  sgd_follows(&t, &o);
  sgd_close(&t);
}
END_TEST

/* A constant gradient: w_t = w_0 - lr g (t - mu (1 - mu^t) / (1 - mu)) / (1 - mu). What m held before is of no matter. */
START_TEST(momentum_of_a_constant_gradient_has_its_closed_form)
{
  ebb_train_options o = standard();
  sgd               t = sgd_open();
  double            mu = o.momentum = 0.8, lr = 0.01;
  o.decay = 0;
  memset(t.m, 0xff, t.model.weights * sizeof *t.m);
  for (int k = 1; k <= 10; k++) {
    for (size_t i = 0; i < t.model.weights; i++) t.g[i] = (ebb_real)noise(2, i);
    ebb_optim_step(&o, &t.model, t.w, t.g, t.m, lr, 1, (uint64_t)k - 1);
  }
  double factor = lr * (10 - mu * (1 - pow(mu, 10)) / (1 - mu)) / (1 - mu);
  for (size_t i = 0; i < t.model.weights; i++)
    ck_assert_double_eq_tol((double)t.w[i], (double)(ebb_real)noise(1, i) - factor * (double)(ebb_real)noise(2, i), 2e-6);
  sgd_close(&t);
}
END_TEST

START_TEST(momentum_needs_memory_only_if_there_is_one)
{
  ebb_train_options o = standard();
  ebb_model         m = plain_network();
  ck_assert_uint_eq(ebb_optim_bytes(&o, &m), m.weights * sizeof(ebb_real));
  o.momentum = 0;
  ck_assert_uint_eq(ebb_optim_bytes(&o, &m), 0);
  ebb_model_destroy(&m);
}
END_TEST

static double change(const sgd *t)
{
  double sum = 0;
  for (size_t i = 0; i < t->model.weights; i++) sum += pow((double)t->w[i] - t->w_ref[i], 2);
  return sqrt(sum);
}

static double norm_of(const sgd *t)
{
  double sum = 0;
  for (size_t i = 0; i < t->model.weights; i++) sum += (double)t->g[i] * (double)t->g[i];
  return sqrt(sum);
}

START_TEST(clipping_makes_the_norm_what_is_allowed)
{
  ebb_train_options o = standard();
  o.decay = 0;
  for (int large = 0; large < 2; large++) {
    sgd t = sgd_open();
    for (size_t i = 0; i < t.model.weights; i++) t.g[i] = (ebb_real)(large ? 3 : 0.001) * (ebb_real)noise(4, i);
    double norm = ebb_optim_norm(&t.model, t.g), direct = norm_of(&t);
    ck_assert_double_eq_tol(norm, direct, 1e-9 * direct);
    o.clip = 2;
    ck_assert(large ? norm > 20 : norm < 1);
    ebb_optim_step(&o, &t.model, t.w, t.g, t.m, 1, norm, 0);
    double expected = large ? 2 : direct;
    ck_assert_double_eq_tol(change(&t), expected, 1e-4 * expected);
    for (size_t i = 0; i < t.model.weights; i++) /* the direction stays */
      ck_assert_double_eq_tol((double)t.m[i], expected / direct * (large ? 3 : 0.001) * noise(4, i), 1e-6);
    sgd_close(&t);
  }
}
END_TEST

START_TEST(the_norm_of_what_is_not_finite_is_not_finite)
{
  sgd t = sgd_open();
  t.g[t.model.weights / 2] = (ebb_real)NAN;
  ck_assert(!isfinite(ebb_optim_norm(&t.model, t.g)));
  t.g[t.model.weights / 2] = (ebb_real)INFINITY;
  ck_assert(!isfinite(ebb_optim_norm(&t.model, t.g)));
  sgd_close(&t);
}
END_TEST

/* ---- loss -------------------------------------------------------------------------------------------------------- */
enum { ROWS = 7, WIDE = 11 };
typedef struct bench { ebb_arena arena; ebb_run run; ebb_real y[ROWS * WIDE]; int32_t labels[ROWS]; } bench;

static ebb_view logits(bench *b)
{
  return ebb_view_of(b->y, (ebb_shape){.rank = 2, .n = ROWS, .d = 1, .h = 1, .w = 1, .c = WIDE});
}

static void bench_open(bench *b, double scale)
{
  succeeds(ebb_arena_create(&b->arena, "run", 1 << 16));
  b->run = (ebb_run){.arena = &b->arena};
  for (size_t i = 0; i < ROWS * WIDE; i++) b->y[i] = (ebb_real)(scale * noise(20, i));
  for (int i = 0; i < ROWS; i++) b->labels[i] = (5 * i + 2) % WIDE;
}

static double probability(const ebb_real *row, int k)
{
  double top = -INFINITY, sum = 0;
  for (int j = 0; j < WIDE; j++) top = fmax(top, (double)row[j]);
  for (int j = 0; j < WIDE; j++) sum += exp((double)row[j] - top);
  return exp((double)row[k] - top) / sum;
}

/* -sum_k t_k log p_k with t = (1 - s) at the label, and s / classes everywhere; gradient p - t, both over the labelled. */
static double direct_loss(const bench *b, double s, double gradient[ROWS * WIDE])
{
  double sum = 0, counted = 0;
  for (int i = 0; i < ROWS; i++) counted += b->labels[i] >= 0;
  for (int i = 0; i < ROWS; i++)
    for (int k = 0; k < WIDE; k++) {
      double p = probability(b->y + i * WIDE, k), t = s / WIDE + (k == b->labels[i] ? 1 - s : 0);
      gradient[i * WIDE + k] = b->labels[i] < 0 ? 0 : (p - t) / counted;
      if (b->labels[i] >= 0) sum -= t * log(p) / counted;
    }
  return sum;
}

static void loss_is_direct(bench *b, double smoothing)
{
  const double weight = 0.25;
  double       gradient[ROWS * WIDE], expected = direct_loss(b, smoothing, gradient);
  ebb_loss     loss = {.smoothing = smoothing};
  ebb_view     dy;
  ck_assert_double_eq_tol(ebb_loss_eval(&loss, &b->run, logits(b), b->labels, weight, &dy), expected, 1e-9);
  for (size_t i = 0; i < ROWS * WIDE; i++)
    ck_assert_double_eq_tol((double)ebb_reals(dy)[i], weight * gradient[i], 1e-7);
  ck_assert_uint_gt(b->arena.high, 0);
  ebb_arena_high_release(&b->arena, (ebb_mark){0, 0});
}

START_TEST(the_loss_is_its_formula)
{
  static bench b;
  bench_open(&b, 2);
  loss_is_direct(&b, 0);
  loss_is_direct(&b, 0.1);
  loss_is_direct(&b, 0.9);
  b.labels[0] = b.labels[3] = -1; /* not labelled: left out, of the mean too */
  loss_is_direct(&b, 0);
  loss_is_direct(&b, 0.2);
  ebb_arena_destroy(&b.arena);
}
END_TEST

START_TEST(a_loss_without_gradient_takes_no_memory)
{
  static bench b;
  ebb_loss     loss = {0};
  bench_open(&b, 1);
  double with_none = ebb_loss_eval(&loss, &b.run, logits(&b), b.labels, 1, NULL);
  ck_assert_uint_eq(b.arena.high, 0);
  ck_assert(with_none > 0);
  for (int i = 0; i < ROWS; i++) b.labels[i] = -1;
  ck_assert_double_eq(ebb_loss_eval(&loss, &b.run, logits(&b), b.labels, 1, NULL), 0);
  ebb_arena_destroy(&b.arena);
}
END_TEST

START_TEST(large_logits_overflow_nothing_and_nan_stays)
{
  static bench b;
  ebb_loss     loss = {.smoothing = 0.1};
  ebb_view     dy;
  bench_open(&b, 1e4);
  ck_assert(isfinite(ebb_loss_eval(&loss, &b.run, logits(&b), b.labels, 1, &dy)));
  for (size_t i = 0; i < ROWS * WIDE; i++) ck_assert(isfinite(ebb_reals(dy)[i]));
  for (int k = 0; k < WIDE; k++) {
    b.y[k] = (ebb_real)NAN;
    ck_assert(isnan(ebb_loss_eval(&loss, &b.run, logits(&b), b.labels, 1, NULL)));
    b.y[k] = 0;
  }
  ebb_arena_destroy(&b.arena);
}
END_TEST

/* ---- metrics ----------------------------------------------------------------------------------------------------- */
static ebb_metrics metrics_of(const ebb_real *scores, int rows, const int32_t *labels)
{
  ebb_metrics m = {0};
  ebb_shape   s = {.rank = 2, .n = rows, .d = 1, .h = 1, .w = 1, .c = CLASSES};
  ebb_metrics_add(&m, ebb_view_of((void *)(size_t)scores, s), labels, 2);
  return m;
}

START_TEST(accuracy_counts_the_best_and_the_best_five)
{
  const ebb_real scores[4 * CLASSES] = {0, 9, 1, 2, 3, 4,   9, 8, 7, 6, 5, 4,   1, 2, 3, 4, 5, 6,   6, 5, 4, 3, 2, 1};
  ebb_metrics    m = metrics_of(scores, 4, (int32_t[]){1, 5, 4, 4}); /* ranks 1, 6, 2, 5 */
  ck_assert_uint_eq(m.samples, 4);
  ck_assert_double_eq(ebb_metrics_accuracy(&m), 0.25);
  ck_assert_double_eq(ebb_metrics_top5(&m), 0.75);
  ck_assert_double_eq(ebb_metrics_loss(&m), 2);
}
END_TEST

START_TEST(a_tie_counts_as_the_lower_class)
{
  const ebb_real same[CLASSES] = {1, 1, 1, 1, 1, 1};
  ck_assert_uint_eq(metrics_of(same, 1, (int32_t[]){0}).correct, 1);
  ck_assert_uint_eq(metrics_of(same, 1, (int32_t[]){1}).correct, 0);
  ck_assert_uint_eq(metrics_of(same, 1, (int32_t[]){4}).correct5, 1);
  ck_assert_uint_eq(metrics_of(same, 1, (int32_t[]){5}).correct5, 0);
}
END_TEST

START_TEST(batches_weigh_by_their_labelled_samples)
{
  const ebb_real scores[3 * CLASSES] = {1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0};
  ebb_metrics    m = metrics_of(scores, 3, (int32_t[]){0, -1, 0});
  ebb_shape      s = {.rank = 2, .n = 1, .d = 1, .h = 1, .w = 1, .c = CLASSES};
  ebb_metrics_add(&m, ebb_view_of((void *)(size_t)scores, s), (int32_t[]){3}, 5);
  ck_assert_uint_eq(m.samples, 3);
  ck_assert_double_eq_tol(ebb_metrics_accuracy(&m), 2. / 3, 1e-15);
  ck_assert_double_eq_tol(ebb_metrics_loss(&m), (2 * 2 + 5) / 3., 1e-15);
}
END_TEST

START_TEST(nothing_has_no_accuracy)
{
  ebb_metrics    m = {0};
  const ebb_real scores[CLASSES] = {0};
  ck_assert(isnan(ebb_metrics_loss(&m)) && isnan(ebb_metrics_accuracy(&m)) && isnan(ebb_metrics_top5(&m)));
  m = metrics_of(scores, 1, (int32_t[]){-1});
  ck_assert(isnan(ebb_metrics_loss(&m)) && isnan(ebb_metrics_accuracy(&m)));
}
END_TEST

/* A network that is broken must not look perfect. */
START_TEST(a_score_that_is_no_number_is_never_right)
{
  const ebb_real nan = (ebb_real)NAN, scores[2 * CLASSES] = {nan, nan, nan, nan, nan, nan, 1, 2, nan, 3, 4, 5};
  ebb_metrics    m = metrics_of(scores, 2, (int32_t[]){0, 2});
  ck_assert_uint_eq(m.samples, 2);
  ck_assert_uint_eq(m.correct, 0);
  ck_assert_uint_eq(m.correct5, 0);
}
END_TEST

/* ---- steps ------------------------------------------------------------------------------------------------------- */
START_TEST(accumulated_batches_are_one_larger_batch)
{
  ebb_model         m = plain_network();
  ebb_train_options small = standard(), large = standard();
  ebb_trainer       a, b;
  memory            s = memory_of(true, BATCH, SAMPLES), l = memory_of(true, 2 * BATCH, SAMPLES);
  small.accumulate = 2;
  large.batch = 2 * BATCH;
  trainer_of(&a, &m, &small, EBB_REVERSE);
  trainer_of(&b, &m, &large, EBB_REVERSE);
  for (int k = 0; k < 4; k++) {
    steps(&a, &s, 1);
    steps(&b, &l, 1);
    ck_assert_double_eq_tol(a.grad_norm, b.grad_norm, 1e-5 * b.grad_norm);
  }
  ck_assert_uint_eq(a.work.run.step, 8);
  ck_assert_uint_eq(a.epoch, b.epoch);
  for (size_t i = 0; i < m.weights; i++) ck_assert_float_eq_tol(a.work.weights[i], b.work.weights[i], 2e-6f);
  ebb_trainer_destroy(&a);
  ebb_trainer_destroy(&b);
  s.base.ops->close(&s.base);
  l.base.ops->close(&l.base);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(training_learns_and_epochs_turn)
{
  ebb_model         m = reversible_network(8, 2);
  ebb_train_options o = standard();
  ebb_trainer       t;
  memory            s = memory_of(true, BATCH, SAMPLES), v = memory_of(false, BATCH, SAMPLES);
  ebb_metrics       before, after;
  o.steps = 200;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  succeeds(ebb_trainer_evaluate(&t, &v.base, &before));
  ck_assert_uint_eq(before.samples, SAMPLES); /* the last, smaller batch too */
  steps(&t, &s, 20);
  ck_assert_uint_eq(t.epoch, 2);
  ck_assert_uint_eq(t.cursor, 4 * BATCH);
  ck_assert_uint_eq(t.step, 20);
  steps(&t, &s, 180);
  succeeds(ebb_trainer_evaluate(&t, &v.base, &after));
  ck_assert_msg(ebb_metrics_loss(&after) < 0.7 * ebb_metrics_loss(&before), "loss %g, before %g", ebb_metrics_loss(&after),
                ebb_metrics_loss(&before));
  ck_assert_uint_eq(ebb_workspace_peak(&t.work, 0), t.plan.peak);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  v.base.ops->close(&v.base);
  ebb_model_destroy(&m);
}
END_TEST

/* Of two runs that begin one apart, running = (1 - m) running + m now leaves (1 - m)^moves. */
static void state_after_a_step(ebb_real *state, const ebb_model *m, ebb_policy policy, ebb_real begin)
{
  ebb_train_options o = standard();
  ebb_trainer       t;
  memory            s = memory_of(true, BATCH, SAMPLES);
  trainer_of(&t, m, &o, policy);
  for (size_t i = 0; i < m->states; i++) t.work.state[i] = begin;
  steps(&t, &s, 1);
  memcpy(state, t.work.state, m->states * sizeof *state);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
}

/* ---- soft labels ----------------------------------------------------------------------------------------------------- */
/* Maps whose sites are all of class 0 with probability 3/4, else of class 1; there is nothing to see. */
typedef struct soft_maps { ebb_source base; bool given; ebb_real x[36 * 3], soft[36 * CLASSES]; int32_t labels[36]; uint32_t index; } soft_maps;

static ebb_status soft_next(ebb_source *base, ebb_batch *batch)
{
  soft_maps *s = (soft_maps *)base;
  ebb_shape  x = base->shape, t = x;
  t.c = CLASSES;
  x.n = t.n = !s->given;
  s->given = !s->given;
  *batch = (ebb_batch){.x = ebb_view_of(s->x, x), .labels = s->labels, .soft = ebb_view_of(s->soft, t), .index = &s->index};
  return EBB_OK;
}

static ebb_status soft_seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  (void)epoch;
  ((soft_maps *)base)->given = cursor > 0;
  return EBB_OK;
}

static const ebb_source_ops soft_ops = {soft_next, soft_seek, NULL};

/* Cross-entropy is least, and is the labels' entropy, where the network's probabilities are the labels'; of the most probable class
 * alone it would be less, in training and in evaluation. */
START_TEST(soft_labels_are_what_is_learnt)
{
  const double      entropy = -0.75 * log(0.75) - 0.25 * log(0.25);
  ebb_train_options o = standard();
  soft_maps         maps = {.base = {&soft_ops, "maps", image, CLASSES, 1, 0}};
  ebb_metrics       last = {0}, all;
  ebb_trainer       t;
  ebb_model         m;
  ebb_builder       b;
  o.batch = 1, o.lr = 0.5;
  for (int i = 0; i < 36; i++) maps.soft[i * CLASSES] = (ebb_real)0.75, maps.soft[i * CLASSES + 1] = (ebb_real)0.25;
  ebb_model_begin(&m, &b, "maps", image);
  ebb_sequence *net = ebb_sequence_open(&b, "net", 1);
  ebb_sequence_add(net, conv(&b, "conv", 3, CLASSES, 1));
  end(&m, &b, net);
  succeeds(ebb_trainer_create(&t, &m, image, &o, &(ebb_run_options){.backward = EBB_STORE}, 1, 0));
  for (int i = 0; i < 300; i++) {
    last = (ebb_metrics){0};
    succeeds(ebb_trainer_step(&t, &maps.base, &last));
  }
  succeeds(ebb_trainer_evaluate(&t, &maps.base, &all));
  ck_assert_double_eq_tol(ebb_metrics_loss(&last), entropy, 0.02);
  ck_assert_double_eq_tol(ebb_metrics_loss(&all), entropy, 0.02);
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
}
END_TEST

/* ---- metrics of label maps ------------------------------------------------------------------------------------------ */
/* Two volumes, the first in two pieces; predictions are the largest of three scores. */
START_TEST(dice_is_the_mean_of_the_volumes)
{
  static const int32_t labels[3][4] = {{1, 1, 0, -1}, {0, 0, 1, 0}, {0, 2, 0, 0}};
  static const int     said[3][4] = {{1, 0, 0, 1}, {1, 0, 1, 0}, {0, 0, 0, 0}};
  const uint32_t       index[] = {4, 4, 7};
  ebb_real             y[3 * 4 * 3] = {0};
  ebb_metrics          m = {0};
  for (int i = 0; i < 12; i++) y[3 * i + said[i / 4][i % 4]] = 1;
  ebb_shape s = {.rank = 2, .n = 2, .d = 1, .h = 2, .w = 2, .c = 3};
  ebb_metrics_add_maps(&m, ebb_view_of(y, s), labels[0], index);
  s.n = 1;
  ebb_metrics_add_maps(&m, ebb_view_of(y + 24, s), labels[2], index + 2);
  ebb_metrics_finish(&m);
  /* volume 4: label 1 at three sites, predicted at three, both at two; volume 7: no class 1 at all, class 2 missed */
  ck_assert_double_eq_tol(ebb_metrics_dice(&m, 1), 4.0 / 6, 1e-15);
  ck_assert_double_eq_tol(ebb_metrics_dice(&m, 2), 0, 1e-15);
  ck_assert_double_eq_tol(ebb_metrics_dice(&m, 0), 0.5 * (6.0 / 8 + 6.0 / 7), 1e-15);
  ck_assert_double_eq_tol(ebb_metrics_mean_dice(&m), 1.0 / 3, 1e-15);
  ck_assert_double_eq_tol(ebb_metrics_iou(&m, 1), 2.0 / 4, 1e-15);
  ck_assert_uint_eq(m.confusion[2][0], 1);
  ck_assert_uint_eq(m.confusion[1][0], 1);
  ck_assert(ebb_metrics_score(&m) == ebb_metrics_mean_dice(&m));
}
END_TEST

START_TEST(classes_that_are_nowhere_are_left_out)
{
  const int32_t  labels[] = {0, 0, 1, 1};
  const uint32_t index[] = {0};
  ebb_real       y[4] = {-1, 2, 3, -4};
  ebb_metrics    m = {0};
  ebb_metrics_add_maps(&m, ebb_view_of(y, (ebb_shape){.rank = 1, .n = 1, .d = 1, .h = 1, .w = 4, .c = 1}), labels, index);
  ebb_metrics_finish(&m);
  ck_assert_int_eq(m.classes, 2); /* one channel tells two apart */
  ck_assert_double_eq_tol(ebb_metrics_dice(&m, 1), 0.5, 1e-15);
  ebb_real    three[3] = {1, 0, 0};
  ebb_metrics k = {0};
  ebb_metrics_add_maps(&k, ebb_view_of(three, (ebb_shape){.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 3}), labels, index);
  ebb_metrics_finish(&k);
  ck_assert(isnan(ebb_metrics_dice(&k, 1)) && isnan(ebb_metrics_iou(&k, 2)) && isnan(ebb_metrics_mean_dice(&k)));
  ck_assert(ebb_metrics_dice(&k, 0) == 1);
}
END_TEST

/* ---- the loop of ebb.h -------------------------------------------------------------------------------------------- */
static ebb_status loop_of_ebb_h(ebb_workspace *work, const ebb_model *m, const ebb_train_options *train, ebb_source *source)
{
  ebb_pool         pool = {0};
  ebb_plan         plan;
  ebb_batch        batch;
  ebb_view         y, dy, none = {0};
  ebb_loss         criterion = ebb_train_loss(train, m);
  ebb_plan_options options = {.policy = EBB_REVERSE, .training = true, .optimizer = ebb_optim_bytes(train, m)};
  ebb_plan_make(&plan, m, source->shape, options, &pool);
  EBB_TRY(ebb_workspace_create(work, m, &plan));
  ebb_model_initialise(m, work->weights, work->state, train->seed);
  work->run.seed = train->seed;
  for (uint64_t step = 0; step < 5;) {
    EBB_TRY(source->ops->next(source, &batch));
    work->run.pass = EBB_TRAIN;
    ebb_forward(&work->run, m, batch.x, &y);
    ebb_loss_eval(&criterion, &work->run, y, batch.labels, 1, &dy);
    ebb_backward(&work->run, m, batch.x, dy, none);
    double norm = ebb_optim_norm(m, work->grads), lr = ebb_schedule_lr(train, step, (uint64_t)train->steps);
    ebb_optim_step(train, m, work->weights, work->grads, work->optimizer, lr, norm, step++);
  }
  ebb_pool_clear(&pool);
  return EBB_OK;
}

START_TEST(the_loop_of_ebb_h_is_the_trainers)
{
  ebb_train_options o = standard();
  ebb_model         m = reversible_network(8, 2);
  memory            a = memory_of(true, BATCH, SAMPLES), b = memory_of(true, BATCH, SAMPLES);
  ebb_workspace     work;
  ebb_trainer       t;
  succeeds(loop_of_ebb_h(&work, &m, &o, &a.base));
  trainer_of(&t, &m, &o, EBB_REVERSE);
  steps(&t, &b, 5);
  ck_assert_int_eq(memcmp(work.weights, t.work.weights, m.weights * sizeof(ebb_real)), 0);
  ebb_workspace_destroy(&work);
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
  memory_close(&a.base);
  memory_close(&b.base);
}
END_TEST

START_TEST(running_statistics_move_once_a_step)
{
  ebb_model m = reversible_network(8, 3);
  ebb_pool  pool = {0};
  ebb_real *low = ebb_pool_take(&pool, m.states * sizeof *low), *high = ebb_pool_take(&pool, m.states * sizeof *high);
  for (int policy = 0; policy < EBB_POLICIES; policy++) {
    state_after_a_step(low, &m, (ebb_policy)policy, 1);
    state_after_a_step(high, &m, (ebb_policy)policy, 2);
    for (size_t i = 0; i < m.states; i++) {
      ck_assert_msg(low[i] != 1 && high[i] != 2, "%s: value %zu does not move", ebb_policy_names[policy], i);
      ck_assert_msg(fabs((double)(high[i] - low[i]) - 0.9) < 1e-5, "%s: %zu: %g left of 1, one move leaves 0.9",
                    ebb_policy_names[policy], i, (double)(high[i] - low[i]));
    }
  }
  ebb_pool_clear(&pool);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(an_evaluation_changes_nothing)
{
  ebb_model         m = reversible_network(8, 1);
  ebb_train_options o = standard();
  ebb_trainer       t;
  memory            s = memory_of(true, BATCH, SAMPLES), v = memory_of(false, BATCH, SAMPLES);
  ebb_metrics       one, two;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  steps(&t, &s, 3);
  snapshot before = snapshot_of(&t);
  succeeds(ebb_trainer_evaluate(&t, &v.base, &one));
  succeeds(ebb_trainer_evaluate(&t, &v.base, &two));
  equals(&t, &before);
  ck_assert_double_eq(ebb_metrics_loss(&one), ebb_metrics_loss(&two));
  ebb_pool_clear(&before.pool);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  v.base.ops->close(&v.base);
  ebb_model_destroy(&m);
}
END_TEST

static ebb_status create(const ebb_model *m, ebb_train_options o, size_t budget, uint64_t samples)
{
  ebb_trainer     t;
  ebb_run_options run = {.backward = EBB_STORE, .memory = budget};
  ebb_shape       x = image;
  x.n = o.batch;
  ebb_status status = ebb_trainer_create(&t, m, x, &o, &run, samples, 0);
  if (status == EBB_OK) ebb_trainer_destroy(&t);
  return status;
}

START_TEST(what_cannot_be_trained_is_refused_before_it_begins)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  fails(create(&m, o, 1000, SAMPLES), EBB_OSERR, "run.memory");
  says("run.backward=reverse");
  succeeds(create(&m, o, 100 << 20, SAMPLES));
  fails(create(&m, o, 0, BATCH - 1), EBB_CONFIG, "train.batch");
  o.steps = 0;
  o.epochs = 0.01;
  fails(create(&m, o, 0, SAMPLES), EBB_CONFIG, "train.epochs");
  o.batch = 1000000; /* 1 M samples: hundreds of GB */
  o.steps = 1;
  ebb_model_destroy(&m);
  m = reversible_network(512, 2);
  fails(create(&m, o, 0, 2000000), EBB_OSERR, "train.batch");
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(weights_cannot_follow_within_the_backward_pass_by_what_is_known_after_it)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  ebb_run_options   run = {.update = EBB_UPDATE_BACKWARD};
  ebb_trainer       t;
  ebb_shape         x = image;
  x.n = o.batch;
  o.clip = 1;
  fails(ebb_trainer_create(&t, &m, x, &o, &run, SAMPLES, 0), EBB_CONFIG, "train.clip=0");
  o.clip = 0;
  o.accumulate = 2;
  fails(ebb_trainer_create(&t, &m, x, &o, &run, SAMPLES, 0), EBB_CONFIG, "train.accumulate=1");
  o.accumulate = 1;
  run.drift = 1e-5;
  m.logdet = true;
  fails(ebb_trainer_create(&t, &m, x, &o, &run, SAMPLES, 0), EBB_CONFIG, "run.drift=0");
  m.logdet = false;
  succeeds(ebb_trainer_create(&t, &m, x, &o, &run, SAMPLES, 0));
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(epochs_become_steps)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  ebb_trainer       t;
  o.steps = 0;
  o.epochs = 2.5;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  ck_assert_uint_eq(t.steps, 20); /* 35 samples are eight batches of 4 */
  ebb_trainer_destroy(&t);
  o.accumulate = 4;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  ck_assert_uint_eq(t.steps, 5);
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
}
END_TEST

/* ---- numbers that go astray -------------------------------------------------------------------------------------- */
START_TEST(nan_stops_the_step_and_spares_the_weights)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  s.nan_call = 4;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  steps(&t, &s, 3);
  snapshot before = snapshot_of(&t);
  fails(ebb_trainer_step(&t, &s.base, &k), EBB_SOFTWARE, "conv1.weight"); /* the first, in the order of the network */
  says("step 3");
  ck_assert_mem_eq(t.work.weights, before.weights, m.weights * sizeof(ebb_real));
  ck_assert_mem_eq(t.work.optimizer, before.momenta, m.weights * sizeof(ebb_real));
  ck_assert_uint_eq(t.step, 3);
  ebb_pool_clear(&before.pool);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

static void fill(ebb_trainer *t, const char *name, double value)
{
  const ebb_param *p = param_named(t->model, name);
  for (size_t i = 0; i < p->count; i++) t->work.weights[p->offset + i] = (ebb_real)value;
}

/* A loss that is finite while a gradient is not: tiny weights between a large input and a huge output. No weight follows; within the backward
 * pass those behind that gradient have followed by then, and such a step is never left out. */
START_TEST(a_gradient_that_overflows_stops_the_step_too)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  bool              within = _i == EBB_UPDATE_BACKWARD;
  const ebb_param  *last = param_named(&m, "linear.weight"), *bad = param_named(&m, "conv2.bias");
  size_t            still = within ? bad->offset + bad->count : m.weights;
  if (within) o.skip = 2;
  trainer_run(&t, &m, &o, (ebb_run_options){.update = _i});
  fill(&t, "conv1.bias", 1e6);
  fill(&t, "conv2.weight", 1e-37);
  fill(&t, "conv2.bias", 0);
  for (size_t i = 0; i < last->count; i++) t.work.weights[last->offset + i] = (ebb_real)(1e33 * (double)(i / 10));
  snapshot before = snapshot_of(&t);
  fails(ebb_trainer_step(&t, &s.base, &k), EBB_SOFTWARE, "conv2.weight");
  ck_assert(isfinite(ebb_metrics_loss(&k)));
  ck_assert_mem_eq(t.work.weights, before.weights, still * sizeof(ebb_real));
  ck_assert((memcmp(t.work.weights, before.weights, m.weights * sizeof(ebb_real)) != 0) == within);
  for (size_t i = 0; i < m.weights; i++) ck_assert(isfinite(t.work.weights[i]));
  ck_assert_uint_eq(t.step, 0);
  ebb_pool_clear(&before.pool);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

/* Two such steps in a row are left out, with no trace but the count; the third stops the run. A finite one begins the row anew. */
START_TEST(steps_that_are_not_finite_are_left_out)
{
  ebb_model         m = reversible_network(8, 1);
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  const ebb_param  *p = param_named(&m, "linear.weight");
  o.skip = 2;
  trainer_run(&t, &m, &o, (ebb_run_options){.update = _i});
  ebb_real *at = &t.work.weights[p->offset], good = *at;
  for (int i = 0; i < 2; i++) {
    *at = (ebb_real)INFINITY;
    snapshot before = snapshot_of(&t);
    succeeds(ebb_trainer_step(&t, &s.base, &k));
    ck_assert_mem_eq(t.work.weights, before.weights, m.weights * sizeof(ebb_real));
    for (size_t j = 0; j < m.states; j++) ck_assert(isfinite(t.work.state[j]));
    for (size_t j = 0; j < t.plan.gradients / sizeof(ebb_real); j++) ck_assert(t.work.grads[j] == 0);
    ebb_pool_clear(&before.pool);
    if (i == 0) {
      *at = good;
      succeeds(ebb_trainer_step(&t, &s.base, &k));
      good = *at;
      ck_assert_uint_eq(t.skipped_last, 0);
    }
  }
  succeeds(ebb_trainer_step(&t, &s.base, &k));
  ck_assert_uint_eq(t.skipped, 3);
  ck_assert_uint_eq(t.step, 4);
  ck_assert(isfinite(ebb_metrics_loss(&k)));
  fails(ebb_trainer_step(&t, &s.base, &k), EBB_SOFTWARE, "the loss is");
  ck_assert_uint_eq(t.step, 4);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(running_statistics_survive_a_step_that_is_left_out)
{
  ebb_model         m;
  ebb_builder       b;
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  ebb_model_begin(&m, &b, "normed", image);
  ebb_sequence *layers = ebb_sequence_open(&b, "net", 4);
  ebb_sequence_add(layers, conv(&b, "conv1", 3, 8, 1));
  ebb_sequence_add(layers, batch_norm(&b, "norm", 8));
  ebb_sequence_add(layers, ebb_global_mean(&b, "mean"));
  ebb_sequence_add(layers, ebb_linear(&b, "linear", 8, CLASSES));
  end(&m, &b, layers);
  o.skip = 1;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  t.work.weights[param_named(&m, "conv1.weight")->offset] = (ebb_real)INFINITY;
  succeeds(ebb_trainer_step(&t, &s.base, &k));
  ck_assert_uint_eq(t.skipped, 1);
  for (size_t i = 0; i < m.states; i++) ck_assert(isfinite(t.work.state[i]));
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(a_rate_that_is_too_high_stops_the_run)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_status        status = EBB_OK;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  o.lr = 1e6;
  o.schedule = CONSTANT;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  for (int i = 0; i < 200 && status == EBB_OK; i++) status = ebb_trainer_step(&t, &s.base, &k);
  fails(status, EBB_SOFTWARE, "the first gradient that is not finite belongs to");
  says("train.lr");
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

/* Invertible from end to end: a density. */
static ebb_model flow_network(void)
{
  ebb_model   m;
  ebb_builder b;
  ebb_model_begin(&m, &b, "flow", image);
  ebb_sequence *s = ebb_sequence_open(&b, "net", 2);
  ebb_sequence_add(s, ebb_actnorm(&b, "norm", image.c, true));
  ebb_sequence_add(s, ebb_invertible_conv(&b, "mix", image.c));
  end(&m, &b, s);
  return m;
}

/* The first batch decides on actnorm's values, the loss is the likelihood, and a step makes it larger. */
START_TEST(a_flow_is_trained_by_its_likelihood)
{
  ebb_model         m = flow_network();
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k[2] = {{0}};
  memory            s = memory_of(true, BATCH, SAMPLES);
  const ebb_param  *p = param_named(&m, "norm.bias");
  double            mean = 0;
  o.lr = 1e-6;
  o.schedule = CONSTANT;
  ck_assert(m.flow && m.logdet);
  trainer_of(&t, &m, &o, EBB_REVERSE);
  ck_assert(t.work.weights[p->offset] == 0);
  for (int i = 0; i < 2; i++) {
    t.cursor = 0; /* the same batch */
    ck_assert(s.base.ops->seek(&s.base, 0, 0) == EBB_OK);
    ck_assert_msg(ebb_trainer_step(&t, &s.base, &k[i]) == EBB_OK, "%s", ebb_message());
  }
  for (size_t i = 0; i < BATCH * ebb_sites(image); i++) mean += (double)s.x[i * (size_t)image.c] / (double)(BATCH * ebb_sites(image));
  ck_assert_msg(fabs(mean) > 0.01 && fabs((double)t.work.weights[p->offset] + mean) < 1e-3, "mean %g, bias %g", mean, (double)t.work.weights[p->offset]);
  ck_assert_msg(fabs(ebb_metrics_loss(&k[0])) < 5 * (double)ebb_count(image), "%g nats", ebb_metrics_loss(&k[0]));
  ck_assert_msg(ebb_metrics_loss(&k[1]) < ebb_metrics_loss(&k[0]), "%.9g, then %.9g", ebb_metrics_loss(&k[0]), ebb_metrics_loss(&k[1]));
  ck_assert(isnan(ebb_metrics_accuracy(&k[0])) && ebb_metrics_score(&k[0]) == -ebb_metrics_loss(&k[0]));
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(a_singular_matrix_is_told_with_the_layer)
{
  ebb_model         m = flow_network();
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  const ebb_param  *p = param_named(&m, "mix.weight");
  trainer_of(&t, &m, &o, EBB_REVERSE);
  for (int i = 0; i < image.c; i++) t.work.weights[p->offset + (size_t)i] = t.work.weights[p->offset + (size_t)(image.c + i)];
  fails(ebb_trainer_step(&t, &s.base, &k), EBB_SOFTWARE, "the matrix of layer mix has no inverse");
  says("train.lr");
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(leaving_the_streams_range_is_told_with_the_layer)
{
  ebb_model         m = reversible_network(8, 2);
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  const ebb_param  *p = param_named(&m, "block1.f.conv.bias");
  trainer_run(&t, &m, &o, (ebb_run_options){.update = _i});
  t.work.weights[p->offset] = 3000; /* beyond 2048 */
  snapshot before = snapshot_of(&t);
  fails(ebb_trainer_step(&t, &s.base, &k), EBB_SOFTWARE, "left the stream's range of +-2048 in layer block1");
  says("144 values"); /* one channel of 4 samples of 6x6 */
  ck_assert_mem_eq(t.work.weights, before.weights, m.weights * sizeof(ebb_real));
  ck_assert_uint_eq(t.work.arena.low + t.work.arena.high + t.work.run.kept_count, 0); /* whoever catches it can go on */
  ebb_pool_clear(&before.pool);
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

START_TEST(nan_in_a_stream_is_told_too)
{
  ebb_model         m = reversible_network(8, 1);
  ebb_train_options o = standard();
  ebb_trainer       t;
  ebb_metrics       k = {0};
  memory            s = memory_of(true, BATCH, SAMPLES);
  s.nan_call = 1;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  fails(ebb_trainer_step(&t, &s.base, &k), EBB_SOFTWARE, "in layer enter");
  ebb_trainer_destroy(&t);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
}
END_TEST

static ebb_status fit(ebb_trainer *t, memory *train, memory *val, const folder *f)
{
  return ebb_trainer_fit(t, &(ebb_fit){.train = &train->base, .val = val ? &val->base : NULL, .folder = f->path,
                                       .config = "model:\n  name: test\n", .stop = &train->stop});
}

static void dump_tells(const folder *f)
{
  json_t *o = json_load_file(in(f, "nonfinite.json").text, 0, NULL), *first;
  ck_assert_msg(o != NULL, "nonfinite.json is no JSON");
  ck_assert_int_eq(json_integer_value(json_object_get(o, "step")), 10);
  ck_assert_ptr_nonnull(strstr(json_string_value(json_object_get(o, "message")), "conv1.weight"));
  first = json_array_get(json_object_get(o, "parameters"), 0);
  ck_assert_str_eq(json_string_value(json_object_get(first, "name")), "conv1.weight");
  ck_assert_int_gt(json_integer_value(json_object_get(json_object_get(first, "gradients"), "nonfinite")), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(first, "weights"), "nonfinite")), 0);
  ck_assert(json_real_value(json_object_get(json_object_get(first, "weights"), "largest")) > 0);
  json_decref(o);
}

START_TEST(a_run_that_goes_astray_leaves_a_dump_and_its_last_checkpoint)
{
  ebb_model         m = plain_network();
  ebb_train_options o = standard();
  ebb_trainer       t, loaded;
  folder            f = folder_make();
  memory            s = memory_of(true, BATCH, SAMPLES), calm = memory_of(true, BATCH, SAMPLES);
  s.nan_call = 11; /* in the second epoch of eight batches */
  trainer_of(&t, &m, &o, EBB_REVERSE);
  fails(fit(&t, &s, NULL, &f), EBB_SOFTWARE, "conv1.weight");
  dump_tells(&f);
  ebb_trainer_destroy(&t);
  trainer_of(&t, &m, &o, EBB_REVERSE);
  trainer_of(&loaded, &m, &o, EBB_REVERSE);
  steps(&t, &calm, 8);
  succeeds(ebb_checkpoint_load(in(&f, "checkpoint_last.h5").text, &loaded, false));
  snapshot expected = snapshot_of(&t);
  equals(&loaded, &expected);
  ebb_pool_clear(&expected.pool);
  ebb_trainer_destroy(&t);
  ebb_trainer_destroy(&loaded);
  s.base.ops->close(&s.base);
  calm.base.ops->close(&calm.base);
  ebb_model_destroy(&m);
  folder_remove(&f);
}
END_TEST

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */
/* A trainer after three steps, and its checkpoint. */
typedef struct saved {
  folder            folder;
  path_text         path;
  ebb_model         model;
  ebb_train_options options;
  ebb_trainer       trainer;
  memory            source;
  ebb_pool          pool;
  char             *bytes;
  size_t            size;
} saved;

static const char config[] = "model:\n  name: test # with \"quotes\" and ünïcode\n";

static void saved_open(saved *c)
{
  *c = (saved){.folder = folder_make(), .model = reversible_network(8, 2), .options = standard()};
  c->path = in(&c->folder, "a.h5");
  c->source = memory_of(true, BATCH, SAMPLES);
  trainer_of(&c->trainer, &c->model, &c->options, EBB_REVERSE);
  steps(&c->trainer, &c->source, 10); /* epoch 1, cursor 8 */
  c->trainer.best = 0.625;
  succeeds(ebb_checkpoint_save(c->path.text, &c->trainer, config));
  c->bytes = whole_file(c->path.text, &c->size, &c->pool);
}

static void saved_close(saved *c)
{
  ebb_trainer_destroy(&c->trainer);
  c->source.base.ops->close(&c->source.base);
  ebb_model_destroy(&c->model);
  ebb_pool_clear(&c->pool);
  folder_remove(&c->folder);
}

START_TEST(a_checkpoint_brings_everything_back)
{
  saved             c;
  ebb_trainer       t;
  const char       *text;
  saved_open(&c);
  ebb_train_options o = c.options;
  o.seed = 99;
  trainer_of(&t, &c.model, &o, EBB_REVERSE);
  snapshot there = snapshot_of(&c.trainer), fresh = snapshot_of(&t);
  ck_assert_ptr_nonnull(difference(&t, &there));
  succeeds(ebb_checkpoint_load(c.path.text, &t, true));
  ck_assert_mem_eq(t.work.weights, there.weights, c.model.weights * sizeof(ebb_real));
  ck_assert_mem_eq(t.work.state, there.state, c.model.states * sizeof(ebb_real));
  ck_assert_mem_eq(t.work.optimizer, fresh.momenta, c.model.weights * sizeof(ebb_real)); /* weights only */
  ck_assert_uint_eq(t.step + t.epoch + t.cursor + t.work.run.step, 0);
  ck_assert_uint_eq(t.work.run.seed, 99);
  succeeds(ebb_checkpoint_load(c.path.text, &t, false));
  equals(&t, &there);
  ck_assert_uint_eq(t.cursor, 8);
  ck_assert_double_eq(t.best, 0.625);
  succeeds(ebb_checkpoint_config(c.path.text, &text, &c.pool));
  ck_assert_str_eq(text, config);
  ebb_pool_clear(&there.pool);
  ebb_pool_clear(&fresh.pool);
  ebb_trainer_destroy(&t);
  saved_close(&c);
}
END_TEST

START_TEST(equal_runs_write_equal_files)
{
  saved  one, two;
  saved_open(&one);
  sleep(1); /* a time stamp would differ by now */
  saved_open(&two);
  ck_assert_uint_eq(one.size, two.size);
  ck_assert_int_eq(memcmp(one.bytes, two.bytes, one.size), 0);
  saved_close(&one);
  saved_close(&two);
}
END_TEST

/* The file `bytes` is refused and the trainer stays as it was. */
static void refused(const saved *c, const void *bytes, size_t size, const snapshot *before, const char *what, size_t where)
{
  write_file(in(&c->folder, "b.h5").text, bytes, size);
  ebb_status  status = ebb_checkpoint_load(in(&c->folder, "b.h5").text, (ebb_trainer *)(size_t)&c->trainer, false);
  ck_assert_msg(status == EBB_DATA, "%s at %zu of %zu: status %d", what, where, c->size, (int)status);
  says("b.h5");
  const char *changed = difference(&c->trainer, before);
  ck_assert_msg(changed == NULL, "%s at %zu: %s changed", what, where, changed);
}

static void move_on(saved *c, snapshot *before)
{
  saved_open(c);
  steps(&c->trainer, &c->source, 1); /* so that loading the file would show */
  *before = snapshot_of(&c->trainer);
}

START_TEST(a_flipped_byte_anywhere_is_found)
{
  saved    c;
  snapshot before;
  ebb_rng  g = {23, EBB_RNG_TEST, 0};
  enum { FLIPS = 300, IN_BLOCK = 60 };
  move_on(&c, &before);
  for (uint64_t i = 0; i < FLIPS; i++) {
    size_t at = (size_t)ebb_rng_below(g, 2 * i, i < IN_BLOCK ? 512 : c.size); /* the first 512 bytes hold the checksum */
    char   mask = (char)(1u << ebb_rng_below(g, 2 * i + 1, 8));
    c.bytes[at] ^= mask;
    refused(&c, c.bytes, c.size, &before, "a flipped bit", at);
    c.bytes[at] ^= mask;
  }
  succeeds(ebb_checkpoint_load(c.path.text, &c.trainer, false)); /* and the whole file is not */
  ebb_pool_clear(&before.pool);
  saved_close(&c);
}
END_TEST

START_TEST(a_truncated_file_is_found)
{
  saved    c;
  snapshot before;
  move_on(&c, &before);
  for (size_t i = 0; i < 48; i++) refused(&c, c.bytes, i * c.size / 48, &before, "truncation", i * c.size / 48);
  refused(&c, c.bytes, c.size - 1, &before, "truncation", c.size - 1);
  refused(&c, c.bytes, 511, &before, "truncation", 511);
  char *longer = ebb_pool_take(&c.pool, c.size + 1);
  memcpy(longer, c.bytes, c.size);
  refused(&c, longer, c.size + 1, &before, "one byte more", c.size);
  ebb_pool_clear(&before.pool);
  saved_close(&c);
}
END_TEST

static void other_architecture(saved *c, ebb_model m)
{
  ebb_trainer t;
  trainer_of(&t, &m, &c->options, EBB_REVERSE);
  snapshot before = snapshot_of(&t);
  fails(ebb_checkpoint_load(c->path.text, &t, false), EBB_DATA, "another architecture");
  says("a.h5");
  equals(&t, &before);
  fails(ebb_checkpoint_load(c->path.text, &t, true), EBB_DATA, "another architecture");
  equals(&t, &before);
  ebb_pool_clear(&before.pool);
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
}

START_TEST(another_architecture_is_refused)
{
  saved c;
  saved_open(&c);
  other_architecture(&c, reversible_network(16, 2)); /* other shapes      */
  other_architecture(&c, reversible_network(8, 3));  /* more parameters   */
  other_architecture(&c, reversible_network(8, 1));  /* fewer             */
  other_architecture(&c, plain_network());           /* other names       */
  saved_close(&c);
}
END_TEST

/* A fixed order of channels belongs to the model: a run with another seed has it from the file; what is no order is refused. */
START_TEST(an_order_of_channels_is_kept)
{
  static const ebb_real odd[] = {8, -1, NAN};
  ebb_train_options     o = standard();
  folder                f = folder_make();
  ebb_model             m;
  ebb_builder           b;
  ebb_trainer           t[2];
  ebb_model_begin(&m, &b, "ordered", image);
  ebb_sequence *s = ebb_sequence_open(&b, "net", 4);
  ebb_sequence_add(s, conv(&b, "conv", 3, 8, 1));
  ebb_sequence_add(s, ebb_permute(&b, "permute", 8, NULL));
  ebb_sequence_add(s, ebb_global_mean(&b, "mean"));
  ebb_sequence_add(s, ebb_linear(&b, "linear", 8, CLASSES));
  end(&m, &b, s);
  for (int i = 0; i < 2; i++, o.seed++) trainer_of(&t[i], &m, &o, EBB_REVERSE);
  ebb_real *order = t->work.state, *other = t[1].work.state;
  ck_assert(memcmp(other, order, 8 * sizeof *order) != 0);
  succeeds(ebb_checkpoint_save(in(&f, "a.h5").text, t, ""));
  succeeds(ebb_checkpoint_load(in(&f, "a.h5").text, &t[1], true));
  ck_assert(memcmp(other, order, 8 * sizeof *order) == 0);
  for (int i = 0; i < 3; i++) {
    order[5] = odd[i];
    succeeds(ebb_checkpoint_save(in(&f, "a.h5").text, t, ""));
    fails(ebb_checkpoint_load(in(&f, "a.h5").text, &t[1], true), EBB_DATA, "an order of channels");
  }
  for (int i = 0; i < 2; i++) ebb_trainer_destroy(&t[i]);
  ebb_model_destroy(&m);
  folder_remove(&f);
}
END_TEST

START_TEST(what_is_no_checkpoint_is_refused)
{
  saved       c;
  snapshot    before;
  const char *text;
  move_on(&c, &before);
  refused(&c, "", 0, &before, "an empty file", 0);
  refused(&c, "steps,loss\n1,2\n", 15, &before, "a text", 0);
  refused(&c, c.bytes + 512, c.size - 512, &before, "a plain HDF5 file", 0);
  says("expected a checkpoint of ebb");
  fails(ebb_checkpoint_load(in(&c.folder, "missing.h5").text, &c.trainer, false), EBB_NOINPUT, "missing.h5");
  fails(ebb_checkpoint_config(in(&c.folder, "missing.h5").text, &text, &c.pool), EBB_NOINPUT, "missing.h5");
  fails(ebb_checkpoint_config(in(&c.folder, "b.h5").text, &text, &c.pool), EBB_DATA, "b.h5");
  equals(&c.trainer, &before);
  ebb_pool_clear(&before.pool);
  saved_close(&c);
}
END_TEST

START_TEST(a_checkpoint_that_cannot_be_written_leaves_the_old_one)
{
  saved         c;
  struct rlimit before, tight;
  saved_open(&c);
  fails(ebb_checkpoint_save(in(&c.folder, "no/a.h5").text, &c.trainer, config), EBB_CANTCREAT, "no/a.h5");
  steps(&c.trainer, &c.source, 1);
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &before);
  tight = (struct rlimit){4096, before.rlim_max};
  setrlimit(RLIMIT_FSIZE, &tight); /* a full disk */
  ebb_status status = ebb_checkpoint_save(c.path.text, &c.trainer, config);
  setrlimit(RLIMIT_FSIZE, &before);
  fails(status, EBB_IOERR, "a.h5");
  size_t size;
  char  *bytes = whole_file(c.path.text, &size, &c.pool);
  ck_assert_uint_eq(size, c.size);
  ck_assert_int_eq(memcmp(bytes, c.bytes, size), 0);
  saved_close(&c);
}
END_TEST

/* ---- the file as others read it: by libhdf5 alone ---------------------------------------------------------------- */
static ebb_real *dataset(hid_t file, const char *name, int rank, const hsize_t *dims, ebb_pool *pool)
{
  hsize_t found[8] = {0};
  hid_t   set = H5Dopen2(file, name, H5P_DEFAULT);
  ck_assert_msg(set >= 0, "%s is not in the file", name);
  hid_t  space = H5Dget_space(set);
  size_t count = (size_t)H5Sget_simple_extent_npoints(space);
  ck_assert_int_eq(H5Sget_simple_extent_dims(space, found, NULL), rank);
  for (int i = 0; i < rank; i++) ck_assert_uint_eq(found[i], dims[i]);
  float *values = ebb_pool_take(pool, count * sizeof *values);
  ck_assert_int_ge(H5Dread(set, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  H5Sclose(space);
  H5Dclose(set);
  return values;
}

/* In memory (Kh, Kw, I, O), in the file (O, I, Kh, Kw). */
static void convolution_is_pytorchs(hid_t file, const char *name, const ebb_real *in_memory, size_t o, size_t i, ebb_pool *pool)
{
  const ebb_real *w = dataset(file, name, 4, (hsize_t[]){o, i, 3, 3}, pool);
  for (size_t a = 0; a < o; a++)
    for (size_t b = 0; b < i; b++)
      for (size_t y = 0; y < 3; y++)
        for (size_t x = 0; x < 3; x++)
          ck_assert_msg(w[((a * i + b) * 3 + y) * 3 + x] == in_memory[((y * 3 + x) * i + b) * o + a], "%s[%zu,%zu,%zu,%zu]",
                        name, a, b, y, x);
}

static void same_values(hid_t file, const char *name, const ebb_real *in_memory, int rank, const hsize_t *dims, ebb_pool *pool)
{
  size_t count = 1;
  for (int i = 0; i < rank; i++) count *= (size_t)dims[i];
  ck_assert_mem_eq(dataset(file, name, rank, dims, pool), in_memory, count * sizeof(ebb_real));
}

static void text_is(hid_t file, const char *name, const char *expected)
{
  char  text[256] = "";
  hid_t attribute = H5Aopen(file, name, H5P_DEFAULT);
  ck_assert_msg(attribute >= 0, "no attribute %s", name);
  hid_t type = H5Aget_type(attribute);
  ck_assert_uint_le(H5Tget_size(type), sizeof text);
  ck_assert_int_ge(H5Aread(attribute, type, text), 0);
  if (expected) ck_assert_str_eq(text, expected);
  H5Tclose(type);
  H5Aclose(attribute);
}

START_TEST(the_file_holds_pytorchs_names_and_shapes)
{
  saved     c;
  ebb_pool *pool = &c.pool;
  saved_open(&c);
  hid_t           file = H5Fopen(c.path.text, H5F_ACC_RDONLY, H5P_DEFAULT);
  const ebb_real *w = c.trainer.work.weights, *m = c.trainer.work.optimizer, *s = c.trainer.work.state;
  size_t          stem = param_named(&c.model, "stem.weight")->offset;
  size_t          f = param_named(&c.model, "block1.f.conv.weight")->offset;
  ck_assert(file >= 0);
  convolution_is_pytorchs(file, "/model/stem.weight", w + stem, 8, 3, pool);
  convolution_is_pytorchs(file, "/model/block1.f.conv.weight", w + f, 4, 4, pool);
  convolution_is_pytorchs(file, "/optim/momentum/stem.weight", m + stem, 8, 3, pool);
  same_values(file, "/model/stem.bias", w + param_named(&c.model, "stem.bias")->offset, 1, (hsize_t[]){8}, pool);
  same_values(file, "/model/linear.weight", w + param_named(&c.model, "linear.weight")->offset, 2,
              (hsize_t[]){CLASSES, 8}, pool);
  same_values(file, "/model/norm.running_mean", s + param_named(&c.model, "norm.running_mean")->offset, 1, (hsize_t[]){8}, pool);
  same_values(file, "/model/norm.running_var", s + param_named(&c.model, "norm.running_var")->offset, 1, (hsize_t[]){8}, pool);
  ck_assert(H5Lexists(file, "/optim/momentum/norm.running_mean", H5P_DEFAULT) <= 0);
  text_is(file, "format", "ebb-checkpoint");
  text_is(file, "arch", "reversible");
  text_is(file, "config", config);
  text_is(file, "content_sha256", NULL);
  H5Fclose(file);
  saved_close(&c);
}
END_TEST

/* ---- resuming ---------------------------------------------------------------------------------------------------- */
typedef struct session {
  folder            folder;
  ebb_model         model;
  ebb_train_options options;
  memory            train, val;
} session;

/* 20 steps are two and a half epochs; a line every 2 steps, a checkpoint every 5. */
static void session_open(session *s)
{
  *s = (session){.folder = folder_make(), .model = reversible_network(8, 2), .options = standard()};
  s->options.log_every = 2;
  s->options.save_every = 5;
  s->options.warmup = 0.2;
  s->train = memory_of(true, BATCH, SAMPLES);
  s->val = memory_of(false, BATCH, 10);
}

static void session_close(session *s)
{
  s->train.base.ops->close(&s->train.base);
  s->val.base.ops->close(&s->val.base);
  ebb_model_destroy(&s->model);
  folder_remove(&s->folder);
}

/* One process: begins anew, or from a checkpoint. Returns the steps done. */
static uint64_t go(session *s, const char *checkpoint)
{
  ebb_trainer t;
  trainer_of(&t, &s->model, &s->options, EBB_REVERSE);
  if (checkpoint) succeeds(ebb_checkpoint_load(checkpoint, &t, false));
  succeeds(fit(&t, &s->train, &s->val, &s->folder));
  uint64_t done = t.step;
  ebb_trainer_destroy(&t);
  return done;
}

static void same_file(const session *a, const session *b, const char *name)
{
  ebb_pool pool = {0};
  size_t   n, m;
  char    *one = whole_file(in(&a->folder, name).text, &n, &pool), *two = whole_file(in(&b->folder, name).text, &m, &pool);
  ck_assert_msg(n == m && memcmp(one, two, n) == 0, "%s differs", name);
  ebb_pool_clear(&pool);
}

/* The columns that do not depend on the clock or on where a mean over steps began. */
static int columns(const folder *f, ebb_pool *pool, char **text)
{
  size_t size;
  int    lines = 0;
  char  *rest = whole_file(in(f, "log.csv").text, &size, pool), *line;
  *text = ebb_pool_text(pool, "%s", "");
  for (; (line = strtok_r(rest, "\n", &rest)) != NULL; lines++) {
    char *field[10] = {0};
    for (int i = 0; i < 10; i++) field[i] = strsep(&line, ",");
    ck_assert_ptr_nonnull(field[9]);
    *text = ebb_pool_text(pool, "%s%s epoch %s lr %s norm %s val %s %s %s\n", *text, field[0], field[1], field[2], field[5],
                          field[7], field[8], field[9]);
  }
  return lines;
}

static void same_log(const session *a, const session *b)
{
  ebb_pool pool = {0};
  char    *one, *two;
  int      lines = columns(&a->folder, &pool, &one);
  ck_assert_int_ge(lines, 11);
  ck_assert_int_eq(columns(&b->folder, &pool, &two), lines);
  ck_assert_str_eq(one, two);
  ebb_pool_clear(&pool);
}

/* log.jsonl has the same lines as log.csv, each a JSON object. */
static void jsonl_matches(const folder *f)
{
  ebb_pool pool = {0};
  char     line[1024], *text;
  int      lines = 0, expected = columns(f, &pool, &text) - 1;
  double   last = 0;
  FILE    *file = fopen(in(f, "log.jsonl").text, "r");
  ck_assert_ptr_nonnull(file);
  for (; fgets(line, sizeof line, file); lines++) {
    json_t *o = json_loads(line, 0, NULL);
    ck_assert_msg(o != NULL, "no JSON: %s", line);
    ck_assert(json_number_value(json_object_get(o, "step")) > last);
    last = json_number_value(json_object_get(o, "step"));
    json_decref(o);
  }
  fclose(file);
  ck_assert_int_eq(lines, expected);
  ck_assert_double_eq(last, 20);
  ebb_pool_clear(&pool);
}

/* Once plainly, once with all that is kept from step to step. */
START_TEST(a_run_stopped_within_an_epoch_and_resumed_equals_the_uninterrupted)
{
  session whole, parts;
  session_open(&whole);
  if (_i == 1) {
    whole.options.ema = 0.8;
    whole.options.optimizer = 1;
    whole.options.lr = 0.01;
    whole.options.schedule = EBB_PLATEAU;
    whole.options.patience = 1;
  }
  session_open(&parts);
  parts.options = whole.options;
  ck_assert_uint_eq(go(&whole, NULL), 20);
  parts.train.stop_call = 11; /* the third batch of the second epoch */
  ck_assert_uint_eq(go(&parts, NULL), 11);
  parts.train.stop = 0;
  ck_assert_uint_eq(go(&parts, in(&parts.folder, "checkpoint_last.h5").text), 20);
  same_file(&whole, &parts, "checkpoint_last.h5");
  same_file(&whole, &parts, "checkpoint_best.h5");
  same_log(&whole, &parts);
  jsonl_matches(&whole.folder);
  jsonl_matches(&parts.folder);
  session_close(&whole);
  session_close(&parts);
}
END_TEST

/* A power cut after step 18, say: the last checkpoint is of step 15, the log is ahead of it. */
START_TEST(a_run_resumed_from_an_older_checkpoint_drops_the_lines_beyond_it)
{
  session whole, parts;
  session_open(&whole);
  session_open(&parts);
  path_text last = in(&parts.folder, "checkpoint_last.h5"), then = in(&parts.folder, "a.h5");
  ck_assert_uint_eq(go(&whole, NULL), 20);
  parts.train.copy_call = 18; /* while step 17 is done, counted from 0 */
  parts.train.copy_from = last.text;
  parts.train.copy_to = then.text;
  go(&parts, NULL);
  parts.train.calls = 1000;
  ck_assert_uint_eq(go(&parts, then.text), 20);
  same_log(&whole, &parts);
  same_file(&whole, &parts, "checkpoint_last.h5");
  same_file(&whole, &parts, "checkpoint_best.h5");
  jsonl_matches(&parts.folder);
  session_close(&whole);
  session_close(&parts);
}
END_TEST

START_TEST(a_new_run_begins_a_new_log)
{
  session s;
  session_open(&s);
  go(&s, NULL);
  go(&s, NULL);
  jsonl_matches(&s.folder);
  session_close(&s);
}
END_TEST

START_TEST(a_finished_run_that_is_resumed_does_nothing)
{
  session   s;
  ebb_pool  pool = {0};
  char     *before, *after;
  session_open(&s);
  go(&s, NULL);
  columns(&s.folder, &pool, &before);
  ck_assert_uint_eq(go(&s, in(&s.folder, "checkpoint_last.h5").text), 20);
  columns(&s.folder, &pool, &after);
  ck_assert_str_eq(before, after);
  ebb_pool_clear(&pool);
  session_close(&s);
}
END_TEST

/* ---- judged by validation, and the mean of weights ------------------------------------------------------------------ */
/* mean += (1 - d) (w - mean), d = min(ema, (1 + t) / (10 + t)), the first mean is w; evaluated and loaded in place of the weights. */
START_TEST(the_mean_of_weights_follows_its_formula)
{
  ebb_model         m = reversible_network(8, 2);
  ebb_train_options o = standard();
  ebb_trainer       t, loaded;
  memory            s = memory_of(true, BATCH, SAMPLES);
  folder            f = folder_make();
  ebb_pool          pool = {0};
  double           *mean = ebb_pool_take(&pool, m.weights * sizeof *mean);
  o.ema = 0.25;
  trainer_of(&t, &m, &o, EBB_REVERSE);
  for (int k = 0; k < 6; k++) {
    steps(&t, &s, 1);
    double d = fmin(0.25, (1.0 + k) / (10 + k));
    for (size_t i = 0; i < m.weights; i++) mean[i] = k == 0 ? (double)t.work.weights[i] : d * mean[i] + (1 - d) * (double)t.work.weights[i];
  }
  snapshot before = snapshot_of(&t);
  ebb_trainer_swap_ema(&t);
  for (size_t i = 0; i < m.weights; i++) ck_assert_double_eq_tol((double)t.work.weights[i], mean[i], 1e-6);
  ebb_trainer_swap_ema(&t);
  equals(&t, &before);
  succeeds(ebb_checkpoint_save(in(&f, "a.h5").text, &t, config));
  trainer_of(&loaded, &m, &o, EBB_REVERSE);
  succeeds(ebb_checkpoint_load(in(&f, "a.h5").text, &loaded, true));
  for (size_t i = 0; i < m.weights; i++) ck_assert_double_eq_tol((double)loaded.work.weights[i], mean[i], 1e-6);
  ebb_pool_clear(&before.pool);
  ebb_pool_clear(&pool);
  ebb_trainer_destroy(&t);
  ebb_trainer_destroy(&loaded);
  s.base.ops->close(&s.base);
  ebb_model_destroy(&m);
  folder_remove(&f);
}
END_TEST

/* Nothing is learned at such a rate: only the first validation is the best so far. */
static void session_that_stands_still(session *s)
{
  session_open(s);
  s->options.lr = 1e-12;
  s->options.warmup = 0;
  s->options.decay = 0;
  s->options.steps = 80;
}

START_TEST(training_ends_when_nothing_gets_better)
{
  session s;
  session_that_stands_still(&s);
  s.options.stop_after = 3;
  ck_assert_uint_eq(go(&s, NULL), 32); /* epochs of eight steps: the first, and three more */
  ck_assert_uint_eq(go(&s, in(&s.folder, "checkpoint_last.h5").text), 32);
  session_close(&s);
}
END_TEST

START_TEST(a_plateau_cuts_the_rate)
{
  session     s;
  ebb_trainer t;
  session_that_stands_still(&s);
  s.options.schedule = EBB_PLATEAU;
  s.options.patience = 2;
  s.options.gamma = 0.5;
  trainer_of(&t, &s.model, &s.options, EBB_REVERSE);
  succeeds(fit(&t, &s.train, &s.val, &s.folder));
  ck_assert_uint_eq(t.stale, 9);
  ck_assert_double_eq(t.lr_scale, 0.0625); /* after 2, 4, 6 and 8 validations of no use */
  ck_assert_double_eq_tol(t.lr, 1e-12 * 0.0625, 1e-20);
  ebb_trainer_destroy(&t);
  trainer_of(&t, &s.model, &s.options, EBB_REVERSE);
  fails(fit(&t, &s.train, NULL, &s.folder), EBB_CONFIG, "train.schedule=plateau");
  ebb_trainer_destroy(&t);
  session_close(&s);
}
END_TEST

/* ---- the suite --------------------------------------------------------------------------------------------------- */
static TCase *rules_case(void)
{
  TCase *c = tcase_create("schedule, SGD, loss, metrics");
  tcase_add_test(c, a_constant_rate_is_constant);
  tcase_add_test(c, a_rate_in_steps_is_cut_at_its_milestones);
  tcase_add_test(c, cosine_and_poly_follow_their_formulas);
  tcase_add_test(c, a_warm_rate_rises_to_the_top_and_then_falls);
  tcase_add_test(c, short_runs_and_long_warm_ups_have_a_rate);
  tcase_add_loop_test(c, sgd_is_pytorchs, 0, (int)(sizeof rules / sizeof *rules));
  tcase_add_test(c, momentum_of_a_constant_gradient_has_its_closed_form);
  tcase_add_test(c, momentum_needs_memory_only_if_there_is_one);
  tcase_add_test(c, clipping_makes_the_norm_what_is_allowed);
  tcase_add_test(c, the_norm_of_what_is_not_finite_is_not_finite);
  tcase_add_test(c, the_loss_is_its_formula);
  tcase_add_test(c, a_loss_without_gradient_takes_no_memory);
  tcase_add_test(c, large_logits_overflow_nothing_and_nan_stays);
  tcase_add_test(c, accuracy_counts_the_best_and_the_best_five);
  tcase_add_test(c, a_tie_counts_as_the_lower_class);
  tcase_add_test(c, batches_weigh_by_their_labelled_samples);
  tcase_add_test(c, nothing_has_no_accuracy);
  tcase_add_test(c, a_score_that_is_no_number_is_never_right);
  return c;
}

static TCase *steps_case(void)
{
  TCase *c = tcase_create("steps");
  tcase_add_test(c, accumulated_batches_are_one_larger_batch);
  tcase_add_test(c, training_learns_and_epochs_turn);
  tcase_add_test(c, soft_labels_are_what_is_learnt);
  tcase_add_test(c, dice_is_the_mean_of_the_volumes);
  tcase_add_test(c, classes_that_are_nowhere_are_left_out);
  tcase_add_test(c, the_loop_of_ebb_h_is_the_trainers);
  tcase_add_test(c, running_statistics_move_once_a_step);
  tcase_add_test(c, an_evaluation_changes_nothing);
  tcase_add_test(c, what_cannot_be_trained_is_refused_before_it_begins);
  tcase_add_test(c, weights_cannot_follow_within_the_backward_pass_by_what_is_known_after_it);
  tcase_add_test(c, epochs_become_steps);
  tcase_add_test(c, nan_stops_the_step_and_spares_the_weights);
  tcase_add_loop_test(c, a_gradient_that_overflows_stops_the_step_too, EBB_UPDATE_STEP, EBB_UPDATE_BACKWARD + 1);
  tcase_add_loop_test(c, steps_that_are_not_finite_are_left_out, EBB_UPDATE_STEP, EBB_UPDATE_BACKWARD + 1);
  tcase_add_test(c, running_statistics_survive_a_step_that_is_left_out);
  tcase_add_test(c, a_rate_that_is_too_high_stops_the_run);
  tcase_add_test(c, a_flow_is_trained_by_its_likelihood);
  tcase_add_test(c, a_singular_matrix_is_told_with_the_layer);
  tcase_add_loop_test(c, leaving_the_streams_range_is_told_with_the_layer, EBB_UPDATE_STEP, EBB_UPDATE_BACKWARD + 1);
  tcase_add_test(c, nan_in_a_stream_is_told_too);
  tcase_add_test(c, a_run_that_goes_astray_leaves_a_dump_and_its_last_checkpoint);
  return c;
}

static TCase *checkpoints_case(void)
{
  TCase *c = tcase_create("checkpoints");
  tcase_add_test(c, a_checkpoint_brings_everything_back);
  tcase_add_test(c, equal_runs_write_equal_files);
  tcase_add_test(c, a_flipped_byte_anywhere_is_found);
  tcase_add_test(c, a_truncated_file_is_found);
  tcase_add_test(c, another_architecture_is_refused);
  tcase_add_test(c, an_order_of_channels_is_kept);
  tcase_add_test(c, what_is_no_checkpoint_is_refused);
  tcase_add_test(c, a_checkpoint_that_cannot_be_written_leaves_the_old_one);
  tcase_add_test(c, the_file_holds_pytorchs_names_and_shapes);
  tcase_add_loop_test(c, a_run_stopped_within_an_epoch_and_resumed_equals_the_uninterrupted, 0, 2);
  tcase_add_test(c, a_run_resumed_from_an_older_checkpoint_drops_the_lines_beyond_it);
  tcase_add_test(c, a_new_run_begins_a_new_log);
  tcase_add_test(c, a_finished_run_that_is_resumed_does_nothing);
  tcase_add_test(c, the_mean_of_weights_follows_its_formula);
  tcase_add_test(c, training_ends_when_nothing_gets_better);
  tcase_add_test(c, a_plateau_cuts_the_rate);
  return c;
}

int main(void)
{
  Suite *suite = suite_create("train");
  TCase *cases[] = {rules_case(), steps_case(), checkpoints_case()};
  if (ebbk_start() != EBB_OK) {
    fprintf(stderr, "%s\n", ebb_message());
    return EXIT_FAILURE;
  }
  for (int i = 0; i < 3; i++) {
    tcase_set_timeout(cases[i], 120);
    suite_add_tcase(suite, cases[i]);
  }
  return run_suite(suite);
}
