/* test_orthogonal.c -- learned orthogonal mixing as it runs: its float32 gradients against differences in double, and whether it is
 * orthogonal still after ten thousand updates.
 * The expected gradient takes nothing from the engine but M(w) in double: sums over sites and differences are made here. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "compose/plan.h"
#include "compose/sequence.h"
#include "kernels/kernels.h"
#include "reversible/reversible.h"
#include "tests/suite.h"
#include "train/optim.h"

enum { MOST = 27, SQUARE = MOST * MOST, SITES = 24, KINDS = 3, INITS = 3, UPDATES = 10000 };
static const struct size { int n, stride[3]; } sizes[] = {{2, {1, 1, 2}}, {4, {1, 2, 2}}, {8, {2, 2, 2}}, {16, {2, 2, 4}}, {27, {3, 3, 3}}};
enum { SIZES = sizeof sizes / sizeof *sizes };
static const char *const kind_names[] = {"Cayley", "exponential", "Householder"}, *const init_names[] = {"zero", "Haar", "random"};
static const ebb_mixing_init inits[] = {EBB_MIX_IDENTITY, EBB_MIX_HAAR, EBB_MIX_RANDOM};

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){31, EBB_RNG_TEST, what}, i);
}

/* ---- the layer, running --------------------------------------------------------------------------------------------- */
typedef struct machine {
  ebb_pool      pool;
  ebb_model     model;
  ebb_plan      plan;
  ebb_workspace work;
  ebb_view      x, dy;
  int           n;
  const ebb_param *weight, *base; /* base: NULL where M is Q(w) itself */
} machine;

static void find_params(machine *k)
{
  k->weight = k->base = NULL;
  for (const ebb_param *p = k->model.params; p; p = p->next) {
    if (p->kind == EBB_WEIGHT) k->weight = p;
    else k->base = p;
  }
  ck_assert_ptr_nonnull(k->weight);
}

/* Rotations of `before` and `behind` channels are layers of their own, where they are not 0. */
static void machine_around(machine *k, ebb_mixing_options m, int before, int behind, const ebb_train_options *o, int sites)
{
  ebb_builder b;
  ebb_shape   x = {.rank = 1, .n = 1, .d = 1, .h = 1, .w = sites, .c = m.channels};
  *k = (machine){.n = m.channels};
  ebb_model_begin(&k->model, &b, "mixing", x);
  ebb_sequence *s = ebb_sequence_open(&b, "net", 5);
  ebb_sequence_add(s, ebb_quantise(&b, "in"));
  if (before) ebb_sequence_add(s, ebb_rotate(&b, "before", m.channels, before));
  ebb_sequence_add(s, ebb_mixing(&b, "mixing", m));
  if (behind) ebb_sequence_add(s, ebb_rotate(&b, "behind", m.channels, behind));
  ebb_sequence_add(s, ebb_dequantise(&b, "out"));
  ck_assert_msg(ebb_model_end(&k->model, &b, ebb_sequence_close(s)) == EBB_OK, "%s", ebb_message());
  ebb_plan_make(&k->plan, &k->model, x, (ebb_plan_options){.policy = EBB_REVERSE, .training = true, .optimizer = ebb_optim_bytes(o, &k->model)}, &k->pool);
  ck_assert_msg(ebb_workspace_create(&k->work, &k->model, &k->plan) == EBB_OK, "%s", ebb_message());
  ebb_model_initialise(&k->model, k->work.weights, k->work.state, 3);
  k->x = ebb_view_of(ebb_pool_take(&k->pool, ebb_bytes(x)), x);
  find_params(k);
}

static ebb_mixing_options options(ebb_orthogonal kind, ebb_mixing_init init, const struct size *size)
{
  const int *s = size->stride;
  return (ebb_mixing_options){.channels = size->n, .group = size->n, .kind = kind, .init = init, .stride = {s[0], s[1], s[2]}};
}

static void machine_open(machine *k, ebb_orthogonal kind, ebb_mixing_init init, const struct size *size, const ebb_train_options *o, int sites)
{
  machine_around(k, options(kind, init, size), 0, 0, o, sites);
}

static void machine_close(machine *k)
{
  ebb_workspace_destroy(&k->work);
  ebb_model_destroy(&k->model);
  ebb_pool_clear(&k->pool);
}

/* One pass there; back, too, where dy is not NULL. y (sites, n) may be NULL. */
static void pass(machine *k, ebb_real *y, const double *dy)
{
  ebb_view out, none = {0};
  size_t   count = ebb_count(k->x.s);
  k->work.run.pass = EBB_TRAIN;
  ebb_forward(&k->work.run, &k->model, k->x, &out);
  if (y) memcpy(y, out.p, count * sizeof *y);
  for (size_t i = 0; i < count; i++) ebb_reals(out)[i] = dy ? (ebb_real)dy[i] : 0;
  ebb_backward(&k->work.run, &k->model, k->x, out, none);
}

/* ---- what is expected ------------------------------------------------------------------------------------------------ */
static double m_now[SQUARE], q_now[SQUARE], scratch[7 * SQUARE + 2 * MOST];

/* M of parameters w. */
static const double *matrix(const machine *k, ebb_orthogonal kind, const double *w)
{
  int n = k->n;
  ebb_orthogonal_matrix(q_now, kind, w, n, scratch);
  if (!k->base) return q_now;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      m_now[i * n + j] = 0;
      for (int e = 0; e < n; e++) m_now[i * n + j] += (double)k->work.state[k->base->offset + (size_t)(i * n + e)] * q_now[e * n + j];
    }
  return m_now;
}

/* d/dw_at of sum of dm M(w), four points. */
static double difference(const machine *k, ebb_orthogonal kind, double *w, int at, const double *dm)
{
  static const double steps[] = {2, 1, -1, -2}, weights[] = {-1, 8, -8, 1};
  const double h = 1e-3, before = w[at];
  double sum = 0;
  for (int p = 0; p < 4; p++) {
    w[at] = before + steps[p] * h;
    const double *m = matrix(k, kind, w);
    for (int i = 0; i < k->n * k->n; i++) sum += weights[p] * dm[i] * m[i];
  }
  w[at] = before;
  return sum / (12 * h);
}

START_TEST(float32_gradients_match_differences)
{
  static double dy[SITES * MOST], dm[SQUARE], w[SQUARE];
  ebb_orthogonal    kind = (ebb_orthogonal)(_i % KINDS);
  int               which = _i / KINDS % INITS, n = sizes[_i / KINDS / INITS].n;
  ebb_train_options o = {.threads = 1};
  machine           k;
  if (kind == EBB_HOUSEHOLDER && inits[which] == EBB_MIX_IDENTITY) return; /* H(0) has no derivative */
  machine_open(&k, kind, inits[which], &sizes[_i / KINDS / INITS], &o, SITES);
  for (int i = 0; i < SITES * n; i++) ebb_reals(k.x)[i] = (ebb_real)noise(1, (size_t)i), dy[i] = noise(2, (size_t)i);
  pass(&k, NULL, dy);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      dm[i * n + j] = 0;
      for (int s = 0; s < SITES; s++) dm[i * n + j] += dy[s * n + i] * (double)ebb_reals(k.x)[s * n + j];
    }
  const ebb_real *weights = k.work.weights + k.weight->offset, *grads = k.work.grads + k.weight->offset;
  double largest = 0;
  int    values = (int)k.weight->count;
  for (int i = 0; i < values; i++) w[i] = (double)weights[i], largest = fmax(largest, fabs((double)grads[i]));
  ck_assert_double_gt(largest, 0);
  for (int i = 0; i < values; i += values / 60 + 1) {
    double want = difference(&k, kind, w, i, dm);
    ck_assert_msg(fabs((double)grads[i] - want) <= 1e-4 * largest, "%s at %s, n = %d, entry %d: %g, difference %g, largest %g", kind_names[kind],
                  init_names[which], n, i, (double)grads[i], want, largest);
  }
  machine_close(&k);
}
END_TEST

/* ---- ten thousand updates ---------------------------------------------------------------------------------------------- */
/* Largest entry of |M^T M - I|, M's columns being what the running layer makes of unit vectors of length `scale`. */
static double distance_from_orthogonal(machine *k, double scale)
{
  static ebb_real y[SQUARE];
  double worst = 0;
  int    n = k->n;
  for (int i = 0; i < n * n; i++) ebb_reals(k->x)[i] = i % (n + 1) ? 0 : (ebb_real)scale;
  pass(k, y, NULL);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double sum = 0;
      for (int e = 0; e < n; e++) sum += (double)y[i * n + e] * (double)y[j * n + e];
      worst = fmax(worst, fabs(sum / (scale * scale) - (i == j)));
    }
  return worst;
}

START_TEST(stays_orthogonal)
{
  static double dy[SQUARE];
  ebb_orthogonal    kind = (ebb_orthogonal)(_i % KINDS);
  int               n = sizes[2].n;
  ebb_train_options o = {.threads = 1, .optimizer = 1 + _i / KINDS, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8};
  machine           k;
  machine_open(&k, kind, EBB_MIX_RANDOM, &sizes[2], &o, n);
  double *before = ebb_pool_take(&k.pool, k.weight->count * sizeof *before), moved = 0;
  for (size_t i = 0; i < k.weight->count; i++) before[i] = (double)k.work.weights[k.weight->offset + i];
  for (uint64_t u = 0; u < UPDATES; u++) {
    for (int i = 0; i < n * n; i++) {
      ebb_reals(k.x)[i] = (ebb_real)noise((uint32_t)u, (size_t)i);
      dy[i] = noise((uint32_t)u + UPDATES, (size_t)i);
    }
    pass(&k, NULL, dy);
    ebb_optim_step(&o, &k.model, k.work.weights, k.work.grads, k.work.optimizer, 0.01, 1, u);
  }
  for (size_t i = 0; i < k.weight->count; i++) moved = fmax(moved, fabs((double)k.work.weights[k.weight->offset + i] - before[i]));
  ck_assert_double_gt(moved, 0.1);
  double away = distance_from_orthogonal(&k, 1000);
  ck_assert_msg(away <= 1e-6, "%s: %g from orthogonal", kind_names[kind], away);
  machine_close(&k);
}
END_TEST

/* ---- rotations that cost nothing ------------------------------------------------------------------------------------------ */
/* All but the grid's rounding, which the order of channels changes: k / 12 squares of a step in the mean of each. */
START_TEST(turned_is_between_rotations)
{
  static double       dy[SITES * MOST];
  static ebb_real     y[2][SITES * MOST];
  ebb_orthogonal      kind = (ebb_orthogonal)(_i % KINDS);
  const struct size  *size = &sizes[_i / KINDS % SIZES];
  int                 n = size->n, in = n > 4 ? 3 : 1, behind = n - 1, values = SITES * n;
  ebb_train_options   o = {.threads = 1};
  ebb_mixing_options  m = options(kind, _i / KINDS / SIZES ? EBB_MIX_RANDOM : EBB_MIX_HAAR, size);
  machine             k[2];
  machine_around(&k[0], m, in, behind, &o, SITES);
  m.turn_in = in, m.turn_out = behind;
  machine_around(&k[1], m, 0, 0, &o, SITES);
  for (int i = 0; i < values; i++) dy[i] = noise(2, (size_t)i);
  for (int j = 0; j < 2; j++) {
    for (int i = 0; i < values; i++) ebb_reals(k[j].x)[i] = (ebb_real)noise(1, (size_t)i);
    pass(&k[j], y[j], dy);
  }
  for (int i = 0; i < values; i++) ck_assert_double_eq_tol((double)y[0][i], (double)y[1][i], 20.0 / EBB_FIXED_ONE);
  const ebb_real *grads[2] = {k[0].work.grads + k[0].weight->offset, k[1].work.grads + k[1].weight->offset};
  double          largest = 0;
  for (size_t i = 0; i < k[0].weight->count; i++) largest = fmax(largest, fabs((double)grads[0][i]));
  for (size_t i = 0; i < k[0].weight->count; i++)
    ck_assert_double_eq_tol((double)grads[0][i], (double)grads[1][i], 2e-5 * largest);
  ck_assert_double_gt(largest, 0);
  for (int j = 0; j < 2; j++) machine_close(&k[j]);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("orthogonal");
  TCase *c = tcase_create("orthogonal");
  ebb_threads_set(1);
  if (ebbk_start() != EBB_OK) return EXIT_FAILURE;
  tcase_set_timeout(c, 300);
  tcase_add_loop_test(c, float32_gradients_match_differences, 0, KINDS * INITS * SIZES);
  tcase_add_loop_test(c, turned_is_between_rotations, 0, KINDS * SIZES * 2);
  tcase_add_loop_test(c, stays_orthogonal, 0, 2 * KINDS);
  suite_add_tcase(suite, c);
  return run_suite(suite);
}
