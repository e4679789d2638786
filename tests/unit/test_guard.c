/* test_guard.c -- the drift guard: a layer whose input reverse does not bring back is found, its step changes nothing, and its input is
 * kept from then on.
 * Owns: a small flow, and ways to spoil it: its last coupling adds a number so large that the digits of what it is added to are lost; its
 * second one scales values away; its mixing matrix is all but singular. */
#define _GNU_SOURCE
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "kernels/kernels.h"
#include "reversible/reversible.h"
#include "tests/suite.h"
#include "train/checkpoint.h"

enum { ROWS = 64, COLUMNS = 4, BLOCKS = 3 };
static const ebb_shape table = {.rank = 1, .n = ROWS, .d = 1, .h = 1, .w = 1, .c = COLUMNS};

/* ---- a flow, and one batch of normal numbers ---------------------------------------------------------------------- */
static ebb_model flow(bool mixed)
{
  ebb_model   m;
  ebb_builder b;
  ebb_model_begin(&m, &b, "flow", table);
  ebb_chain *c = ebb_chain_open(&b, "chain", BLOCKS + 1);
  for (int i = 0; i < BLOCKS; i++) {
    if (mixed && i + 1 == BLOCKS) ebb_chain_add(c, ebb_invertible_conv(&b, "mix", COLUMNS));
    ebb_layer *f = ebb_conv(&b, ebb_pool_text(b.pool, "block%d.f", i),
                            (ebb_conv_options){.in = COLUMNS / 2, .out = COLUMNS, .kernel = 1, .bias = true, .spread = 0.1});
    ebb_parts halves = {.channels = COLUMNS, .first = COLUMNS / 2, .second = i % 2 == 0};
    ebb_chain_add(c, ebb_flow_coupling(&b, ebb_pool_text(b.pool, "block%d", i), halves, ebb_affine(), f));
  }
  ebb_sequence *root = ebb_sequence_open(&b, "net", 1);
  ebb_sequence_add(root, ebb_chain_close(c));
  ck_assert_msg(ebb_model_end(&m, &b, ebb_sequence_close(root)) == EBB_OK, "%s", ebb_message());
  return m;
}

static ebb_real values[ROWS * COLUMNS];

static ebb_status next(ebb_source *s, ebb_batch *batch)
{
  static uint32_t index[ROWS];
  for (size_t i = 0; i < ROWS * COLUMNS; i++) values[i] = (ebb_real)ebb_rng_normal((ebb_rng){17, EBB_RNG_TEST, 1}, i);
  *batch = (ebb_batch){.x = ebb_view_of(values, s->shape), .index = index};
  return EBB_OK;
}

static ebb_status seek(ebb_source *s, uint32_t epoch, uint64_t cursor)
{
  (void)s, (void)epoch, (void)cursor;
  return EBB_OK;
}

static void end(ebb_source *s)
{
  (void)s;
}

static ebb_source source(void)
{
  static const ebb_source_ops ops = {next, seek, end};
  return (ebb_source){&ops, "memory", table, 0, ROWS, 0};
}

typedef struct bench { ebb_model m; ebb_trainer t; ebb_source s; } bench;

static ebb_run_options by(ebb_policy policy, double drift)
{
  return (ebb_run_options){.backward = (int)policy, .drift = drift};
}

static void begin_flow(bench *k, ebb_model m, ebb_run_options run)
{
  ebb_train_options o;
  ebb_options_default(&o, ebb_train_option_table);
  o.batch = ROWS, o.steps = 20, o.lr = 1e-3, o.threads = 1, o.clip = 1;
  *k = (bench){.m = m, .s = source()};
  ck_assert_msg(ebb_trainer_create(&k->t, &k->m, table, &o, &run, ROWS, 0) == EBB_OK, "%s", ebb_message());
}

static void begin(bench *k, ebb_run_options run)
{
  begin_flow(k, flow(false), run);
}

static void finish(bench *k)
{
  ebb_trainer_destroy(&k->t);
  ebb_model_destroy(&k->m);
}

static ebb_status step(bench *k)
{
  ebb_metrics m = {0};
  return ebb_trainer_step(&k->t, &k->s, &m);
}

static void steps(bench *k, int count)
{
  for (int i = 0; i < count; i++) ck_assert_msg(step(k) == EBB_OK, "%s", ebb_message());
}

static ebb_real *weight(bench *k, const char *name)
{
  for (const ebb_param *p = k->m.params; p; p = p->next)
    if (strcmp(p->name, name) == 0) return k->t.work.weights + p->offset;
  ck_abort_msg("no parameter %s", name);
  return NULL;
}

/* z2 = (x2 + t) e^s, in the last block, with t = 1e8 for one column: no digit of x2 is left. The bias is (s, s, t, t). */
static void spoil(bench *k)
{
  weight(k, "block2.f.bias")[2] = (ebb_real)1e8;
}

/* y2 = (x2 + t) e^s with s = -800 for one column of the second block: 0, whose inverse is 0 times infinity. */
static void flatten(bench *k)
{
  weight(k, "block1.f.bias")[0] = -800;
}

/* The last two rows of the matrix differ by 1e-6 of one column. */
static void align(bench *k)
{
  static const double rows[COLUMNS * COLUMNS] = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 1, 1e-6};
  for (int i = 0; i < COLUMNS * COLUMNS; i++) weight(k, "mix.weight")[i] = (ebb_real)rows[i];
}

static const struct way { void (*spoil)(bench *k); const char *held; } ways[] = {{spoil, "block2"}, {flatten, "block1"}, {align, "mix"}};
enum { WAYS = sizeof ways / sizeof *ways };

/* Of the batch, into work.grads, without a step. */
static void gradients(bench *k)
{
  ebb_run  *r = &k->t.work.run;
  ebb_batch batch;
  ebb_view  y, dy;
  next(&k->s, &batch);
  r->pass = EBB_TRAIN;
  ebb_forward(r, &k->m, batch.x, &y);
  ebb_loss_eval(&k->t.loss, r, y, NULL, 1, &dy);
  ebb_backward(r, &k->m, batch.x, dy, (ebb_view){0});
}

static double largest(const ebb_real *v, size_t count)
{
  double most = 0;
  for (size_t i = 0; i < count; i++) most = fmax(most, fabs((double)v[i]));
  return most;
}

static bool same_weights(const bench *a, const bench *b)
{
  return memcmp(a->t.work.weights, b->t.work.weights, a->m.weights * sizeof(ebb_real)) == 0;
}

static ebb_real *copy_of_weights(const bench *k)
{
  ebb_real *copy = malloc(k->m.weights * sizeof *copy);
  return memcpy(copy, k->t.work.weights, k->m.weights * sizeof *copy);
}

/* ---- tests -------------------------------------------------------------------------------------------------------- */
START_TEST(where_all_comes_back_the_guard_changes_no_bit)
{
  bench with, without;
  begin(&with, by(EBB_REVERSE, 1e-5));
  begin(&without, by(EBB_REVERSE, 0));
  steps(&with, 10);
  steps(&without, 10);
  ck_assert_int_eq(with.t.held, 0);
  ck_assert(same_weights(&with, &without));
  ck_assert_uint_eq(with.t.plan.peak, ebb_workspace_peak(&with.t.work, 0));
  finish(&with);
  finish(&without);
}
END_TEST

START_TEST(what_does_not_come_back_is_held_and_its_step_left_out)
{
  bench k;
  begin(&k, by(EBB_REVERSE, 1e-5));
  spoil(&k);
  ebb_real *before = copy_of_weights(&k);
  size_t    planned = k.t.plan.peak;
  steps(&k, 1);
  ck_assert_int_eq(k.t.held, 1);
  ck_assert_str_eq(k.t.drifted->name, "block2");
  ck_assert_msg(k.t.drift > 1e-2, "%g", k.t.drift);
  ck_assert_mem_eq(k.t.work.weights, before, k.m.weights * sizeof *before);
  ck_assert_uint_eq(k.t.step, 1);
  ck_assert_uint_gt(k.t.plan.peak, planned);
  steps(&k, 1);
  ck_assert_int_eq(k.t.held, 1);
  ck_assert_uint_eq(k.t.plan.peak, ebb_workspace_peak(&k.t.work, 0));
  ck_assert(memcmp(k.t.work.weights, before, k.m.weights * sizeof *before) != 0);
  free(before);
  finish(&k);
}
END_TEST

/* The layer that loses digits is the one that is held, and all gradients are those of stored activations again, its own too. */
START_TEST(what_is_held_has_the_gradients_of_what_is_stored)
{
  bench held, stored;
  begin_flow(&held, flow(true), by(EBB_REVERSE, 1e-5));
  begin_flow(&stored, flow(true), by(EBB_STORE, 1e-5));
  ways[_i].spoil(&held), ways[_i].spoil(&stored);
  steps(&held, 1);
  ck_assert_int_eq(held.t.held, 1);
  ck_assert_str_eq(held.t.drifted->name, ways[_i].held);
  gradients(&held), gradients(&stored);
  for (const ebb_param *p = held.m.params; p; p = p->next)
    for (size_t i = p->offset; i < p->offset + p->count; i++) {
      double a = (double)held.t.work.grads[i], b = (double)stored.t.work.grads[i];
      ck_assert_msg(fabs(a - b) <= 1e-5 * largest(stored.t.work.grads + p->offset, p->count), "%s: %.9g, stored %.9g", p->name, a, b);
    }
  ck_assert_uint_eq(held.t.plan.peak, ebb_workspace_peak(&held.t.work, 0));
  finish(&held);
  finish(&stored);
}
END_TEST

START_TEST(without_a_guard_nobody_looks)
{
  bench k;
  begin(&k, by(EBB_REVERSE, 0));
  spoil(&k);
  ebb_real *before = copy_of_weights(&k);
  steps(&k, 1);
  ck_assert_int_eq(k.t.held, 0);
  ck_assert(memcmp(k.t.work.weights, before, k.m.weights * sizeof *before) != 0);
  free(before);
  finish(&k);
}
END_TEST

/* A run that goes on from a checkpoint holds what the run before it held. */
START_TEST(a_checkpoint_knows_what_is_held)
{
  bench a, b;
  char  path[] = "/tmp/ebb-test-guard-XXXXXX";
  int   file = mkstemp(path);
  ck_assert_int_ge(file, 0);
  close(file);
  begin_flow(&a, flow(true), by(EBB_REVERSE, 1e-5));
  begin_flow(&b, flow(true), by(EBB_REVERSE, 1e-5));
  ways[_i].spoil(&a);
  steps(&a, 2);
  ck_assert_msg(ebb_checkpoint_save(path, &a.t, "") == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_checkpoint_load(path, &b.t, false) == EBB_OK, "%s", ebb_message());
  ck_assert_int_eq(b.t.held, 1);
  ck_assert_uint_eq(b.t.plan.peak, a.t.plan.peak);
  steps(&a, 3);
  steps(&b, 3);
  ck_assert(same_weights(&a, &b));
  unlink(path);
  finish(&a);
  finish(&b);
}
END_TEST

START_TEST(a_plan_that_may_not_grow_ends_the_run)
{
  bench           k;
  ebb_run_options run = by(EBB_REVERSE, 1e-5);
  begin(&k, run);
  run.memory = k.t.plan.peak;
  finish(&k);
  begin(&k, run);
  spoil(&k);
  ck_assert(step(&k) == EBB_OSERR);
  ck_assert_msg(strstr(ebb_message(), "run.memory") != NULL, "%s", ebb_message());
  finish(&k);
}
END_TEST

static const ebb_layer *block(const ebb_model *m, int i)
{
  const ebb_layer *chain = m->root;
  while (!ebb_replays(chain->ops->child(chain, 0))) chain = chain->ops->child(chain, 0);
  return chain->ops->child(chain, i);
}

/* A plan that stores the second and third block, as one with a budget may, and then holds the first. */
static ebb_plan stored_and_held(const ebb_model *m, size_t room, ebb_pool *pool)
{
  enum { VIEWS = 100 }; /* more than any of them */
  ebb_plan p;
  ebb_plan_make(&p, m, table, (ebb_plan_options){.policy = EBB_REVERSE, .training = true, .drift = 1e-5, .loss = 100}, pool);
  p.stored[block(m, 1)->id] = p.stored[block(m, 2)->id] = true;
  p.options.room = room;
  p.kept_views = VIEWS;
  ebb_plan_hold(&p, m, block(m, 0));
  return p;
}

START_TEST(within_a_budget_others_are_replayed_for_what_is_held)
{
  ebb_pool  pool = {0};
  ebb_model m = flow(false);
  ebb_plan  all = stored_and_held(&m, SIZE_MAX, &pool), tight = stored_and_held(&m, all.peak - 1, &pool);
  ck_assert(all.stored[block(&m, 1)->id] && all.stored[block(&m, 2)->id]);
  ck_assert_msg(tight.peak < all.peak, "%zu of %zu bytes", tight.peak, all.peak - 1);
  ck_assert(tight.held[block(&m, 0)->id] && !tight.stored[block(&m, 1)->id] && tight.stored[block(&m, 2)->id]);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* A channel whose mean is finite and whose variance is not: nobody can tell whether it came back. */
START_TEST(what_is_too_large_to_tell_is_held)
{
  bench k;
  begin(&k, by(EBB_REVERSE, 1e-5));
  for (int i = 0; i < COLUMNS / 2; i++) weight(&k, "block0.f.bias")[i] = 46; /* e^46 = 1e20 */
  memset(weight(&k, "block1.f.weight"), 0, COLUMNS / 2 * COLUMNS * sizeof(ebb_real));
  steps(&k, 1);
  ck_assert_int_eq(k.t.held, 1);
  ck_assert_str_eq(k.t.drifted->name, "block2");
  finish(&k);
}
END_TEST

/* What is not finite on the way forward cannot come back: that is another matter. */
START_TEST(a_loss_that_is_not_finite_is_no_drift)
{
  bench k;
  begin(&k, by(EBB_REVERSE, 1e-5));
  k.t.options.skip = 1;
  weight(&k, "block2.f.bias")[2] = (ebb_real)INFINITY;
  steps(&k, 1);
  ck_assert_int_eq(k.t.held, 0);
  ck_assert_uint_eq(k.t.skipped, 1);
  finish(&k);
}
END_TEST

int main(void)
{
  if (ebbk_start() != EBB_OK) return EXIT_FAILURE;
  Suite *suite = suite_create("guard");
  TCase *c = tcase_create("all");
  tcase_add_test(c, where_all_comes_back_the_guard_changes_no_bit);
  tcase_add_test(c, what_does_not_come_back_is_held_and_its_step_left_out);
  tcase_add_loop_test(c, what_is_held_has_the_gradients_of_what_is_stored, 0, WAYS);
  tcase_add_test(c, without_a_guard_nobody_looks);
  tcase_add_loop_test(c, a_checkpoint_knows_what_is_held, 0, WAYS);
  tcase_add_test(c, a_plan_that_may_not_grow_ends_the_run);
  tcase_add_test(c, within_a_budget_others_are_replayed_for_what_is_held);
  tcase_add_test(c, what_is_too_large_to_tell_is_held);
  tcase_add_test(c, a_loss_that_is_not_finite_is_no_drift);
  suite_add_tcase(suite, c);
  return run_suite(suite);
}
