/* test_tabular.c -- the flows for tables learn a density that is known: better than a Gaussian of full covariance, never better than
 * the truth. And reversal trains them as kept activations do, but for rounding. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "models/models.h"
#include "tests/suite.h"
#include "train/trainer.h"

/* ---- a density: the third column depends on the others, which lie on a ring of MODES clouds ------------------------------ */
enum { COLUMNS = 3, MODES = 6, ROWS = 4096, BATCH = 256 };
static const double pi = 3.14159265358979323846, cloud = 0.15, thin = 0.1;

static void draw_row(double *row, uint64_t seed, uint64_t i)
{
  ebb_rng g = {seed, EBB_RNG_TEST, 0};
  double  angle = 2 * pi * (double)ebb_rng_below(g, i, MODES) / MODES;
  g.purpose++;
  row[0] = cos(angle) + cloud * ebb_rng_normal(g, 3 * i);
  row[1] = sin(angle) + cloud * ebb_rng_normal(g, 3 * i + 1);
  row[2] = row[0] * row[1] + thin * ebb_rng_normal(g, 3 * i + 2);
}

static double log_normal(double z, double deviation)
{
  return -0.5 * z * z / (deviation * deviation) - log(deviation * sqrt(2 * pi));
}

static double log_density(const double *row)
{
  double sum = 0;
  for (int k = 0; k < MODES; k++) {
    double a = 2 * pi * k / MODES;
    sum += exp(log_normal(row[0] - cos(a), cloud) + log_normal(row[1] - sin(a), cloud)) / MODES;
  }
  return log(sum) + log_normal(row[2] - row[0] * row[1], thin);
}

/* ---- rows in memory ------------------------------------------------------------------------------------------------------ */
typedef struct rows {
  ebb_source base;
  uint64_t   cursor;
  double     truth;               /* mean of -log p                             */
  double     mean[COLUMNS], covariance[COLUMNS][COLUMNS];
  ebb_real   x[ROWS][COLUMNS];
} rows;

static ebb_status next(ebb_source *base, ebb_batch *batch)
{
  rows *s = (rows *)base;
  ebb_shape shape = base->shape;
  shape.n = s->cursor < ROWS ? BATCH : 0;
  *batch = (ebb_batch){.x = ebb_view_of(s->x[s->cursor % ROWS], shape)};
  s->cursor += BATCH;
  return EBB_OK;
}

static ebb_status seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  (void)epoch;
  ((rows *)base)->cursor = cursor;
  return EBB_OK;
}

static const ebb_source_ops ops = {.next = next, .seek = seek};
static const ebb_shape      row_shape = {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = COLUMNS};

static void fill(rows *s, uint64_t seed)
{
  *s = (rows){.base = {&ops, "memory", row_shape, 0, ROWS, 0}};
  s->base.shape.n = BATCH;
  for (uint64_t i = 0; i < ROWS; i++) {
    double row[COLUMNS];
    draw_row(row, seed, i);
    s->truth -= log_density(row) / ROWS;
    for (int j = 0; j < COLUMNS; j++) {
      s->x[i][j] = (ebb_real)row[j];
      s->mean[j] += row[j] / ROWS;
      for (int k = 0; k < COLUMNS; k++) s->covariance[j][k] += row[j] * row[k] / ROWS;
    }
  }
  for (int j = 0; j < COLUMNS; j++)
    for (int k = 0; k < COLUMNS; k++) s->covariance[j][k] -= s->mean[j] * s->mean[k];
}

/* Mean of -log p under the Gaussian of these rows' mean and covariance: 1/2 (c log 2 pi e + log det). */
static double gaussian(const rows *s)
{
  const double (*v)[COLUMNS] = s->covariance;
  double det = v[0][0] * (v[1][1] * v[2][2] - v[1][2] * v[2][1]) - v[0][1] * (v[1][0] * v[2][2] - v[1][2] * v[2][0]) +
               v[0][2] * (v[1][0] * v[2][1] - v[1][1] * v[2][0]);
  return 0.5 * (COLUMNS * log(2 * pi * exp(1)) + log(det));
}

/* ---- training ------------------------------------------------------------------------------------------------------------ */
static const struct network { const char *name, *words; double above; } networks[] = {
    {"spline-flow", "layers=4 bins=8 width=32 blocks=1 dropout=0.05", 0.15},
    {"realnvp-tabular", "layers=8 width=32 blocks=1", 0.35},
};
enum { NETWORKS = sizeof networks / sizeof *networks };

static ebb_model model_of(const struct network *k, ebb_pool *pool)
{
  const ebb_network *n = ebb_network_find(k->name);
  ebb_model          m;
  void              *options = ebb_pool_take(pool, n->options_size);
  ck_assert_msg(ebb_network_options(n, options, k->words, pool) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_network_model(&m, n, options, row_shape, 0) == EBB_OK, "%s", ebb_message());
  ck_assert(m.flow && m.logdet);
  return m;
}

static void train(ebb_trainer *t, const ebb_model *m, rows *s, ebb_policy policy, int steps)
{
  ebb_train_options o;
  ebb_run_options   run;
  ebb_shape         x = row_shape;
  ebb_metrics       metrics = {0};
  ebb_options_default(&o, ebb_train_option_table);
  ebb_options_default(&run, ebb_run_option_table);
  ck_assert(ebb_option_set(&o, ebb_train_option_table, "train", "optimizer", "adam", &t->pool) == EBB_OK);
  o.steps = steps, o.batch = x.n = BATCH, o.lr = 0.005, o.decay = 0;
  run.backward = policy;
  ck_assert_msg(ebb_trainer_create(t, m, x, &o, &run, ROWS, 0) == EBB_OK, "%s", ebb_message());
  while (!ebb_trainer_finished(t)) ck_assert_msg(ebb_trainer_step(t, &s->base, &metrics) == EBB_OK, "%s", ebb_message());
}

START_TEST(a_known_density_is_learnt)
{
  static rows           learnt, others;
  const struct network *k = &networks[_i];
  ebb_pool              pool = {0};
  ebb_trainer           t = {0};
  ebb_metrics           metrics = {0};
  ebb_model             m = model_of(k, &pool);
  fill(&learnt, 1);
  fill(&others, 2);
  train(&t, &m, &learnt, EBB_REVERSE, 600);
  ck_assert_msg(ebb_trainer_evaluate(&t, &others.base, &metrics) == EBB_OK, "%s", ebb_message());
  double nats = ebb_metrics_loss(&metrics);
  ck_assert_uint_eq(metrics.samples, ROWS);
  ck_assert_msg(nats < gaussian(&others) - 1 && nats < others.truth + k->above, "%s: %.4f nats, the Gaussian %.4f, the truth %.4f", k->name, nats,
                gaussian(&others), others.truth);
  ck_assert_msg(nats > others.truth - 0.02, "%s: %.4f nats are better than the truth, %.4f", k->name, nats, others.truth);
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* Largest difference of the weights after some steps, of the largest weight. */
static double apart(const ebb_model *m, const ebb_trainer *a, const ebb_trainer *b)
{
  double most = 0, scale = 0;
  for (size_t i = 0; i < m->weights; i++) {
    most = fmax(most, fabs((double)a->work.weights[i] - (double)b->work.weights[i]));
    scale = fmax(scale, fabs((double)a->work.weights[i]));
  }
  return most / scale;
}

START_TEST(reversal_trains_as_kept_activations_do)
{
  static rows learnt;
  ebb_pool    pool = {0};
  ebb_trainer t[2] = {{0}, {0}};
  ebb_model   m = model_of(&networks[_i], &pool);
  for (int i = 0; i < 2; i++) {
    fill(&learnt, 1);
    train(&t[i], &m, &learnt, i ? EBB_STORE : EBB_REVERSE, 5);
  }
  ck_assert_msg(apart(&m, &t[0], &t[1]) < 1e-3, "%s: %g apart", networks[_i].name, apart(&m, &t[0], &t[1]));
  for (int i = 0; i < 2; i++) ebb_trainer_destroy(&t[i]);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

int main(void)
{
  if (ebbk_start() != EBB_OK) return EXIT_FAILURE;
  Suite *suite = suite_create("tabular");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 240);
  tcase_add_loop_test(all, a_known_density_is_learnt, 0, NETWORKS);
  tcase_add_loop_test(all, reversal_trains_as_kept_activations_do, 0, NETWORKS);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
