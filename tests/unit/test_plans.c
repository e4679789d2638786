/* test_plans.c -- laws over a family of configurations, drawn at random from networks, depths, sizes, batches, policies and optimisers: a run takes
 * the bytes that were planned, and not one more or less; and when weights follow their gradients changes no byte of them.
 * Owns: the family. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "models/models.h"
#include "tests/suite.h"
#include "train/trainer.h"

enum { FAMILY = 240, CLASSES = 3 };

/* ---- what varies ------------------------------------------------------------------------------------------------------ */
/* Words of a network's options with %d for a number 1 .. 3; the data's rank, and what its sides are multiples of. */
static const struct kind { const char *network, *words; int rank, multiple, colours; } kinds[] = {
    {"stack", "depth=%d width=6", 2, 1, 3},
    {"stack", "depth=%d width=10", 3, 1, 2},
    {"revnet-38", "units=%d,1,2 widths=8,8,16,16", 2, 4, 3},
    {"resnet-32", "units=%d,1,1 widths=8,8,16,16", 2, 4, 1},
    {"iunet", "channels=6,12,24 blocks=1,%d,1", 2, 4, 1},
    {"iunet", "channels=6,12 blocks=%d,1 stride=1,2,2", 3, 2, 1},
    {"unet", "channels=4,8,16 depth=%d", 2, 4, 3},
    {"revunet", "channels=6,12 blocks=%d groups=3", 3, 2, 1},
    {"nice", "couplings=%d hidden=2 width=8", 2, 1, 1},
    {"realnvp", "levels=2 width=4 blocks=%d", 2, 2, 1},
    {"realnvp", "levels=2 width=4 blocks=%d norm=batch", 2, 2, 3},
    {"glow", "levels=2 steps=%d width=8", 2, 4, 1},
    {"glow", "levels=1 steps=%d width=8 coupling=additive condition=all permutation=plu", 2, 2, 3},
    {"spline-flow", "layers=%d width=8", 1, 0, 5},
    {"realnvp-tabular", "layers=%d width=8", 1, 0, 6},
};
enum { KINDS = sizeof kinds / sizeof *kinds };
static const char *const optimizers[] = {"sgd", "adam", "adamw", "adamax"};

static int pick(int member, uint32_t what, int count)
{
  return (int)ebb_rng_below((ebb_rng){23, EBB_RNG_TEST, what}, (uint64_t)member, (uint64_t)count);
}

typedef struct setup {
  const struct kind *kind;
  const char        *words;
  ebb_shape          x;
  ebb_train_options  train;
  ebb_run_options    run;
  double             share;  /* auto: of the way from the least memory to store's */
} setup;

static ebb_shape shape_of(const struct kind *k, int i)
{
  int side[3] = {1, 1, 1};
  for (int d = 3 - k->rank; d < 3 && k->multiple; d++) side[d] = k->multiple * (2 + pick(i, 10 + (uint32_t)d, 3));
  return (ebb_shape){.rank = k->rank, .n = 2 + pick(i, 3, 4), .d = side[0], .h = side[1], .w = side[2], .c = k->colours};
}

static setup setup_of(int i, ebb_pool *pool)
{
  setup s = {.kind = &kinds[i % KINDS], .share = pick(i, 4, 5) / 4.0};
  s.words = ebb_pool_text(pool, s.kind->words, 1 + pick(i, 1, 3));
  s.x = shape_of(s.kind, i);
  ebb_options_default(&s.train, ebb_train_option_table);
  ebb_options_default(&s.run, ebb_run_option_table);
  s.train.batch = s.x.n;
  s.train.steps = 4;
  s.train.lr = 1e-4;
  s.train.threads = 1 + pick(i, 5, 2);
  s.train.momentum = pick(i, 6, 2) ? 0.9 : 0;
  s.train.ema = pick(i, 7, 3) ? 0 : 0.9;
  ck_assert(ebb_option_set(&s.train, ebb_train_option_table, "train", "optimizer", optimizers[pick(i, 8, 4)], pool) == EBB_OK);
  s.run.backward = pick(i, 9, EBB_POLICIES + 1);
  s.run.update = pick(i, 11, 2);
  if (s.run.update == EBB_UPDATE_BACKWARD) s.run.drift = 0;
  return s;
}

/* ---- random data --------------------------------------------------------------------------------------------------------- */
typedef struct noise { ebb_source base; ebb_batch batch; bool done; } noise;

static ebb_status next(ebb_source *base, ebb_batch *batch)
{
  noise *s = (noise *)base;
  *batch = s->batch;
  if (s->done) batch->x.s.n = 0;
  s->done = base->samples == (uint64_t)base->shape.n; /* an evaluation is one batch long */
  return EBB_OK;
}

static ebb_status seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  (void)epoch, (void)cursor;
  ((noise *)base)->done = false;
  return EBB_OK;
}

static const ebb_source_ops ops = {.next = next, .seek = seek};

static noise noise_of(const ebb_model *m, ebb_shape x, uint64_t samples, ebb_pool *pool)
{
  noise  s = {.base = {&ops, "noise", x, CLASSES, samples, 0}};
  size_t labels = (size_t)x.n * ebb_sites(m->out);
  s.batch.x = ebb_view_of(ebb_pool_take(pool, ebb_bytes(x)), x);
  s.batch.labels = ebb_pool_take(pool, labels * sizeof(int32_t));
  s.batch.index = ebb_pool_take(pool, (size_t)x.n * sizeof(uint32_t));
  ebb_rng g = {23, EBB_RNG_TEST, 100};
  for (size_t i = 0; i < ebb_count(x); i++) /* grey levels, or a table's numbers */
    ebb_reals(s.batch.x)[i] = (ebb_real)(x.rank > 1 ? (double)ebb_rng_below(g, i, 256) : ebb_rng_normal(g, i));
  for (size_t i = 0; i < labels; i++) s.batch.labels[i] = (int32_t)(i % CLASSES);
  return s;
}

/* ---- the law -------------------------------------------------------------------------------------------------------------- */
/* Of auto: a budget between the least and what it takes to store. */
static void set_budget(setup *s, const ebb_model *m)
{
  size_t peak[2];
  for (int policy = EBB_REVERSE; policy <= EBB_STORE; policy++) {
    ebb_run_options run = {.backward = policy, .update = s->run.update, .drift = s->run.drift};
    ebb_trainer     t;
    ck_assert_msg(ebb_trainer_create(&t, m, s->x, &s->train, &run, 100, 0) == EBB_OK, "%s", ebb_message());
    peak[policy] = t.plan.peak;
    ebb_trainer_destroy(&t);
  }
  size_t more = peak[EBB_STORE] > peak[EBB_REVERSE] ? peak[EBB_STORE] - peak[EBB_REVERSE] : 0;
  s->run.memory = peak[EBB_REVERSE] + (size_t)(s->share * (double)more);
}

static ebb_model model_of(const setup *s, ebb_pool *pool)
{
  ebb_model          m;
  const ebb_network *n = ebb_network_find(s->kind->network);
  void              *options = ebb_pool_take(pool, n->options_size);
  ck_assert_msg(ebb_network_options(n, options, s->words, pool) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_network_model(&m, n, options, s->x, CLASSES) == EBB_OK, "%s %s: %s", n->name, s->words, ebb_message());
  return m;
}

START_TEST(a_run_takes_what_was_planned)
{
  ebb_pool    pool = {0};
  ebb_trainer t;
  ebb_metrics k = {0};
  setup       s = setup_of(_i, &pool);
  ebb_model   m = model_of(&s, &pool);
  if (s.run.backward == EBB_AUTO) set_budget(&s, &m);
  noise training = noise_of(&m, s.x, 100, &pool), validation = noise_of(&m, s.x, (uint64_t)s.x.n, &pool);
  ck_assert_msg(ebb_trainer_create(&t, &m, s.x, &s.train, &s.run, 100, 0) == EBB_OK, "%s", ebb_message());
  for (int i = 0; i < 2; i++) ck_assert_msg(ebb_trainer_step(&t, &training.base, &k) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_trainer_evaluate(&t, &validation.base, &k) == EBB_OK, "%s", ebb_message());
  size_t peak = ebb_workspace_peak(&t.work, 0);
  ck_assert_msg(peak == t.plan.peak, "%s %s, batch %d, backward %s, optimizer %s: planned %zu, used %zu", s.kind->network, s.words, s.x.n,
                ebb_policy_names[s.run.backward], optimizers[pick(_i, 8, 4)], t.plan.peak, peak);
  ck_assert_msg(!s.run.memory || peak <= s.run.memory, "%zu bytes of a budget of %zu", peak, s.run.memory);
  ebb_trainer_destroy(&t);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* Two steps, and what they made of the weights, the statistics and the moments. */
static void train(ebb_trainer *t, const ebb_model *m, const setup *s, ebb_update update, ebb_source *source)
{
  ebb_metrics     k = {0};
  ebb_run_options run = s->run;
  run.update = (int)update;
  run.drift = 0;
  ck_assert_msg(ebb_trainer_create(t, m, s->x, &s->train, &run, 100, 0) == EBB_OK, "%s", ebb_message());
  for (int i = 0; i < 2; i++) ck_assert_msg(ebb_trainer_step(t, source, &k) == EBB_OK, "%s", ebb_message());
}

START_TEST(weights_that_follow_within_the_backward_pass_are_the_same_bytes)
{
  ebb_pool    pool = {0};
  ebb_trainer whole, within;
  setup       s = setup_of(_i, &pool);
  ebb_model   m = model_of(&s, &pool);
  noise       data = noise_of(&m, s.x, 100, &pool);
  if (s.run.backward == EBB_AUTO && m.logdet) s.run.backward = EBB_REVERSE; /* which block is undone, or stored, shows in the last digit */
  s.run.update = EBB_UPDATE_STEP;
  if (s.run.backward == EBB_AUTO) set_budget(&s, &m);
  train(&whole, &m, &s, EBB_UPDATE_STEP, &data.base);
  train(&within, &m, &s, EBB_UPDATE_BACKWARD, &data.base);
  ck_assert_mem_eq(whole.work.weights, within.work.weights, m.weights * sizeof(ebb_real));
  ck_assert_mem_eq(whole.work.state, within.work.state, m.states * sizeof(ebb_real));
  ck_assert_mem_eq(whole.work.optimizer, within.work.optimizer, whole.plan.optimizer);
  ck_assert_double_eq_tol(whole.grad_norm, within.grad_norm, 1e-9 * whole.grad_norm);
  ck_assert_uint_le(within.plan.gradients, whole.plan.gradients);
  if (s.run.backward != EBB_AUTO) ck_assert_uint_eq(whole.plan.peak - within.plan.peak, whole.plan.gradients - within.plan.gradients);
  ebb_trainer_destroy(&whole);
  ebb_trainer_destroy(&within);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

static size_t gradients_of_stack(const char *words, int update)
{
  ebb_pool  pool = {0};
  ebb_plan  p;
  setup     s = setup_of(0, &pool);
  s.words = words;
  s.run.update = update;
  ebb_model m = model_of(&s, &pool);
  ck_assert_msg(ebb_train_plan(&p, &m, s.x, &s.train, &s.run, 0, &pool) == EBB_OK, "%s", ebb_message());
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
  return p.gradients;
}

START_TEST(within_the_backward_pass_gradients_do_not_grow_with_depth)
{
  ck_assert_uint_gt(gradients_of_stack("depth=40 width=6", EBB_UPDATE_STEP), 9 * gradients_of_stack("depth=4 width=6", EBB_UPDATE_BACKWARD));
  ck_assert_uint_eq(gradients_of_stack("depth=40 width=6", EBB_UPDATE_BACKWARD), gradients_of_stack("depth=4 width=6", EBB_UPDATE_BACKWARD));
}
END_TEST

int main(void)
{
  if (ebbk_start() != EBB_OK) return EXIT_FAILURE;
  Suite *suite = suite_create("plans");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, a_run_takes_what_was_planned, 0, FAMILY);
  tcase_add_loop_test(all, weights_that_follow_within_the_backward_pass_are_the_same_bytes, 0, FAMILY);
  tcase_add_test(all, within_the_backward_pass_gradients_do_not_grow_with_depth);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
