/* test_windows.c -- whole volumes from windows, and distances of surfaces.
 * What windows put together is compared with what the network says of the whole volume at once, and of single sites; distances
 * with every pair of surface sites. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "base/threads.h"
#include "kernels/kernels.h"
#include "layers/layers.h"
#include "compose/sequence.h"
#include "models/models.h"
#include "tests/suite.h"
#include "train/surface.h"
#include "train/windows.h"

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){23, EBB_RNG_TEST, what}, i);
}

static void succeeds(ebb_status status)
{
  ck_assert_msg(status == EBB_OK, "%d: %s", (int)status, ebb_message());
}

/* ---- a volume in memory ------------------------------------------------------------------------------------------- */
enum { CHANNELS = 2, CLASSES = 3 };

typedef struct volume {
  int       size[3];
  ebb_real *x;          /* (size, CHANNELS)          */
  float    *q;          /* (size, outputs) predicted */
  int       outputs, outer, next; /* next: the plane that is due */
} volume;

static size_t sites(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

static volume make_volume(const int size[3], int outputs)
{
  volume v = {.size = {size[0], size[1], size[2]}, .outputs = outputs};
  v.x = malloc(sites(size) * CHANNELS * sizeof *v.x);
  v.q = malloc(sites(size) * (size_t)outputs * sizeof *v.q);
  for (size_t i = 0; i < sites(size) * CHANNELS; i++) v.x[i] = (ebb_real)noise(1, i);
  return v;
}

static void free_volume(volume *v)
{
  free(v->x);
  free(v->q);
}

static ebb_status read_box(void *context, ebb_real *x, const int start[3], const int size[3])
{
  const volume *v = context;
  for (int i = 0; i < 3; i++) {
    ck_assert_int_ge(start[i], 0);
    ck_assert_int_ge(size[i], 1);
    ck_assert_int_le(start[i] + size[i], v->size[i]);
  }
  for (int d = 0; d < size[0]; d++)
    for (int h = 0; h < size[1]; h++) {
      size_t row = ((size_t)(start[0] + d) * (size_t)v->size[1] + (size_t)(start[1] + h)) * (size_t)v->size[2] + (size_t)start[2];
      memcpy(x, v->x + row * CHANNELS, (size_t)size[2] * CHANNELS * sizeof *x);
      x += size[2] * CHANNELS;
    }
  return EBB_OK;
}

static ebb_status take_planes(void *context, int first, int count, const float *p)
{
  volume *v = context;
  size_t plane = sites(v->size) / (size_t)v->size[v->outer] * (size_t)v->outputs;
  ck_assert_int_eq(first, v->next);
  ck_assert_int_gt(count, 0);
  memcpy(v->q + (size_t)first * plane, p, (size_t)count * plane * sizeof *p);
  v->next += count;
  return EBB_OK;
}

static void predict(volume *v, const ebb_windows *w, ebb_model *m, uint64_t seed)
{
  ebb_trainer t;
  ebb_train_options o = {.threads = 1, .seed = seed};
  ebb_run_options run = {0};
  ebb_shape x = {.rank = v->size[0] > 1 ? 3 : v->size[1] > 1 ? 2 : 1, .n = 1, .d = w->size[0], .h = w->size[1], .w = w->size[2], .c = CHANNELS};
  succeeds(ebb_trainer_create_predict(&t, m, x, &o, &run, ebb_windows_bytes(w, CHANNELS, v->outputs)));
  v->outer = w->outer;
  v->next = 0;
  succeeds(ebb_windows_predict(w, &t, &(ebb_windows_io){.read = read_box, .take = take_planes, .context = v}));
  ck_assert_int_eq(v->next, v->size[w->outer]);
  ebb_trainer_destroy(&t);
}

/* ---- a network that sees one site at a time ------------------------------------------------------------------------- */
static ebb_model site_network(const int size[3], int outputs)
{
  ebb_model   m;
  ebb_builder b;
  ebb_shape   x = {.rank = size[0] > 1 ? 3 : size[1] > 1 ? 2 : 1, .n = 1, .d = size[0], .h = size[1], .w = size[2], .c = CHANNELS};
  ebb_model_begin(&m, &b, "site", x);
  ebb_sequence *s = ebb_sequence_open(&b, "net", 1);
  ebb_sequence_add(s, ebb_conv(&b, "conv", (ebb_conv_options){.in = CHANNELS, .out = outputs, .kernel = 1}));
  succeeds(ebb_model_end(&m, &b, ebb_sequence_close(s)));
  return m;
}

/* Softmax (or sigmoid) of the network's weights applied to one site. */
static void expected_site(double *p, const ebb_real *x, const ebb_real *weights, int outputs)
{
  double y[CLASSES], total = 0;
  for (int k = 0; k < outputs; k++) {
    y[k] = 0;
    for (int c = 0; c < CHANNELS; c++) y[k] += (double)weights[c * outputs + k] * (double)x[c];
  }
  for (int k = 0; k < outputs; k++) total += exp(y[k]);
  for (int k = 0; k < outputs; k++) p[k] = outputs == 1 ? 1 / (1 + exp(-y[0])) : exp(y[k]) / total;
}

static const struct site_case { int volume[3], window[3], halo[3]; double overlap; unsigned flips; int outputs; } site_cases[] = {
    {{9, 13, 11}, {0}, {0}, 0, 0, 3},                     /* whole                         */
    {{9, 13, 11}, {16, 16, 16}, {0}, 0.5, 0, 3},          /* smaller than the window       */
    {{20, 23, 37}, {8, 12, 16}, {0}, 0.5, 0, 3},
    {{20, 23, 37}, {8, 12, 16}, {0}, 0, 5, 3},            /* no overlap, mirrored          */
    {{20, 23, 37}, {8, 12, 16}, {2, 3, 4}, 0.75, 7, 2},   /* a halo                        */
    {{5, 23, 4}, {9, 12, 16}, {4, 3, 7}, 0.5, 2, 1},      /* a halo larger than the volume */
    {{1, 40, 31}, {1, 16, 16}, {0, 2, 0}, 0.3, 2, 3},     /* an image                      */
    {{1, 1, 100}, {1, 1, 24}, {0, 0, 4}, 0.5, 4, 1},      /* a signal                      */
    {{1, 30, 1}, {1, 8, 1}, {0}, 0.5, 0, 2},
};
enum { SITE_CASES = sizeof site_cases / sizeof *site_cases };

/* A network of single sites says the same of every window: wherever windows lie, each site must come back as itself. */
START_TEST(windows_give_back_every_site)
{
  const struct site_case *k = &site_cases[_i];
  ebb_windows w;
  static const int none[3];
  if (k->window[2]) ebb_windows_slide(&w, k->volume, k->window, k->halo, k->overlap);
  else ebb_windows_whole(&w, k->volume, none);
  w.flips = k->flips;
  volume    v = make_volume(k->volume, k->outputs);
  ebb_model m = site_network(w.size, k->outputs);
  ebb_real *weights = malloc(m.weights * sizeof *weights), *state = malloc((m.states + 1) * sizeof *state);
  predict(&v, &w, &m, 5);
  ebb_model_initialise(&m, weights, state, 5);
  for (size_t i = 0; i < sites(k->volume); i++) {
    double p[CLASSES];
    expected_site(p, v.x + i * CHANNELS, weights, k->outputs);
    for (int c = 0; c < k->outputs; c++) ck_assert_msg(fabs((double)v.q[i * (size_t)k->outputs + (size_t)c] - p[c]) < 1e-5, "site %zu: %g, %g", i,
                                                         (double)v.q[i * (size_t)k->outputs + (size_t)c], p[c]);
  }
  ebb_model_destroy(&m);
  free(weights);
  free(state);
  free_volume(&v);
}
END_TEST

/* ---- a network whose view is wider: an i-UNet ----------------------------------------------------------------------- */
static ebb_model iunet(const int size[3])
{
  const ebb_network *n = ebb_network_find("iunet");
  ebb_pool  pool = {0};
  ebb_model m;
  ebb_shape x = {.rank = size[0] > 1 ? 3 : 2, .n = 1, .d = size[0], .h = size[1], .w = size[2], .c = CHANNELS};
  void *options = ebb_pool_take(&pool, n->options_size);
  succeeds(ebb_network_options(n, options, "channels=8,16 blocks=1,1 depth=1 norm=none resample=householder init=random", &pool));
  succeeds(ebb_network_model(&m, n, options, x, CLASSES));
  ebb_pool_clear(&pool);
  return m;
}

/* Its receptive field: stem 1, two couplings of one 3 x 3 convolution on 2 levels there and back, the coarser in steps of 2, and
 * resampling: less than 12. */
enum { FIELD = 12 };

static const struct field_case { int volume[3], window[3]; } field_cases[] = {
    {{1, 112, 96}, {1, 48, 40}}, {{1, 97, 101}, {1, 48, 40}}, {{37, 41, 45}, {32, 40, 32}}};
enum { FIELD_CASES = sizeof field_cases / sizeof *field_cases };

/* With a halo of the receptive field, windows say what the whole volume says, but near its border, where one sees zeros and the
 * other mirrored values. */
START_TEST(windows_equal_the_whole)
{
  const struct field_case *k = &field_cases[_i];
  static const int none[3];
  int halo[3] = {k->volume[0] > 1 ? FIELD : 0, FIELD, FIELD};
  ebb_windows whole, parts;
  ebb_windows_whole(&whole, k->volume, none);
  ebb_windows_slide(&parts, k->volume, k->window, halo, 0.25);
  ck_assert_uint_eq(ebb_windows_total(&whole), 1);
  ck_assert_uint_gt(ebb_windows_total(&parts), 4);
  volume    a = make_volume(k->volume, CLASSES), b = make_volume(k->volume, CLASSES);
  ebb_model m = iunet(whole.size), n = iunet(parts.size);
  predict(&a, &whole, &m, 7);
  predict(&b, &parts, &n, 7);
  size_t i = 0, compared = 0;
  double lowest = 1, highest = 0;
  for (int d = 0; d < k->volume[0]; d++)
    for (int h = 0; h < k->volume[1]; h++)
      for (int w = 0; w < k->volume[2]; w++, i++) {
        int at[3] = {d, h, w}, inside = 1;
        for (int s = 0; s < 3; s++) inside &= k->volume[s] == 1 || (at[s] >= FIELD && at[s] < k->volume[s] - FIELD);
        if (!inside) continue;
        for (int c = 0; c < CLASSES; c++) {
          double p = (double)a.q[i * CLASSES + (size_t)c], q = (double)b.q[i * CLASSES + (size_t)c];
          ck_assert_msg(fabs(p - q) < 1e-5, "(%d %d %d) class %d: whole %g, windows %g", d, h, w, c, p, q);
          lowest = fmin(lowest, p);
          highest = fmax(highest, p);
        }
        compared++;
      }
  ck_assert_uint_gt(compared, 100);
  ck_assert_double_gt(highest - lowest, 0.1); /* or it compared nothing */
  ebb_model_destroy(&m);
  ebb_model_destroy(&n);
  free_volume(&a);
  free_volume(&b);
}
END_TEST

/* Without a halo they do not: the test above can fail. */
START_TEST(without_a_halo_windows_differ)
{
  const int size[3] = {1, 112, 96}, window[3] = {1, 48, 40}, none[3] = {0};
  ebb_windows whole, parts;
  ebb_windows_whole(&whole, size, none);
  ebb_windows_slide(&parts, size, window, none, 0.25);
  volume    a = make_volume(size, CLASSES), b = make_volume(size, CLASSES);
  ebb_model m = iunet(whole.size), n = iunet(parts.size);
  double    most = 0;
  predict(&a, &whole, &m, 7);
  predict(&b, &parts, &n, 7);
  for (size_t i = 0; i < sites(size) * CLASSES; i++) most = fmax(most, fabs((double)a.q[i] - (double)b.q[i]));
  ck_assert_double_gt(most, 1e-3);
  ebb_model_destroy(&m);
  ebb_model_destroy(&n);
  free_volume(&a);
  free_volume(&b);
}
END_TEST

/* ---- surfaces ------------------------------------------------------------------------------------------------------- */
typedef struct points { int count; double at[4000][3]; } points;

static int inside(const uint16_t *set, const int size[3], int d, int h, int w)
{
  if (d < 0 || h < 0 || w < 0 || d >= size[0] || h >= size[1] || w >= size[2]) return 0;
  return set[((size_t)d * (size_t)size[1] + (size_t)h) * (size_t)size[2] + (size_t)w] == 1;
}

static void surface_of(points *p, const uint16_t *set, const int size[3], const double spacing[3])
{
  p->count = 0;
  for (int d = 0; d < size[0]; d++)
    for (int h = 0; h < size[1]; h++)
      for (int w = 0; w < size[2]; w++) {
        int all = (size[0] == 1 || (inside(set, size, d - 1, h, w) && inside(set, size, d + 1, h, w))) && inside(set, size, d, h - 1, w) &&
                  inside(set, size, d, h + 1, w) && inside(set, size, d, h, w - 1) && inside(set, size, d, h, w + 1);
        if (!inside(set, size, d, h, w) || all) continue;
        double *to = p->at[p->count++];
        to[0] = d * spacing[0], to[1] = h * spacing[1], to[2] = w * spacing[2];
      }
}

static double nearest(const double *from, const points *to)
{
  double least = INFINITY;
  for (int i = 0; i < to->count; i++) {
    double sum = 0;
    for (int k = 0; k < 3; k++) sum += (from[k] - to->at[i][k]) * (from[k] - to->at[i][k]);
    least = fmin(least, sqrt(sum));
  }
  return least;
}

static int rising(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static ebb_surface by_all_pairs(const uint16_t *a, const uint16_t *b, const int size[3], const double spacing[3])
{
  static points p, q;
  static double all[8000];
  double there = 0, back = 0;
  surface_of(&p, a, size, spacing);
  surface_of(&q, b, size, spacing);
  for (int i = 0; i < p.count; i++) there += all[i] = nearest(p.at[i], &q);
  for (int i = 0; i < q.count; i++) back += all[p.count + i] = nearest(q.at[i], &p);
  int n = p.count + q.count;
  qsort(all, (size_t)n, sizeof *all, rising);
  double at = 0.95 * (n - 1);
  int low = (int)at, high = low + 1 < n ? low + 1 : low;
  return (ebb_surface){all[low] + (at - low) * (all[high] - all[low]), (there / p.count + back / q.count) / 2};
}

/* A rough ball. */
static void fill_ball(uint16_t *set, const int size[3], double d0, double h0, double w0, double radius, uint32_t seed)
{
  size_t i = 0;
  for (int d = 0; d < size[0]; d++)
    for (int h = 0; h < size[1]; h++)
      for (int w = 0; w < size[2]; w++, i++) {
        double r = sqrt((d - d0) * (d - d0) + (h - h0) * (h - h0) + (w - w0) * (w - w0));
        set[i] = r + 0.7 * noise(seed, i) < radius ? 1 : (uint16_t)(2 * (i % 2));
      }
}

static const struct surface_case { int size[3]; double spacing[3]; } surface_cases[] = {
    {{14, 17, 15}, {1, 1, 1}}, {{14, 17, 15}, {3, 0.5, 1.25}}, {{1, 30, 28}, {7, 1, 2}}};

START_TEST(distances_are_those_of_all_pairs)
{
  static uint16_t a[6000], b[6000];
  const struct surface_case *k = &surface_cases[_i];
  double middle = k->size[0] > 1 ? 7 : 0;
  fill_ball(a, k->size, middle, 8, 7, 5, 1);
  fill_ball(b, k->size, middle, 9, 5, 4, 2);
  ebb_surface found, want = by_all_pairs(a, b, k->size, k->spacing);
  succeeds(ebb_surface_measure(&found, a, b, 1, k->size, k->spacing));
  ck_assert_double_eq_tol(found.hd95, want.hd95, 1e-5);
  ck_assert_double_eq_tol(found.assd, want.assd, 1e-5);
  ck_assert_double_gt(found.hd95, found.assd);
  succeeds(ebb_surface_measure(&found, a, a, 1, k->size, k->spacing));
  ck_assert_double_eq(found.hd95, 0);
  ck_assert_double_eq(found.assd, 0);
}
END_TEST

START_TEST(no_surface_is_no_distance)
{
  static uint16_t a[60], b[60];
  const int size[3] = {3, 4, 5};
  const double spacing[3] = {1, 1, 1};
  ebb_surface found;
  a[30] = 1;
  succeeds(ebb_surface_measure(&found, a, b, 1, size, spacing));
  ck_assert(isnan(found.hd95) && isnan(found.assd));
  b[33] = 1;
  succeeds(ebb_surface_measure(&found, a, b, 1, size, spacing));
  ck_assert_double_eq(found.hd95, 3);
  ck_assert_double_eq(found.assd, 3);
}
END_TEST

static Suite *suite(void)
{
  Suite *s = suite_create("windows");
  TCase *c = tcase_create("windows");
  tcase_set_timeout(c, 60);
  tcase_add_loop_test(c, windows_give_back_every_site, 0, SITE_CASES);
  tcase_add_loop_test(c, windows_equal_the_whole, 0, FIELD_CASES);
  tcase_add_test(c, without_a_halo_windows_differ);
  tcase_add_loop_test(c, distances_are_those_of_all_pairs, 0, 3);
  tcase_add_test(c, no_surface_is_no_distance);
  suite_add_tcase(s, c);
  return s;
}

int main(void)
{
  ebb_threads_set(1);
  if (ebbk_start() != EBB_OK) return 1;
  return run_suite(suite());
}
