/* exact.h -- runs that are compared byte for byte: what test_exact.c and test_exact_segmentation.c share.
 * Owns: a training of some steps, what it leaves, the comparison. EBB_TEST_STEPS shortens the runs. */
#pragma once
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/kernels.h"
#include "models/models.h"
#include "tests/suite.h"
#include "train/optim.h"
#include "train/trainer.h"

static void succeeds(ebb_status status)
{
  ck_assert_msg(status == EBB_OK, "%d: %s", (int)status, ebb_message());
}

/* ---- a run ------------------------------------------------------------------------------------------------------------ */
/* The network's preset, then words like "variant=memcnn dropout=0.2". */
static ebb_model model_of(const char *name, const char *words, ebb_shape image, int classes, ebb_pool *pool)
{
  const ebb_network *n = ebb_network_find(name);
  ebb_model          m;
  ck_assert_ptr_nonnull(n);
  void *options = ebb_pool_take(pool, n->options_size);
  succeeds(ebb_network_options(n, options, words, pool));
  succeeds(ebb_network_model(&m, n, options, image, classes));
  return m;
}

/* What a run leaves: one block of bytes for each kind of numbers. */
typedef struct outcome { ebb_real *weights, *momenta, *state; double loss; } outcome;

static ebb_real *kept(ebb_pool *pool, const void *values, size_t count)
{
  ebb_real *p = ebb_pool_take(pool, count * sizeof *p);
  memcpy(p, values, count * sizeof *p);
  return p;
}

static int steps_to_do(void)
{
  const char *text = getenv("EBB_TEST_STEPS");
  return text && atoi(text) > 0 ? atoi(text) : 20;
}

/* Opens a source of batches that follow from the seed. */
typedef ebb_source *(*opener)(uint64_t seed);

/* How a run goes about it; `replays`: under REVERSE, no block is spared its replay, though there is room. */
typedef struct way { ebb_policy policy; int threads; bool replays; } way;

static outcome train(const ebb_model *m, opener open, way w, uint64_t seed, ebb_pool *pool)
{
  ebb_source       *source = open(seed);
  ebb_trainer       t;
  ebb_train_options o;
  ebb_run_options   run = {.backward = (int)w.policy};
  ebb_metrics       k = {0};
  ebb_options_default(&o, ebb_train_option_table);
  o.batch = source->shape.n;
  o.steps = steps_to_do();
  o.seed = seed;
  o.threads = w.threads;
  o.lr = 0.01; /* no network goes astray */
  succeeds(ebb_trainer_create(&t, m, source->shape, &o, &run, source->samples, 0));
  if (w.replays) t.work.run.spared = NULL;
  for (int i = 0; i < o.steps; i++) succeeds(ebb_trainer_step(&t, source, &k));
  outcome r = {kept(pool, t.work.weights, m->weights), kept(pool, t.work.optimizer, m->weights),
               kept(pool, t.work.state, m->states), ebb_metrics_loss(&k)};
  ck_assert_msg(ebb_workspace_peak(&t.work, 0) == t.plan.peak, "%s: peak %zu, plan %zu", ebb_policy_names[w.policy],
                ebb_workspace_peak(&t.work, 0), t.plan.peak);
  ebb_trainer_destroy(&t);
  return r;
}

/* The first parameter whose values differ; NULL: none. */
static const char *differs(const ebb_model *m, const ebb_real *a, const ebb_real *b, ebb_param_kind kind)
{
  for (const ebb_param *p = m->params; p; p = p->next)
    if (p->kind == kind && memcmp(a + p->offset, b + p->offset, p->count * sizeof *a)) return p->name;
  return NULL;
}

static void same(const ebb_model *m, const outcome *a, const outcome *b, way w)
{
  const char *weights = differs(m, a->weights, b->weights, EBB_WEIGHT), *momenta = differs(m, a->momenta, b->momenta, EBB_WEIGHT);
  const char *state = differs(m, a->state, b->state, EBB_STATE);
  ck_assert_msg(!weights && !momenta && !state, "%s on %d threads: the first that differs: weights %s, momenta %s, statistics %s",
                ebb_policy_names[w.policy], w.threads, weights ? weights : "-", momenta ? momenta : "-", state ? state : "-");
  ck_assert_msg(a->loss == b->loss, "%s on %d threads: losses %.17g and %.17g", ebb_policy_names[w.policy], w.threads, a->loss,
                b->loss);
}

static const way ways[] = {
    {EBB_STORE, 2, false}, {EBB_CHECKPOINT, 2, false}, {EBB_REVERSE, 1, false}, {EBB_REVERSE, 3, false}, {EBB_REVERSE, 2, true},
};

/* The run by reversal on two threads, against all other ways. */
static outcome every_way_is_the_same(const ebb_model *m, opener open, ebb_pool *pool)
{
  outcome first = train(m, open, (way){EBB_REVERSE, 2, false}, 1, pool);
  for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
    outcome other = train(m, open, ways[i], 1, pool);
    same(m, &first, &other, ways[i]);
  }
  return first;
}
