/* test_base.c -- the ground floor: arena, pool, views, random numbers, messages, files, threads.
 * Owns: what everything above relies on without looking. */
#define _GNU_SOURCE
#include <check.h>
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/file.h"
#include "base/rng.h"
#include "base/threads.h"
#include "base/view.h"

static void succeeds(ebb_status status)
{
  ck_assert_msg(status == EBB_OK, "%d: %s", (int)status, ebb_message());
}

static void says(const char *words)
{
  ck_assert_msg(strstr(ebb_message(), words) != NULL, "expected \"%s\" in: %s", words, ebb_message());
}

/* ---- arena --------------------------------------------------------------------------------------------------- */
static ebb_arena arena_of(size_t bytes)
{
  ebb_arena a;
  succeeds(ebb_arena_create(&a, "test", bytes));
  return a;
}

START_TEST(the_two_ends_grow_towards_each_other)
{
  ebb_arena a = arena_of(1024);
  char     *one = ebb_arena_low(&a, 64, EBB_USE_KEPT), *two = ebb_arena_low(&a, 64, EBB_USE_KEPT);
  char     *last = ebb_arena_high(&a, 64), *before = ebb_arena_high(&a, 64);
  ck_assert_ptr_eq(one, a.base);
  ck_assert_ptr_eq(two, one + 64);
  ck_assert_ptr_eq(last, a.base + 1024 - 64);
  ck_assert_ptr_eq(before, last - 64);
  ck_assert_uint_eq(a.low, 128);
  ck_assert_uint_eq(a.high, 128);
  ebb_arena_destroy(&a);
  ck_assert_ptr_null(a.base);
}
END_TEST

START_TEST(an_arena_begins_with_zeros_and_can_be_filled_to_the_last_byte)
{
  ebb_arena a = arena_of(4096);
  char     *low = ebb_arena_low(&a, 2048, EBB_USE_KEPT), *high = ebb_arena_high(&a, 2048);
  for (int i = 0; i < 2048; i++) ck_assert_int_eq(low[i] | high[i], 0);
  memset(low, 1, 2048);
  memset(high, 2, 2048);
  ck_assert_int_eq(low[2047], 1);
  ebb_arena_destroy(&a);
}
END_TEST

START_TEST(every_piece_is_aligned)
{
  ebb_arena a = arena_of(64 * 1024);
  ck_assert_uint_eq(ebb_align(0), 0);
  ck_assert_uint_eq(ebb_align(1), EBB_ALIGN);
  ck_assert_uint_eq(ebb_align(EBB_ALIGN), EBB_ALIGN);
  ck_assert_uint_eq(ebb_align(EBB_ALIGN + 1), 2 * EBB_ALIGN);
  for (size_t bytes = 0; bytes < 200; bytes += 7) {
    ck_assert_uint_eq((size_t)ebb_arena_low(&a, bytes, EBB_USE_KEPT) % EBB_ALIGN, 0);
    ck_assert_uint_eq((size_t)ebb_arena_high(&a, bytes) % EBB_ALIGN, 0);
  }
  ebb_arena_destroy(&a);
}
END_TEST

START_TEST(releasing_to_a_mark_gives_back_what_came_after_it)
{
  ebb_arena a = arena_of(4096);
  ebb_arena_low(&a, 64, EBB_USE_STREAM);
  ebb_arena_high(&a, 192);
  ebb_mark low = ebb_arena_low_mark(&a), high = ebb_arena_high_mark(&a);
  char    *kept = ebb_arena_low(&a, 128, EBB_USE_KEPT), *scratch = ebb_arena_high(&a, 320);
  ebb_arena_low(&a, 64, EBB_USE_STREAM);
  ck_assert_uint_eq(a.stream, 128);
  ebb_arena_low_release(&a, low);
  ck_assert_uint_eq(a.low, 64);
  ck_assert_uint_eq(a.stream, 64);
  ck_assert_uint_eq(a.high, 512);
  ebb_arena_high_release(&a, high);
  ck_assert_uint_eq(a.high, 192);
  ck_assert_ptr_eq(ebb_arena_low(&a, 128, EBB_USE_KEPT), kept);
  ck_assert_ptr_eq(ebb_arena_high(&a, 320), scratch);
  ebb_arena_destroy(&a);
}
END_TEST

/* The peak is the moment when most is taken, and its parts are those of that moment, not of others. */
START_TEST(the_peak_and_its_parts_are_of_one_moment)
{
  ebb_arena a = arena_of(8192);
  ebb_mark  empty_low = ebb_arena_low_mark(&a), empty_high = ebb_arena_high_mark(&a);
  ebb_arena_low(&a, 256, EBB_USE_STREAM);
  ebb_arena_low(&a, 512, EBB_USE_KEPT);
  ebb_arena_high(&a, 1024);
  ebb_arena_high_release(&a, empty_high);
  ebb_arena_low(&a, 640, EBB_USE_KEPT); /* more kept than at the peak, but less in all */
  ck_assert_uint_eq(a.peak, 1792);
  ck_assert_uint_eq(a.at_peak[EBB_USE_STREAM], 256);
  ck_assert_uint_eq(a.at_peak[EBB_USE_KEPT], 512);
  ck_assert_uint_eq(a.at_peak[EBB_USE_SCRATCH], 1024);
  ebb_arena_low_release(&a, empty_low);
  ck_assert_uint_eq(a.peak, 1792);
  ebb_arena_high(&a, 1856);
  ck_assert_uint_eq(a.peak, 1856);
  ck_assert_uint_eq(a.at_peak[EBB_USE_STREAM] + a.at_peak[EBB_USE_KEPT], 0);
  ck_assert_uint_eq(a.at_peak[EBB_USE_SCRATCH], 1856);
  ebb_arena_destroy(&a);
}
END_TEST

START_TEST(a_piece_can_change_its_use)
{
  ebb_arena a = arena_of(1024);
  ebb_arena_low(&a, 100, EBB_USE_KEPT);
  ebb_arena_retag(&a, 100, EBB_USE_STREAM);
  ck_assert_uint_eq(a.stream, 128);
  ebb_arena_high(&a, 64);
  ck_assert_uint_eq(a.at_peak[EBB_USE_STREAM], 128);
  ck_assert_uint_eq(a.at_peak[EBB_USE_KEPT], 0);
  ebb_arena_retag(&a, 100, EBB_USE_KEPT);
  ck_assert_uint_eq(a.stream, 0);
  ebb_arena_destroy(&a);
}
END_TEST

START_TEST(a_piece_slides_over_the_dead_ones)
{
  enum { SHORT = 64, LONG = 512 }; /* shorter and longer than what lies between: with and without overlap */
  for (size_t bytes = SHORT; bytes <= LONG; bytes += LONG - SHORT) {
    ebb_arena a = arena_of(4096);
    ebb_arena_high(&a, 128);
    ebb_mark mark = ebb_arena_high_mark(&a);
    ebb_arena_high(&a, 192);
    unsigned char *piece = ebb_arena_high(&a, bytes);
    for (size_t i = 0; i < bytes; i++) piece[i] = (unsigned char)(7 * i + 1);
    unsigned char *moved = ebb_arena_high_slide(&a, mark, bytes);
    ck_assert_ptr_eq(moved, piece + 192);
    ck_assert_uint_eq(a.high, 128 + bytes);
    for (size_t i = 0; i < bytes; i++) ck_assert_uint_eq(moved[i], (unsigned char)(7 * i + 1));
    ebb_arena_destroy(&a);
  }
}
END_TEST

/* The same hundred steps on an arena with memory and on a dry one: a walk by counters. */
static void walk(ebb_arena *a)
{
  ebb_rng  g = {3, EBB_RNG_TEST, 0};
  ebb_mark low[100], high[100];
  int      lows = 0, highs = 0;
  for (uint64_t i = 0; i < 100; i++) {
    size_t bytes = (size_t)ebb_rng_below(g, 2 * i, 3000);
    switch (ebb_rng_below(g, 2 * i + 1, 6)) {
    case 0: low[lows++] = ebb_arena_low_mark(a), ebb_arena_low(a, bytes, EBB_USE_STREAM); break;
    case 1: low[lows++] = ebb_arena_low_mark(a), ebb_arena_low(a, bytes, EBB_USE_KEPT); break;
    case 2: high[highs++] = ebb_arena_high_mark(a), ebb_arena_high(a, bytes); break;
    case 3: if (lows) ebb_arena_low_release(a, low[--lows]); break;
    case 4: if (highs) ebb_arena_high_release(a, high[--highs]); break;
    default: ebb_arena_high_slide(a, ebb_arena_high_mark(a), 0); break;
    }
  }
}

START_TEST(a_dry_arena_counts_as_a_real_one)
{
  ebb_arena real = arena_of(1 << 20), dry;
  ebb_arena_create_dry(&dry, "dry");
  walk(&real);
  walk(&dry);
  ck_assert_uint_gt(real.peak, 10000);
  ck_assert_uint_eq(real.low, dry.low);
  ck_assert_uint_eq(real.high, dry.high);
  ck_assert_uint_eq(real.stream, dry.stream);
  ck_assert_uint_eq(real.peak, dry.peak);
  for (int use = 0; use < EBB_USES; use++) ck_assert_uint_eq(real.at_peak[use], dry.at_peak[use]);
  ebb_arena_destroy(&real);
  ebb_arena_destroy(&dry);
}
END_TEST

START_TEST(more_than_the_machine_has_is_refused_with_the_bytes)
{
  ebb_arena a;
  char      bytes[32];
  size_t    size = (size_t)1 << 45;
  ck_assert_uint_gt(ebb_memory_available(), 0);
  ck_assert_int_eq(ebb_arena_create(&a, "run", size), EBB_OSERR);
  snprintf(bytes, sizeof bytes, "%zu bytes", size);
  says(bytes);
  says("run");
  ebb_arena_destroy(&a);
  succeeds(ebb_arena_create(&a, "empty", 0));
  ebb_arena_destroy(&a);
}
END_TEST

/* Under AddressSanitizer one may not even look. */
#ifndef __SANITIZE_ADDRESS__
static bool poisoned(const void *p, size_t bytes)
{
  const unsigned char *c = p;
  for (size_t i = 0; i < bytes; i++)
    if (c[i] != 0xff) return false;
  return true;
}

START_TEST(released_memory_is_poisoned)
{
  ebb_arena a = arena_of(4096);
  a.poison = true;
  ebb_mark  low = ebb_arena_low_mark(&a), high = ebb_arena_high_mark(&a);
  float    *p = ebb_arena_low(&a, 256, EBB_USE_KEPT), *q = ebb_arena_high(&a, 256);
  memset(p, 0, 256);
  memset(q, 0, 256);
  ebb_arena_low_release(&a, low);
  ck_assert(poisoned(p, 256) && isnan(p[5]) && !poisoned(q, 256));
  ebb_arena_high_release(&a, high);
  ck_assert(poisoned(q, 256));
  q = ebb_arena_high(&a, 128);
  float *piece = ebb_arena_high(&a, 64);
  memset(q, 0, 128);
  memset(piece, 0, 64);
  char *moved = ebb_arena_high_slide(&a, high, 64);
  ck_assert(poisoned(piece, 128) && !poisoned(moved, 64));
  ebb_arena_destroy(&a);
}
END_TEST
#endif

/* ---- callers' mistakes stop the program ----------------------------------------------------------------------- */
START_TEST(running_out_aborts)
{
  ebb_arena a = arena_of(1024);
  ebb_arena_low(&a, 512, EBB_USE_KEPT);
  ebb_arena_high(&a, 513);
}
END_TEST

START_TEST(releasing_what_was_not_taken_aborts)
{
  ebb_arena a = arena_of(1024);
  ebb_arena_low_release(&a, (ebb_mark){64, 0});
}
END_TEST

START_TEST(channels_beyond_the_view_abort)
{
  ebb_view_channels(ebb_view_of(NULL, (ebb_shape){.rank = 2, .n = 1, .d = 1, .h = 1, .w = 1, .c = 4}), 3, 2);
}
END_TEST

START_TEST(a_stream_taken_for_reals_aborts)
{
  ebb_reals(ebb_view_of(NULL, (ebb_shape){.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 4, .stream = true}));
}
END_TEST

/* ---- pool ------------------------------------------------------------------------------------------------------ */
START_TEST(a_pool_gives_zeroed_pieces_that_do_not_meet)
{
  ebb_pool p = {0};
  enum { PIECES = 300 };
  unsigned char *at[PIECES];
  for (size_t i = 0; i < PIECES; i++) {
    size_t bytes = i == 150 ? 100000 : 1 + i; /* one is larger than a block */
    at[i] = ebb_pool_take(&p, bytes);
    ck_assert_uint_eq((size_t)at[i] % 16, 0);
    for (size_t k = 0; k < bytes; k++) ck_assert_uint_eq(at[i][k], 0);
    memset(at[i], (int)(i % 250 + 1), bytes);
  }
  for (size_t i = 0; i < PIECES; i++) ck_assert_uint_eq(at[i][i == 150 ? 99999 : i], i % 250 + 1);
  ebb_pool_clear(&p);
  ck_assert_ptr_null(p.blocks);
  ck_assert_int_eq(*EBB_POOL_NEW(&p, int), 0);
  ebb_pool_clear(&p);
}
END_TEST

START_TEST(a_pool_keeps_texts_of_any_length)
{
  ebb_pool p = {0};
  char     wide[20001];
  memset(wide, 'x', sizeof wide - 1);
  wide[sizeof wide - 1] = 0;
  ck_assert_str_eq(ebb_pool_text(&p, "stage%d.%s", 3, "conv"), "stage3.conv");
  ck_assert_str_eq(ebb_pool_text(&p, "%s", ""), "");
  ck_assert_str_eq(ebb_pool_text(&p, "%s", wide), wide);
  ebb_pool_clear(&p);
}
END_TEST

/* ---- views ------------------------------------------------------------------------------------------------------ */
static const ebb_shape image = {.rank = 2, .n = 5, .d = 1, .h = 6, .w = 7, .c = 8};

START_TEST(shapes_count_what_they_hold)
{
  ebb_shape volume = {.rank = 3, .n = 1000, .d = 200, .h = 300, .w = 400, .c = 16}; /* beyond 32 bits */
  ck_assert_uint_eq(ebb_sites(image), 5 * 6 * 7);
  ck_assert_uint_eq(ebb_count(image), 5 * 6 * 7 * 8);
  ck_assert_uint_eq(ebb_bytes(image), 5 * 6 * 7 * 8 * sizeof(ebb_real));
  ck_assert_uint_eq(ebb_count(volume), (size_t)384000000000);
  ck_assert(ebb_shape_equal(image, image));
  ck_assert(!ebb_shape_equal(image, ebb_shape_channels(image, 9)));
  ck_assert_int_eq(ebb_shape_channels(image, 9).w, 7);
  ck_assert_int_eq(ebb_shape_none().rank, 0);
  ebb_shape stream = image;
  stream.stream = true;
  ck_assert(!ebb_shape_equal(image, stream));
}
END_TEST

START_TEST(shapes_print_as_people_write_them)
{
  char      text[EBB_SHAPE_TEXT];
  ebb_shape line = {.rank = 1, .n = 2, .d = 1, .h = 1, .w = 9, .c = 6};
  ebb_shape most = {.rank = 3, .n = 1, .d = 2000000000, .h = 2000000000, .w = 2000000000, .c = 2000000000};
  ck_assert_str_eq(ebb_shape_print(text, image), "6x7x8");
  ck_assert_str_eq(ebb_shape_print(text, line), "9x6");
  ck_assert_str_eq(ebb_shape_print(text, (ebb_shape){.rank = 3, .n = 1, .d = 4, .h = 5, .w = 6, .c = 1}), "4x5x6x1");
  ck_assert_str_eq(ebb_shape_print(text, most), "2000000000x2000000000x2000000000x2000000000");
}
END_TEST

START_TEST(a_range_of_channels_is_a_view)
{
  ebb_real values[5 * 6 * 7 * 8];
  ebb_view v = ebb_view_of(values, image), part = ebb_view_channels(v, 3, 4), inner = ebb_view_channels(part, 1, 2);
  ck_assert_int_eq(v.stride, 8);
  ck_assert_int_eq(part.s.c, 4);
  ck_assert_int_eq(part.stride, 8);
  ck_assert_ptr_eq(ebb_reals(part), values + 3);
  ck_assert_ptr_eq(ebb_reals(inner), values + 4);
  ck_assert_int_eq(inner.s.c, 2);
  ck_assert_ptr_null(ebb_view_channels(ebb_view_of(NULL, image), 3, 4).p); /* not wanted stays not wanted */
  ck_assert_int_eq(ebb_view_channels(v, 8, 0).s.c, 0);
}
END_TEST

/* ---- random numbers ------------------------------------------------------------------------------------------- */
static void draws(ebb_rng g, uint64_t index, uint32_t a, uint32_t b, uint32_t c, uint32_t d)
{
  uint32_t out[4], expected[4] = {a, b, c, d};
  ebb_rng_bits(out, g, index);
  for (int i = 0; i < 4; i++) ck_assert_msg(out[i] == expected[i], "word %d: %08x, not %08x", i, out[i], expected[i]);
}

/* Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds. Counter: index low, index high, time, purpose; key: the
 * halves of the seed. Checkpoints and resumed runs rest on this layout. */
START_TEST(philox_gives_the_published_numbers)
{
  draws((ebb_rng){0, 0, 0}, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
  draws((ebb_rng){UINT64_MAX, UINT32_MAX, UINT32_MAX}, UINT64_MAX, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
  draws((ebb_rng){.seed = 0x299f31d0a4093822, .purpose = 0x03707344, .time = 0x13198a2e}, 0x85a308d3243f6a88, 0xd16cfe09,
        0x94fdcceb, 0x5001e420, 0x24126ea1);
}
END_TEST

enum { DRAWS = 200000 };
typedef struct moments { double mean, variance, third, fourth, least, most; } moments;

static moments moments_of(double (*draw)(ebb_rng, uint64_t), ebb_rng g, double centre)
{
  moments m = {.least = INFINITY, .most = -INFINITY};
  for (uint64_t i = 0; i < DRAWS; i++) {
    double v = draw(g, i), off = v - centre;
    m.mean += v / DRAWS;
    m.variance += off * off / DRAWS;
    m.third += off * off * off / DRAWS;
    m.fourth += off * off * off * off / DRAWS;
    m.least = fmin(m.least, v);
    m.most = fmax(m.most, v);
  }
  return m;
}

/* Bounds: five standard errors of 200,000 draws. */
START_TEST(uniform_numbers_are_uniform)
{
  moments m = moments_of(ebb_rng_uniform, (ebb_rng){1, EBB_RNG_TEST, 0}, 0.5);
  ck_assert_double_eq_tol(m.mean, 0.5, 5 * sqrt(1. / 12 / DRAWS));
  ck_assert_double_eq_tol(m.variance, 1. / 12, 5 * sqrt(1. / 180 / DRAWS));
  ck_assert(m.least >= 0 && m.least < 1e-4 && m.most < 1 && m.most > 1 - 1e-4);
}
END_TEST

START_TEST(normal_numbers_are_normal)
{
  moments m = moments_of(ebb_rng_normal, (ebb_rng){1, EBB_RNG_TEST, 1}, 0);
  ck_assert_double_eq_tol(m.mean, 0, 5 * sqrt(1. / DRAWS));
  ck_assert_double_eq_tol(m.variance, 1, 5 * sqrt(2. / DRAWS));
  ck_assert_double_eq_tol(m.third, 0, 5 * sqrt(15. / DRAWS));
  ck_assert_double_eq_tol(m.fourth, 3, 5 * sqrt(96. / DRAWS));
  ck_assert(m.most > 3.5 && m.most < 7 && m.least < -3.5 && m.least > -7);
}
END_TEST

START_TEST(numbers_of_different_purpose_time_and_seed_are_unrelated)
{
  ebb_rng base = {1, EBB_RNG_TEST, 0}, others[] = {{2, EBB_RNG_TEST, 0}, {1, EBB_RNG_INIT, 0}, {1, EBB_RNG_TEST, 1}};
  for (int k = 0; k < 3; k++) {
    double sum = 0;
    for (uint64_t i = 0; i < 50000; i++) sum += ebb_rng_normal(base, i) * ebb_rng_normal(others[k], i) / 50000;
    ck_assert_msg(fabs(sum) < 5 / sqrt(50000.), "%d: correlation %g", k, sum);
  }
}
END_TEST

static void unbiased(uint64_t bound)
{
  enum { MOST = 64, N = 100000 };
  int    seen[MOST] = {0};
  double chi = 0, expected = (double)N / (double)bound;
  for (uint64_t i = 0; i < N; i++) {
    uint64_t v = ebb_rng_below((ebb_rng){4, EBB_RNG_TEST, (uint32_t)bound}, i, bound);
    ck_assert_uint_lt(v, bound);
    seen[v]++;
  }
  for (uint64_t k = 0; k < bound; k++) chi += ((double)seen[k] - expected) * ((double)seen[k] - expected) / expected;
  double freedom = (double)bound - 1;
  ck_assert_msg(chi < freedom + 5 * sqrt(2 * freedom) + 1e-9, "below %d: chi square %g", (int)bound, chi);
}

START_TEST(numbers_below_a_bound_are_unbiased)
{
  unbiased(1);
  unbiased(2);
  unbiased(7);
  unbiased(10);
  unbiased(64);
  for (uint64_t i = 0; i < 1000; i++) /* a bound near 2^64: the product does not overflow */
    ck_assert_uint_lt(ebb_rng_below((ebb_rng){4, EBB_RNG_TEST, 0}, i, UINT64_MAX - 1), UINT64_MAX - 1);
}
END_TEST

enum { N = 1000 };
static void permute(uint32_t out[N], uint64_t seed, uint32_t time)
{
  bool seen[N] = {0};
  ebb_rng_permutation(out, (ebb_rng){seed, EBB_RNG_SHUFFLE, time}, N);
  for (int i = 0; i < N; i++) {
    ck_assert_msg(out[i] < N && !seen[out[i]], "%u at %d", out[i], i);
    seen[out[i]] = true;
  }
}

static int places_shared(const uint32_t *a, const uint32_t *b)
{
  int count = 0;
  for (int i = 0; i < N; i++) count += a[i] == b[i];
  return count;
}

START_TEST(a_permutation_holds_each_number_once_and_follows_seed_and_time)
{
  uint32_t first[N], again[N], time[N], seed[N], order[N], one = 7;
  for (uint32_t i = 0; i < N; i++) order[i] = i;
  permute(first, 1, 0);
  permute(again, 1, 0);
  permute(time, 1, 1);
  permute(seed, 2, 0);
  ck_assert_mem_eq(first, again, sizeof first);
  ck_assert_int_lt(places_shared(first, time), 10);
  ck_assert_int_lt(places_shared(first, seed), 10);
  ck_assert_int_lt(places_shared(first, order), 10);
  ebb_rng_permutation(&one, (ebb_rng){1, EBB_RNG_SHUFFLE, 0}, 1);
  ck_assert_uint_eq(one, 0);
}
END_TEST

/* All six orders of three, equally often. */
START_TEST(all_permutations_are_equally_likely)
{
  int seen[27] = {0}, kinds = 0;
  for (uint32_t time = 0; time < 6000; time++) {
    uint32_t p[3];
    ebb_rng_permutation(p, (ebb_rng){9, EBB_RNG_SHUFFLE, time}, 3);
    seen[9 * p[0] + 3 * p[1] + p[2]]++;
  }
  for (int i = 0; i < 27; i++) {
    kinds += seen[i] > 0;
    ck_assert_msg(seen[i] == 0 || abs(seen[i] - 1000) < 150, "order %d: %d times", i, seen[i]);
  }
  ck_assert_int_eq(kinds, 6);
}
END_TEST

/* ---- messages --------------------------------------------------------------------------------------------------- */
START_TEST(a_failure_leaves_its_message)
{
  ck_assert_int_eq(ebb_fail(EBB_DATA, "%s: expected %d, found %d", "a.h5", 3, 4), EBB_DATA);
  ck_assert_str_eq(ebb_message(), "a.h5: expected 3, found 4");
  ck_assert_int_eq(ebb_fail(EBB_CONFIG, "while loading: %s", ebb_message()), EBB_CONFIG); /* it may quote itself */
  ck_assert_str_eq(ebb_message(), "while loading: a.h5: expected 3, found 4");
}
END_TEST

START_TEST(a_message_that_is_too_long_is_cut)
{
  char wide[10000];
  memset(wide, 'x', sizeof wide - 1);
  wide[sizeof wide - 1] = 0;
  ebb_fail(EBB_DATA, "%s", wide);
  ck_assert_uint_gt(strlen(ebb_message()), 1000);
  ck_assert_uint_lt(strlen(ebb_message()), sizeof wide - 1);
}
END_TEST

static void *fail_elsewhere(void *unused)
{
  (void)unused;
  bool clean = strcmp(ebb_message(), "") == 0;
  ebb_fail(EBB_IOERR, "theirs");
  return clean ? "" : NULL;
}

START_TEST(each_thread_has_its_own_message)
{
  pthread_t other;
  void     *clean;
  ebb_fail(EBB_DATA, "mine");
  ck_assert_int_eq(pthread_create(&other, NULL, fail_elsewhere, NULL), 0);
  pthread_join(other, &clean);
  ck_assert_ptr_nonnull(clean);
  ck_assert_str_eq(ebb_message(), "mine");
}
END_TEST

START_TEST(the_nearest_name_is_found)
{
  const char *const names[] = {"lr", "lr_end", "momentum", "smoothing", "batch"};
  ck_assert_str_eq(ebb_nearest("momentun", names, 5), "momentum");
  ck_assert_str_eq(ebb_nearest("bacth", names, 5), "batch");
  ck_assert_str_eq(ebb_nearest("lrend", names, 5), "lr_end");
  ck_assert_str_eq(ebb_nearest("batch", names, 5), "batch");
  ck_assert_ptr_null(ebb_nearest("xylophone", names, 5));
  ck_assert_ptr_null(ebb_nearest("", names, 5));
  ck_assert_ptr_null(ebb_nearest("batch", names, 0));
}
END_TEST

/* ---- files ------------------------------------------------------------------------------------------------------- */
typedef struct folder { char path[64]; } folder;

static folder folder_make(void)
{
  folder f = {"/tmp/ebb-test-base-XXXXXX"};
  ck_assert_ptr_nonnull(mkdtemp(f.path));
  return f;
}

static const char *in(char path[128], const folder *f, const char *name)
{
  snprintf(path, 128, "%s/%s", f->path, name);
  return path;
}

/* Files in the folder; removes them and the folder if asked to. */
static int entries(const folder *f, bool clear)
{
  DIR *d = opendir(f->path);
  int  count = 0;
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    count++;
    if (clear && unlinkat(dirfd(d), e->d_name, 0) != 0) unlinkat(dirfd(d), e->d_name, AT_REMOVEDIR);
  }
  closedir(d);
  if (clear) rmdir(f->path);
  return count;
}

static void holds(const char *path, const char *text)
{
  char   found[256] = "";
  FILE  *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  size_t n = fread(found, 1, sizeof found - 1, f);
  fclose(f);
  ck_assert_uint_eq(n, strlen(text));
  ck_assert_str_eq(found, text);
}

static ebb_status put(const char *path, const char *text)
{
  return ebb_file_replace(path, &(ebb_bytes_part){text, strlen(text)}, 1);
}

START_TEST(a_file_is_written_whole_and_replaced_whole)
{
  folder f = folder_make();
  char   path[128];
  in(path, &f, "a.txt");
  succeeds(ebb_file_replace(path, (ebb_bytes_part[]){{"one ", 4}, {"", 0}, {"two", 3}}, 3));
  holds(path, "one two");
  FILE *reader = fopen(path, "rb"); /* who has the old file open keeps the old file */
  succeeds(put(path, "x"));
  holds(path, "x");
  ck_assert_int_eq(fgetc(reader), 'o');
  fclose(reader);
  succeeds(ebb_file_replace(path, NULL, 0));
  holds(path, "");
  ck_assert_int_eq(entries(&f, true), 1);
}
END_TEST

START_TEST(a_file_without_its_folder_cannot_be_created)
{
  folder f = folder_make();
  char   path[128];
  ck_assert_int_eq(put(in(path, &f, "missing/a.txt"), "x"), EBB_CANTCREAT);
  says(path);
  ck_assert_int_eq(EBB_CANTCREAT, 73);
  ck_assert_int_eq(put("/dev/null/a.txt", "x"), EBB_CANTCREAT);
  ck_assert_int_eq(entries(&f, true), 0);
}
END_TEST

START_TEST(a_folder_in_the_files_place_stays)
{
  folder f = folder_make();
  char   path[128], inside[160];
  mkdir(in(path, &f, "a.txt"), 0777);
  snprintf(inside, sizeof inside, "%s/b", path);
  mkdir(inside, 0777);
  ck_assert_int_ne(put(path, "x"), EBB_OK);
  ck_assert_int_eq(entries(&f, false), 1); /* no temporary file */
  rmdir(inside);
  entries(&f, true);
}
END_TEST

/* A disk that is full: the system lets files grow to 64 kB only. */
START_TEST(a_full_disk_leaves_the_old_file)
{
  folder        f = folder_make();
  char          path[128];
  static char   large[1 << 20];
  struct rlimit before, tight;
  succeeds(put(in(path, &f, "a.txt"), "old"));
  signal(SIGXFSZ, SIG_IGN);
  getrlimit(RLIMIT_FSIZE, &before);
  tight = (struct rlimit){1 << 16, before.rlim_max};
  ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
  ebb_status status = ebb_file_replace(path, &(ebb_bytes_part){large, sizeof large}, 1);
  setrlimit(RLIMIT_FSIZE, &before);
  ck_assert_int_eq(status, EBB_IOERR);
  ck_assert_int_eq(EBB_IOERR, 74);
  says(path);
  says("free some space");
  holds(path, "old");
  ck_assert_int_eq(entries(&f, true), 1);
}
END_TEST

START_TEST(folders_are_made_with_those_above_them)
{
  folder      f = folder_make();
  char        path[128], top[128];
  struct stat s;
  succeeds(ebb_folder_make(in(path, &f, "x/y/z")));
  succeeds(ebb_folder_make(path)); /* once more is no mistake */
  ck_assert(stat(path, &s) == 0 && S_ISDIR(s.st_mode));
  rmdir(path);
  rmdir(in(top, &f, "x/y"));
  rmdir(in(top, &f, "x"));
  succeeds(put(in(path, &f, "file"), ""));
  ck_assert_int_eq(ebb_folder_make(path), EBB_CANTCREAT);
  ck_assert_int_eq(ebb_folder_make(in(path, &f, "file/below")), EBB_CANTCREAT);
  says("file/below");
  entries(&f, true);
}
END_TEST

/* ---- threads ----------------------------------------------------------------------------------------------------- */
START_TEST(the_number_of_threads_is_what_was_asked_for)
{
  int standard = ebb_threads();
  ebb_threads_set(3);
  ck_assert_int_eq(ebb_threads(), 3);
  ebb_threads_set(100000);
  ck_assert_int_eq(ebb_threads(), EBB_THREADS_MOST);
  ebb_threads_set(0);
  ck_assert_int_eq(ebb_threads(), standard);
}
END_TEST

/* ---- the suite ------------------------------------------------------------------------------------------------------ */
static TCase *arena_and_pool(void)
{
  TCase *c = tcase_create("arena and pool");
  tcase_add_test(c, the_two_ends_grow_towards_each_other);
  tcase_add_test(c, an_arena_begins_with_zeros_and_can_be_filled_to_the_last_byte);
  tcase_add_test(c, every_piece_is_aligned);
  tcase_add_test(c, releasing_to_a_mark_gives_back_what_came_after_it);
  tcase_add_test(c, the_peak_and_its_parts_are_of_one_moment);
  tcase_add_test(c, a_piece_can_change_its_use);
  tcase_add_test(c, a_piece_slides_over_the_dead_ones);
  tcase_add_test(c, a_dry_arena_counts_as_a_real_one);
  tcase_add_test(c, more_than_the_machine_has_is_refused_with_the_bytes);
#ifndef __SANITIZE_ADDRESS__
  tcase_add_test(c, released_memory_is_poisoned);
#endif
  tcase_add_test(c, a_pool_gives_zeroed_pieces_that_do_not_meet);
  tcase_add_test(c, a_pool_keeps_texts_of_any_length);
  return c;
}

static TCase *views_and_numbers(void)
{
  TCase *c = tcase_create("views and random numbers");
  tcase_add_test(c, shapes_count_what_they_hold);
  tcase_add_test(c, shapes_print_as_people_write_them);
  tcase_add_test(c, a_range_of_channels_is_a_view);
  tcase_add_test(c, philox_gives_the_published_numbers);
  tcase_add_test(c, uniform_numbers_are_uniform);
  tcase_add_test(c, normal_numbers_are_normal);
  tcase_add_test(c, numbers_of_different_purpose_time_and_seed_are_unrelated);
  tcase_add_test(c, numbers_below_a_bound_are_unbiased);
  tcase_add_test(c, a_permutation_holds_each_number_once_and_follows_seed_and_time);
  tcase_add_test(c, all_permutations_are_equally_likely);
  return c;
}

static TCase *messages_and_files(void)
{
  TCase *c = tcase_create("messages, files, threads");
  tcase_add_test(c, a_failure_leaves_its_message);
  tcase_add_test(c, a_message_that_is_too_long_is_cut);
  tcase_add_test(c, each_thread_has_its_own_message);
  tcase_add_test(c, the_nearest_name_is_found);
  tcase_add_test(c, a_file_is_written_whole_and_replaced_whole);
  tcase_add_test(c, a_file_without_its_folder_cannot_be_created);
  tcase_add_test(c, a_folder_in_the_files_place_stays);
  tcase_add_test(c, a_full_disk_leaves_the_old_file);
  tcase_add_test(c, folders_are_made_with_those_above_them);
  tcase_add_test(c, the_number_of_threads_is_what_was_asked_for);
  return c;
}

/* These end the process: only where each test has its own. */
static TCase *mistakes(void)
{
  TCase *c = tcase_create("callers' mistakes");
  tcase_add_test_raise_signal(c, running_out_aborts, SIGABRT);
  tcase_add_test_raise_signal(c, releasing_what_was_not_taken_aborts, SIGABRT);
  tcase_add_test_raise_signal(c, channels_beyond_the_view_abort, SIGABRT);
  tcase_add_test_raise_signal(c, a_stream_taken_for_reals_aborts, SIGABRT);
  return c;
}

int main(void)
{
  Suite   *suite = suite_create("base");
  SRunner *runner = srunner_create(suite);
  suite_add_tcase(suite, arena_and_pool());
  suite_add_tcase(suite, views_and_numbers());
  suite_add_tcase(suite, messages_and_files());
  if (srunner_fork_status(runner) == CK_FORK) suite_add_tcase(suite, mistakes());
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
