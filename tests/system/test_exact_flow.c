/* test_exact_flow.c -- NICE's couplings are undone exactly: training by reversal leaves the bytes of training with kept activations,
 * under every policy and on one, two and three threads, the scale behind the stream included.
 * Owns: a source of grey images in memory. */
#include "tests/system/exact.h"

enum { BATCH = 16, SIDE = 12, SAMPLES = 64, PIXELS = SIDE * SIDE };
static const ebb_shape image = {.rank = 2, .n = 1, .d = 1, .h = SIDE, .w = SIDE, .c = 1};

typedef struct images {
  ebb_source base;
  uint64_t   cursor;
  ebb_real   x[SAMPLES][PIXELS];
} images;

static ebb_status images_next(ebb_source *base, ebb_batch *batch)
{
  images *s = (images *)base;
  *batch = (ebb_batch){.x = ebb_view_of(s->x[s->cursor % SAMPLES], s->base.shape)};
  s->cursor += BATCH;
  return EBB_OK;
}

static ebb_status images_seek(ebb_source *base, uint32_t epoch, uint64_t cursor)
{
  (void)epoch;
  ((images *)base)->cursor = cursor;
  return EBB_OK;
}

static const ebb_source_ops images_ops = {.next = images_next, .seek = images_seek};

/* Brightness by the sample and the column, and noise. */
static ebb_source *images_open(uint64_t seed)
{
  static images s;
  s = (images){.base = {&images_ops, "memory", image, 0, SAMPLES, 0}};
  s.base.shape.n = BATCH;
  for (uint64_t i = 0; i < SAMPLES; i++)
    for (uint64_t p = 0; p < PIXELS; p++)
      s.x[i][p] = (ebb_real)(2 * (i % 32) + 4 * (p % SIDE) + ebb_rng_below((ebb_rng){seed, EBB_RNG_TEST, 0}, i * PIXELS + p, 64));
  return &s.base;
}

START_TEST(nice_trains_to_the_same_bytes)
{
  ebb_pool  pool = {0};
  ebb_model m = model_of("nice", "hidden=3 width=64", image, 0, &pool);
  outcome   first = every_way_is_the_same(&m, images_open, &pool);
  outcome   other = train(&m, images_open, (way){EBB_REVERSE, 2, false}, 2, &pool);
  ck_assert_str_eq(differs(&m, first.weights, other.weights, EBB_WEIGHT), "step0.net.linear0.weight");
  ck_assert_msg(first.loss > 0, "loss %g", first.loss);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("exact flow");
  TCase *all = tcase_create("bytes");
  if (ebbk_start() != EBB_OK) {
    fprintf(stderr, "%s\n", ebb_message());
    return EXIT_FAILURE;
  }
  tcase_set_timeout(all, 1200);
  tcase_add_test(all, nice_trains_to_the_same_bytes);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
