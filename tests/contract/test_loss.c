/* test_loss.c -- what every loss must hold: its gradient is that of differences, left out is left out, threads change no bit,
 * and values that are known. The program is built in float and in double; differences are taken in double. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/kernels.h"
#include "tests/suite.h"
#include "train/loss.h"

static const ebb_shape volume = {.rank = 3, .n = 3, .d = 2, .h = 3, .w = 4, .c = 4}; /* 24 sites */
enum { SITES = 72, MOST = 4, VALUES = SITES * MOST };

static const ebb_loss losses[] = {
    {.kind = EBB_LOSS_CROSS_ENTROPY},
    {.kind = EBB_LOSS_CROSS_ENTROPY, .smoothing = 0.2},
    {.kind = EBB_LOSS_CROSS_ENTROPY, .class_weights = {4, {0.5, 2, 0, 3}}},
    {.kind = EBB_LOSS_CROSS_ENTROPY, .class_weights = {4, {0.5, 2, 1, 3}}, .smoothing = 0.1},
    {.kind = EBB_LOSS_DICE},
    {.kind = EBB_LOSS_DICE, .dice_batch = true},
    {.kind = EBB_LOSS_DICE, .dice_background = true},
    {.kind = EBB_LOSS_DICE, .dice_background = true, .dice_batch = true},
    {.kind = EBB_LOSS_CROSS_ENTROPY_DICE},
    {.kind = EBB_LOSS_CROSS_ENTROPY_DICE, .class_weights = {4, {0.5, 2, 1, 3}}, .smoothing = 0.1, .dice_batch = true},
    {.kind = EBB_LOSS_GENERALISED_DICE},
    {.kind = EBB_LOSS_GENERALISED_DICE, .dice_batch = true},
    {.kind = EBB_LOSS_BCE},
    {.kind = EBB_LOSS_BCE_DICE},
    {.kind = EBB_LOSS_BCE_DICE, .dice_background = true, .dice_batch = true},
};
enum { LOSSES = sizeof losses / sizeof *losses };
static const ebb_loss nll = {.kind = EBB_LOSS_NLL};

typedef struct bench { ebb_arena arena; ebb_run run; ebb_shape s; ebb_real y[VALUES], probabilities[VALUES]; int32_t labels[SITES]; bool soft; int classes; } bench;

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){7, EBB_RNG_TEST, what}, i);
}

/* All classes are there, the third sample has no class 2, and some sites are left out. */
static void bench_open(bench *b, int c)
{
  *b = (bench){.s = volume};
  b->s.c = c;
  ck_assert_int_eq(ebb_arena_create(&b->arena, "run", 1 << 16), EBB_OK);
  b->run = (ebb_run){.arena = &b->arena};
  for (size_t i = 0; i < VALUES; i++) b->y[i] = (ebb_real)(1.5 * noise(1, i));
  for (int i = 0; i < SITES; i++) b->labels[i] = i % 11 == 5 ? -1 : i * 7 % 5 % (c == 1 ? 2 : c);
  for (int i = 48; i < SITES; i++) b->labels[i] = b->labels[i] == 2 ? 1 : b->labels[i];
}

/* Probabilities of each site's classes; some are 0. */
static void make_soft(bench *b)
{
  b->soft = true;
  for (int i = 0; i < SITES; i++) {
    double sum = 0, part[MOST];
    for (int j = 0; j < b->s.c; j++) sum += part[j] = (i + j) % 5 ? fabs(noise(4, (size_t)(i * MOST + j))) : 0;
    for (int j = 0; j < b->s.c; j++) b->probabilities[i * b->s.c + j] = (ebb_real)(b->s.c == 1 ? part[j] / (1 + part[j]) : part[j] / sum);
  }
}

static double eval(const ebb_loss *loss, bench *b, double weight, ebb_view *dy)
{
  ebb_view  y = ebb_view_of(b->y, b->s);
  ebb_shape t = b->s;
  if (b->classes) t.c = b->classes;
  return b->soft ? ebb_loss_eval_soft(loss, &b->run, y, b->labels, ebb_view_of(b->probabilities, t), weight, dy)
                 : ebb_loss_eval(loss, &b->run, y, b->labels, weight, dy);
}

static double value_and_gradient(const ebb_loss *loss, bench *b, double weight, ebb_real *gradient)
{
  ebb_view dy;
  b->arena.peak = 0;
  double   value = eval(loss, b, weight, &dy);
  if (gradient) memcpy(gradient, ebb_reals(dy), ebb_bytes(b->s));
  ck_assert_uint_eq(b->arena.high, ebb_align(ebb_bytes(b->s)));
  ck_assert_uint_eq(b->arena.peak, b->arena.high + ebb_loss_scratch(loss, b->s));
  ebb_arena_high_release(&b->arena, (ebb_mark){0, 0});
  return value;
}

static double value(const ebb_loss *loss, bench *b)
{
  return eval(loss, b, 1, NULL);
}

/* (f(h) - f(-h)) / 2h; in double to 1e-8, in float the same formula only tells that nothing is far off. */
static void gradient_is_the_differences(const ebb_loss *loss, int c, bool soft)
{
  const bool   exact = sizeof(ebb_real) == 8;
  const double h = exact ? 1e-5 : 0x1p-6, bound = exact ? 1e-9 : 1e-4, weight = 0.25;
  ebb_real     gradient[VALUES];
  bench        b;
  bench_open(&b, c);
  if (soft) make_soft(&b);
  value_and_gradient(loss, &b, weight, gradient);
  for (size_t i = 0; i < (size_t)SITES * (size_t)c; i++) {
    ebb_real here = b.y[i];
    b.y[i] = (ebb_real)((double)here + h);
    double up = value(loss, &b);
    b.y[i] = (ebb_real)((double)here - h);
    double slope = (up - value(loss, &b)) / (2 * h);
    b.y[i] = here;
    ck_assert_msg(fabs(weight * slope - (double)gradient[i]) <= bound, "kind %d, %d channels, value %zu: %.12g, differences %.12g",
                  loss->kind, c, i, (double)gradient[i], weight * slope);
  }
  ebb_arena_destroy(&b.arena);
}

START_TEST(the_gradient_is_that_of_differences)
{
  const ebb_loss *loss = &losses[_i];
  for (int soft = 0; soft < 2; soft++) {
    gradient_is_the_differences(loss, 4, soft);
    if (loss->kind >= EBB_LOSS_BCE) gradient_is_the_differences(loss, 1, soft);
  }
}
END_TEST

START_TEST(certain_soft_labels_are_hard_ones)
{
  ebb_real hard[VALUES], soft[VALUES];
  bench    b;
  bench_open(&b, 4);
  double before = value_and_gradient(&losses[_i], &b, 1, hard);
  b.soft = true;
  for (int i = 0; i < VALUES; i++) b.probabilities[i] = b.labels[i / 4] == i % 4;
  ck_assert(value_and_gradient(&losses[_i], &b, 1, soft) == before && memcmp(hard, soft, sizeof hard) == 0);
  ebb_arena_destroy(&b.arena);
}
END_TEST

/* Of one channel, probabilities of two classes count by class 1's. */
START_TEST(one_channel_takes_the_second_of_two_classes)
{
  ebb_real one[VALUES], two[VALUES];
  bench    b;
  if (losses[_i].kind < EBB_LOSS_BCE) return;
  bench_open(&b, 1);
  make_soft(&b);
  double before = value_and_gradient(&losses[_i], &b, 1, one);
  b.classes = 2;
  for (int i = SITES - 1; i >= 0; i--) {
    ebb_real t = b.probabilities[i];
    b.probabilities[2 * i] = 1 - t;
    b.probabilities[2 * i + 1] = t;
  }
  ck_assert(value_and_gradient(&losses[_i], &b, 1, two) == before && memcmp(one, two, SITES * sizeof *one) == 0);
  ebb_arena_destroy(&b.arena);
}
END_TEST

/* -1/N sum t log p, as PyTorch's cross_entropy of class probabilities. */
START_TEST(soft_cross_entropy_is_the_formula)
{
  bench    b;
  ebb_loss loss = {0};
  double   sum = 0;
  int      count = 0;
  bench_open(&b, 4);
  make_soft(&b);
  for (int i = 0; i < SITES; i++) {
    double all = 0;
    if (b.labels[i] < 0) continue;
    count++;
    for (int j = 0; j < 4; j++) all += exp((double)b.y[4 * i + j]);
    for (int j = 0; j < 4; j++) sum -= (double)b.probabilities[4 * i + j] * ((double)b.y[4 * i + j] - log(all));
  }
  ck_assert_double_eq_tol(value(&loss, &b), sum / count, 1e-6);
  ebb_arena_destroy(&b.arena);
}
END_TEST

START_TEST(what_is_left_out_changes_nothing)
{
  ebb_real one[VALUES], two[VALUES];
  bench    b;
  bench_open(&b, 4);
  double before = value_and_gradient(&losses[_i], &b, 1, one);
  for (int i = 0; i < SITES; i++)
    if (b.labels[i] < 0)
      for (int j = 0; j < 4; j++) {
        ck_assert(one[4 * i + j] == 0);
        b.y[4 * i + j] = (ebb_real)(100 * noise(2, (size_t)(4 * i + j)));
      }
  ck_assert_double_eq(value_and_gradient(&losses[_i], &b, 1, two), before);
  ck_assert(memcmp(one, two, sizeof one) == 0);
  for (int i = 0; i < SITES; i++) b.labels[i] = -1; /* nothing at all: no loss, no gradient, no NaN */
  ck_assert_double_eq_tol(value_and_gradient(&losses[_i], &b, 1, one), 0, 1e-15);
  for (int i = 0; i < VALUES; i++) ck_assert(one[i] == 0);
  ebb_arena_destroy(&b.arena);
}
END_TEST

START_TEST(threads_change_no_bit)
{
  enum { WIDE = 40000 };
  static ebb_real y[WIDE * 3], one[WIDE * 3];
  static int32_t  labels[WIDE];
  ebb_shape       s = {.rank = 2, .n = 2, .d = 1, .h = 100, .w = 200, .c = 3};
  ebb_loss        loss = losses[_i];
  ebb_arena       arena;
  double          first = 0;
  if (loss.class_weights.count) loss.class_weights.count = 3;
  ck_assert_int_eq(ebb_arena_create(&arena, "run", 4 * sizeof y), EBB_OK);
  for (size_t i = 0; i < WIDE * 3; i++) y[i] = (ebb_real)noise(3, i);
  for (int i = 0; i < WIDE; i++) labels[i] = i * 7 % 13 % 4 - 1;
  for (int threads = 1; threads <= 3; threads++) {
    ebb_run  r = {.arena = &arena};
    ebb_view dy;
    ebb_threads_set(threads);
    double loss_now = ebb_loss_eval(&loss, &r, ebb_view_of(y, s), labels, 1, &dy);
    if (threads == 1) first = loss_now, memcpy(one, ebb_reals(dy), sizeof one);
    ck_assert_msg(loss_now == first && memcmp(one, ebb_reals(dy), sizeof one) == 0, "%d threads: other bits", threads);
    ebb_arena_high_release(&arena, (ebb_mark){0, 0});
  }
  ebb_arena_destroy(&arena);
}
END_TEST

/* ---- values that are known ---------------------------------------------------------------------------------------- */
static void logits_of_labels(bench *b, double scale)
{
  int c = b->s.c;
  for (int i = 0; i < SITES; i++)
    for (int j = 0; j < c; j++) b->y[i * c + j] = (ebb_real)((c == 1 ? b->labels[i] == 1 : j == b->labels[i]) ? scale : -scale);
}

START_TEST(perfect_is_zero_and_wrong_is_one)
{
  bench b;
  for (int c = 1; c <= 4; c += 3) {
    const ebb_loss *loss = &losses[_i];
    if (loss->smoothing != 0 || (c == 1 && loss->kind < EBB_LOSS_BCE)) continue;
    bench_open(&b, c);
    logits_of_labels(&b, 50);
    ck_assert_double_eq_tol(value(loss, &b), 0, 1e-9);
    logits_of_labels(&b, -50);
    if (loss->kind == EBB_LOSS_GENERALISED_DICE || (loss->kind == EBB_LOSS_DICE && loss->dice_background && loss->dice_batch))
      ck_assert_double_eq_tol(value(loss, &b), 1, 1e-5);
    ebb_arena_destroy(&b.arena);
  }
}
END_TEST

START_TEST(equal_logits_cost_log_c)
{
  bench b;
  bench_open(&b, 4);
  memset(b.y, 0, sizeof b.y);
  for (int i = 0; i < 3; i++) ck_assert_double_eq_tol(value(&losses[i], &b), log(4), 1e-12);
  ck_assert_double_eq_tol(value(&(ebb_loss){.kind = EBB_LOSS_BCE}, &b), log(2), 1e-12);
  ebb_arena_destroy(&b.arena);
}
END_TEST

/* Softmax by hand: weighted cross-entropy over the weights of the labels, Dice of the batch over classes 1 to 3. */
START_TEST(weights_and_dice_are_their_formulas)
{
  const double w[] = {0.5, 2, 1, 3};
  double       sum = 0, count = 0, both[4] = {0}, all[4] = {0}, dice = 0;
  bench        b;
  bench_open(&b, 4);
  for (int i = 0; i < SITES; i++) {
    double p[4], total = 0;
    int    label = b.labels[i];
    if (label < 0) continue;
    for (int j = 0; j < 4; j++) total += p[j] = exp((double)b.y[4 * i + j]);
    for (int j = 0; j < 4; j++) all[j] += p[j] / total + (j == label);
    both[label] += p[label] / total;
    sum -= w[label] * log(p[label] / total);
    count += w[label];
  }
  for (int j = 1; j < 4; j++) dice += (2 * both[j] + 1e-5) / (all[j] + 1e-5) / 3;
  ebb_loss loss = {.kind = EBB_LOSS_CROSS_ENTROPY_DICE, .class_weights = {4, {0.5, 2, 1, 3}}, .dice_batch = true};
  ck_assert_double_eq_tol(value(&loss, &b), sum / count + 1 - dice, 1e-6);
  loss.kind = EBB_LOSS_CROSS_ENTROPY;
  ck_assert_double_eq_tol(value(&loss, &b), sum / count, 1e-6);
  ebb_arena_destroy(&b.arena);
}
END_TEST

/* Weights of 1 are no weights: the two kernels of cross-entropy agree. */
START_TEST(weights_of_one_are_no_weights)
{
  const ebb_loss ones = {.smoothing = 0.1, .class_weights = {4, {1, 1, 1, 1}}};
  ebb_real       one[VALUES], two[VALUES];
  bench          b;
  bench_open(&b, 4);
  double with = value_and_gradient(&ones, &b, 1, one), without = value_and_gradient(&(ebb_loss){.smoothing = 0.1}, &b, 1, two);
  ck_assert_double_eq_tol(with, without, 1e-12);
  for (int i = 0; i < VALUES; i++) ck_assert_double_eq_tol((double)one[i], (double)two[i], 1e-7);
  ebb_arena_destroy(&b.arena);
}
END_TEST

/* Of a normal distribution scaled by e^-s: nats by its formula, gradients by differences, also by log|det|. */
START_TEST(likelihood_is_its_formula)
{
  double   logdet[3] = {0.5, -2, 3}, nats[3], mean = 0;
  ebb_real gradient[VALUES];
  bench    b;
  bench_open(&b, 4);
  b.run.logdet = logdet;
  double   value_ = value_and_gradient(&nll, &b, 1, gradient);
  ebb_loss_nll(nats, &b.run, ebb_view_of(b.y, b.s));
  for (int n = 0; n < 3; n++) {
    double expected = -logdet[n];
    for (int i = n * 96; i < (n + 1) * 96; i++) expected -= log(exp(-0.5 * (double)b.y[i] * (double)b.y[i]) / sqrt(2 * acos(-1)));
    ck_assert_msg(fabs(nats[n] - expected) < 1e-3, "sample %d: %.9g nats, expected %.9g", n, nats[n], expected);
    mean += nats[n] / 3;
  }
  ck_assert(fabs(mean - value_) < 1e-9);
  gradient_is_the_differences(&nll, 4, false);
  double slope = b.run.dlogdet;
  logdet[1] += 0.25;
  ck_assert(fabs((value(&nll, &b) - value_) / 0.25 - slope) < 1e-6);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
  ck_assert_int_eq(ebb_loss_check(&losses[2], 4), EBB_OK);
  ck_assert_int_eq(ebb_loss_check(&losses[2], 3), EBB_CONFIG);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "expected 3 numbers"));
  ck_assert_ptr_nonnull(strstr(ebb_message(), "found 4"));
  ck_assert_int_eq(ebb_loss_check(&(ebb_loss){.class_weights = {2, {0, 0}}}, 2), EBB_CONFIG);
  ck_assert_int_eq(ebb_loss_check(&losses[0], 1), EBB_CONFIG);
  ck_assert_int_eq(ebb_loss_check(&(ebb_loss){.kind = EBB_LOSS_BCE}, 1), EBB_OK);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("loss");
  TCase *all = tcase_create("all");
  if (ebbk_start() != EBB_OK) return EXIT_FAILURE;
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, the_gradient_is_that_of_differences, 0, LOSSES);
  tcase_add_loop_test(all, certain_soft_labels_are_hard_ones, 0, LOSSES);
  tcase_add_loop_test(all, one_channel_takes_the_second_of_two_classes, 0, LOSSES);
  tcase_add_loop_test(all, what_is_left_out_changes_nothing, 0, LOSSES);
  tcase_add_loop_test(all, threads_change_no_bit, 0, LOSSES);
  tcase_add_loop_test(all, perfect_is_zero_and_wrong_is_one, 0, LOSSES);
  tcase_add_test(all, soft_cross_entropy_is_the_formula);
  tcase_add_test(all, equal_logits_cost_log_c);
  tcase_add_test(all, weights_and_dice_are_their_formulas);
  tcase_add_test(all, weights_of_one_are_no_weights);
  tcase_add_test(all, likelihood_is_its_formula);
  tcase_add_test(all, what_does_not_fit_is_refused);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
