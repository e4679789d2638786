/* test_exact_segmentation.c -- the same promise for i-UNets: learned resampling, mixing, nested levels, odd sizes padded.
 * Owns: a source of volumes with a label at every site, drawn by counters. */
#include "tests/system/exact.h"

enum { BATCH = 2, SAMPLES = 6, CLASSES = 3 };

/* ---- volumes: noise, brighter where the label is higher ------------------------------------------------------------------ */
typedef struct volumes {
  ebb_source base;
  ebb_pool   pool;
  uint64_t   seed, cursor;
  uint32_t   epoch;
  ebb_real  *x;
  int32_t   *labels;
  uint32_t   index[BATCH];
} volumes;

static ebb_status volumes_next(ebb_source *base, ebb_batch *batch)
{
  volumes *s = (volumes *)base;
  size_t   sites = ebb_sites(base->shape), c = (size_t)base->shape.c;
  ebb_rng  g = {s->seed, EBB_RNG_TEST, s->epoch * 1000 + (uint32_t)s->cursor};
  for (size_t i = 0; i < sites; i++) {
    s->labels[i] = (int32_t)(i * 7 / sites % CLASSES) - (i % 11 == 0); /* some are left out */
    for (size_t j = 0; j < c; j++) s->x[i * c + j] = (ebb_real)(ebb_rng_normal(g, i * c + j) + s->labels[i]);
  }
  s->cursor += BATCH;
  *batch = (ebb_batch){.x = ebb_view_of(s->x, base->shape), .labels = s->labels, .index = s->index};
  return EBB_OK;
}

static ebb_status volumes_seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  ((volumes *)base)->epoch = epoch;
  ((volumes *)base)->cursor = cursor;
  return EBB_OK;
}

static const ebb_source_ops volumes_ops = {.next = volumes_next, .seek = volumes_seek};
static ebb_shape            shape; /* of the case that runs */

static ebb_source *volumes_open(uint64_t seed)
{
  static volumes s;
  ebb_pool_clear(&s.pool);
  s = (volumes){.seed = seed, .base = {&volumes_ops, "memory", shape, CLASSES, SAMPLES, 0}};
  s.base.shape.n = BATCH;
  s.x = ebb_pool_take(&s.pool, ebb_bytes(s.base.shape));
  s.labels = ebb_pool_take(&s.pool, ebb_sites(s.base.shape) * sizeof *s.labels);
  return &s.base;
}

static const struct network { const char *name, *words; ebb_shape shape; } networks[] = {
    {"iunet", "channels=8,16,32 blocks=1,2,1", {.rank = 2, .n = 1, .d = 1, .h = 21, .w = 18, .c = 1}},
    {"iunet", "channels=7,15,35 blocks=2,1,1 stride=2,2,2,1,2,2 resample=exponential depth=1",
     {.rank = 3, .n = 1, .d = 7, .h = 10, .w = 13, .c = 2}},
    {"iunet", "channels=8,16 blocks=1,1 coupling=whole resample=householder init=random shared=true norm=batch",
     {.rank = 3, .n = 1, .d = 5, .h = 6, .w = 6, .c = 1}},
    {"unet", "channels=6,12,24", {.rank = 3, .n = 1, .d = 9, .h = 10, .w = 12, .c = 1}},
    {"iunet", "channels=6,12,24 blocks=2,1,1 resample=haar norm=none activation=softplus",
     {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 45, .c = 2}},
};
enum { NETWORKS = sizeof networks / sizeof *networks };

START_TEST(iunets_train_to_the_same_bytes)
{
  const struct network *k = &networks[_i];
  ebb_pool              pool = {0};
  shape = k->shape;
  ebb_model m = model_of(k->name, k->words, shape, CLASSES, &pool);
  outcome   r = every_way_is_the_same(&m, volumes_open, &pool);
  ck_assert(r.loss > 0 && r.loss < 20);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* ---- memory and depth ------------------------------------------------------------------------------------------------------ */
static ebb_plan plan_of(const char *blocks, ebb_policy policy, ebb_pool *pool)
{
  const char *words = ebb_pool_text(pool, "channels=32,64,128 blocks=%s,%s,%s", blocks, blocks, blocks);
  ebb_shape   x = {.rank = 3, .n = 1, .d = 32, .h = 32, .w = 32, .c = 1};
  ebb_plan    p;
  ebb_model   m = model_of("iunet", words, x, CLASSES, pool);
  ebb_plan_make(&p, &m, x, (ebb_plan_options){.policy = policy, .training = true, .optimizer = m.weights * sizeof(ebb_real)}, pool);
  ebb_model_destroy(&m);
  return p;
}

START_TEST(more_couplings_take_only_their_weights_more)
{
  ebb_pool pool = {0};
  ebb_plan shallow = plan_of("2", EBB_REVERSE, &pool), deep = plan_of("20", EBB_REVERSE, &pool);
  size_t   lasting = deep.weights + deep.gradients + deep.optimizer + deep.state;
  ck_assert_uint_eq(shallow.stream + shallow.kept + shallow.scratch, deep.stream + deep.kept + deep.scratch);
  ck_assert_uint_eq(deep.peak - shallow.peak, lasting - shallow.weights - shallow.gradients - shallow.optimizer - shallow.state);
  ebb_plan store = plan_of("20", EBB_STORE, &pool), few = plan_of("2", EBB_STORE, &pool);
  ck_assert_uint_gt(store.kept, 5 * few.kept);
  ebb_pool_clear(&pool);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("exact segmentation");
  TCase *all = tcase_create("bytes and memory");
  if (ebbk_start() != EBB_OK) {
    fprintf(stderr, "%s\n", ebb_message());
    return EXIT_FAILURE;
  }
  tcase_set_timeout(all, 1200);
  tcase_add_loop_test(all, iunets_train_to_the_same_bytes, 0, NETWORKS);
  tcase_add_test(all, more_couplings_take_only_their_weights_more);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
