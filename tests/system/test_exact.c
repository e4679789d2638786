/* test_exact.c -- the promise: a run that reconstructs its activations is, byte for byte, the run that keeps them.
 * RevNet-110 trains for 20 steps on augmented images, plain and with dropout; weights, momenta and running statistics are
 * compared by memcmp under every policy and on one, two and three threads. And the memory of a reversible chain does not
 * depend on its depth.
 * Owns: a source of images in memory, shuffled, cropped and flipped by counters. */
#include "tests/system/exact.h"

enum { BATCH = 32, SIDE = 32, COLOURS = 3, SAMPLES = 80, CLASSES = 10, PAD = 4, PIXELS = SIDE * SIDE * COLOURS };
static const ebb_shape image = {.rank = 2, .n = 1, .d = 1, .h = SIDE, .w = SIDE, .c = COLOURS};

/* ---- images, in an order and with crops and flips that follow from (seed, epoch, position) -------------------------- */
typedef struct images {
  ebb_source base;
  uint64_t   seed, cursor;
  uint32_t   epoch, order[SAMPLES];
  ebb_real   raw[SAMPLES][SIDE][SIDE][COLOURS];
  ebb_real   x[BATCH][SIDE][SIDE][COLOURS];
  int32_t    labels[BATCH];
  uint32_t   index[BATCH];
} images;

static int32_t label_of(uint32_t sample)
{
  return (int32_t)(sample % CLASSES);
}

/* Noise, and a colour by the class. */
static void draw(images *s)
{
  ebb_rng g = {s->seed, EBB_RNG_TEST, 0};
  for (uint32_t i = 0; i < SAMPLES; i++)
    for (size_t p = 0; p < PIXELS; p++)
      (&s->raw[i][0][0][0])[p] =
          (ebb_real)(ebb_rng_normal(g, i * (uint64_t)PIXELS + p) + 0.3 * label_of(i) * ((int)p % COLOURS - 1));
}

/* Padded by four pixels of zeros, cut to 32x32 again somewhere, mirrored or not. */
static void augment(images *s, ebb_real to[SIDE][SIDE][COLOURS], uint32_t sample)
{
  uint32_t b[4];
  ebb_rng_bits(b, (ebb_rng){s->seed, EBB_RNG_AUGMENT, s->epoch}, sample);
  int up = (int)(b[0] % (2 * PAD + 1)) - PAD, left = (int)(b[1] % (2 * PAD + 1)) - PAD;
  for (int h = 0; h < SIDE; h++)
    for (int w = 0; w < SIDE; w++) {
      int  fh = h + up, fw = (b[2] & 1 ? SIDE - 1 - w : w) + left;
      bool inside = fh >= 0 && fh < SIDE && fw >= 0 && fw < SIDE;
      for (int c = 0; c < COLOURS; c++) to[h][w][c] = inside ? s->raw[sample][fh][fw][c] : 0;
    }
}

static ebb_status images_next(ebb_source *base, ebb_batch *batch)
{
  images *s = (images *)base;
  for (int i = 0; i < BATCH; i++) {
    s->index[i] = s->order[s->cursor + (uint64_t)i];
    s->labels[i] = label_of(s->index[i]);
    augment(s, s->x[i], s->index[i]);
  }
  s->cursor += BATCH;
  *batch = (ebb_batch){.x = ebb_view_of(s->x, s->base.shape), .labels = s->labels, .index = s->index};
  return EBB_OK;
}

static ebb_status images_seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  images *s = (images *)base;
  s->epoch = epoch;
  s->cursor = cursor;
  ebb_rng_permutation(s->order, (ebb_rng){s->seed, EBB_RNG_SHUFFLE, epoch}, SAMPLES);
  return EBB_OK;
}

static const ebb_source_ops images_ops = {.next = images_next, .seek = images_seek};

static ebb_source *images_open(uint64_t seed)
{
  static images source;
  images       *s = &source;
  s->seed = seed;
  s->base = (ebb_source){&images_ops, "memory", image, CLASSES, SAMPLES, 0};
  s->base.shape.n = BATCH;
  draw(s);
  images_seek(&s->base, 0, 0);
  return &s->base;
}

static const char *const variants[] = {"variant=memcnn", "variant=memcnn dropout=0.2"};

START_TEST(revnet_110_trains_to_the_same_bytes)
{
  ebb_pool  pool = {0};
  ebb_model m = model_of("revnet-110", variants[_i], image, CLASSES, &pool);
  every_way_is_the_same(&m, images_open, &pool);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* The comparison can fail: another seed, and dropout, leave other bytes everywhere. */
START_TEST(other_runs_leave_other_bytes)
{
  ebb_pool  pool = {0};
  ebb_model m = model_of("revnet-38", "variant=memcnn units=1,1,1", image, CLASSES, &pool);
  ebb_model d = model_of("revnet-38", "variant=memcnn units=1,1,1 dropout=0.2", image, CLASSES, &pool);
  way       w = {EBB_REVERSE, 2, false};
  outcome   one = train(&m, images_open, w, 1, &pool), two = train(&m, images_open, w, 2, &pool);
  outcome   dropped = train(&d, images_open, w, 1, &pool);
  ck_assert_str_eq(differs(&m, one.weights, two.weights, EBB_WEIGHT), "stem.conv.weight");
  ck_assert_str_eq(differs(&m, one.weights, dropped.weights, EBB_WEIGHT), "stem.conv.weight");
  ck_assert_ptr_nonnull(differs(&m, one.momenta, dropped.momenta, EBB_WEIGHT));
  ck_assert_str_eq(differs(&m, one.state, two.state, EBB_STATE), "stem.norm.running_mean");
  ck_assert(one.loss > 0 && one.loss < 10);
  ebb_model_destroy(&m);
  ebb_model_destroy(&d);
  ebb_pool_clear(&pool);
}
END_TEST

/* ---- memory and depth --------------------------------------------------------------------------------------------------- */
static ebb_plan plan_of(const char *depth, ebb_policy policy, ebb_pool *pool)
{
  ebb_train_options o;
  ebb_plan          p;
  ebb_shape         x = image;
  ebb_model         m = model_of("stack", depth, image, CLASSES, pool);
  x.n = BATCH;
  ebb_options_default(&o, ebb_train_option_table);
  ebb_plan_make(&p, &m, x, (ebb_plan_options){.policy = policy, .training = true, .optimizer = ebb_optim_bytes(&o, &m)}, pool);
  ebb_model_destroy(&m);
  return p;
}

static size_t lasting(const ebb_plan *p)
{
  return p->weights + p->gradients + p->optimizer + p->state;
}

START_TEST(a_deeper_chain_takes_only_its_weights_more)
{
  ebb_pool pool = {0};
  ebb_plan shallow = plan_of("depth=5", EBB_REVERSE, &pool), deep = plan_of("depth=25", EBB_REVERSE, &pool);
  ck_assert_uint_eq(shallow.stream, deep.stream);
  ck_assert_uint_eq(shallow.kept, deep.kept);
  ck_assert_uint_eq(shallow.scratch, deep.scratch);
  ck_assert_uint_eq(deep.peak - shallow.peak, lasting(&deep) - lasting(&shallow));
  ck_assert_uint_ge(deep.weights - shallow.weights, 20 * 2 * (32 * 32 * 9 + 2 * 32) * sizeof(ebb_real)); /* F and G */
  ebb_pool_clear(&pool);
}
END_TEST

/* Standard backprop keeps for each block at least the inputs of its two convolutions; checkpointing the block's input. */
START_TEST(other_policies_pay_for_depth)
{
  ebb_pool     pool = {0};
  const size_t half = ebb_bytes((ebb_shape){.rank = 2, .n = BATCH, .d = 1, .h = SIDE, .w = SIDE, .c = 32});
  ebb_plan     shallow = plan_of("depth=5", EBB_STORE, &pool), deep = plan_of("depth=25", EBB_STORE, &pool);
  ck_assert_uint_ge(deep.peak - lasting(&deep) - shallow.peak + lasting(&shallow), 20 * 2 * half);
  shallow = plan_of("depth=5", EBB_CHECKPOINT, &pool);
  deep = plan_of("depth=25", EBB_CHECKPOINT, &pool);
  ck_assert_uint_eq(deep.stream + deep.kept - shallow.stream - shallow.kept, 20 * 2 * half);
  ebb_pool_clear(&pool);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("exact");
  TCase *all = tcase_create("bytes and memory");
  if (ebbk_start() != EBB_OK) {
    fprintf(stderr, "%s\n", ebb_message());
    return EXIT_FAILURE;
  }
  tcase_set_timeout(all, 1200);
  tcase_add_loop_test(all, revnet_110_trains_to_the_same_bytes, 0, (int)(sizeof variants / sizeof *variants));
  tcase_add_test(all, other_runs_leave_other_bytes);
  tcase_add_test(all, a_deeper_chain_takes_only_its_weights_more);
  tcase_add_test(all, other_policies_pay_for_depth);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
