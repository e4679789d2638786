/* test_kernels.c -- every fast kernel against the plain reference, on every instruction set of this processor.
 *
 * The same call is made on the reference and on the fast table, with odd sizes and strided operands whose gaps and
 * surroundings are filled with a canary. Bounds are relative to the largest value of the reference; those of sums are
 * a few times sqrt(terms) 2^-24. Each fast kernel also runs on 1, 2 and 3 threads: the same bits. */
#define _GNU_SOURCE
#include <check.h>
#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "kernels/deal.h"
#include "kernels/kernels.h"
#include "tests/suite.h"

static const ebbk_table *tables[4];
static size_t table_count;

#define REFERENCE (tables[0])

/* ---- random numbers --------------------------------------------------------------------------------------------- */
static uint64_t drawn;

static double uniform(void)
{
  return ebb_rng_uniform((ebb_rng){.seed = 7, .purpose = EBB_RNG_TEST}, drawn++);
}

static int between(int low, int high)
{
  return low + (int)(uniform() * (high - low + 1));
}

static int one_of(int count, const int *values)
{
  return values[between(0, count - 1)];
}

static int channels(void)
{
  return one_of(12, (int[]){1, 2, 3, 5, 8, 15, 16, 17, 32, 33, 48, 70});
}

/* ---- matrices in a frame of canaries ---------------------------------------------------------------------------- */
enum { FRAME = 32 };
static const uint32_t canary = 0x7fbadbad; /* a NaN: reading it shows as well */

typedef struct matrix {
  uint32_t *raw;
  float *p;
  size_t rows, size; /* size: of raw, in values */
  int c, stride;
} matrix;

static matrix matrix_new(size_t rows, int c, int gap)
{
  matrix m = {.rows = rows, .c = c, .stride = c + gap};
  m.size = rows * (size_t)m.stride + 2 * FRAME;
  m.raw = malloc(m.size * sizeof *m.raw);
  for (size_t i = 0; i < m.size; i++) m.raw[i] = canary;
  m.p = (float *)m.raw + FRAME;
  return m;
}

/* Matrices as operands; MAPPED: by the scale, shift and slope that are in scope. */
#define OVER(m) ebbk_over((m).p, (m).stride)
#define READ(m) ebbk_read((m).p, (m).stride)
#define NOTHING (ebbk_output){0}
#define MAPPED(m)                                                                                                      \
  (ebbk_input){.x = (m).p, .stride = (m).stride, .per_instance = true, .scale = scale.p, .shift = shift.p, .slope = slope}

static float *at(const matrix *m, size_t r, int j)
{
  return m->p + r * (size_t)m->stride + j;
}

static matrix matrix_random(size_t rows, int c, int gap)
{
  matrix m = matrix_new(rows, c, gap);
  for (size_t r = 0; r < rows; r++)
    for (int j = 0; j < c; j++) *at(&m, r, j) = (float)(2 * uniform() - 1);
  return m;
}

static matrix matrix_copy(const matrix *from)
{
  matrix m = *from;
  m.raw = malloc(m.size * sizeof *m.raw);
  memcpy(m.raw, from->raw, m.size * sizeof *m.raw);
  m.p = (float *)m.raw + FRAME;
  return m;
}

static void matrix_free(matrix *m)
{
  free(m->raw);
}

static void expect_canaries(const matrix *m, const char *what)
{
  for (size_t i = 0; i < m->size; i++) {
    size_t k = i - FRAME;
    bool value = i >= FRAME && k < m->rows * (size_t)m->stride && k % (size_t)m->stride < (size_t)m->c;
    if (!value && m->raw[i] != canary) ck_abort_msg("%s: value %zu outside of the matrix was written", what, i);
  }
}

/* An assertion writes to a file each time, so that tests of many values only call it where they fail.
 * |a - b| <= bound max |b| (and a little, for what is zero but for rounding), values that are not finite at the same places; then both are freed. */
static void expect_near(matrix *a, matrix *b, double bound, const char *what)
{
  double largest = 0;
  expect_canaries(a, what);
  for (size_t r = 0; r < b->rows; r++)
    for (int j = 0; j < b->c; j++)
      if (isfinite(*at(b, r, j))) largest = fmax(largest, fabs((double)*at(b, r, j)));
  for (size_t r = 0; r < b->rows; r++)
    for (int j = 0; j < b->c; j++) {
      double x = (double)*at(a, r, j), y = (double)*at(b, r, j);
      bool same = isnan(y) ? isnan(x) : isinf(y) ? x == y : fabs(x - y) <= bound * largest + 1e-15;
      if (!same) ck_abort_msg("%s: row %zu channel %d of %zu x %d: %.9g, reference %.9g", what, r, j, b->rows, b->c, x, y);
    }
  matrix_free(a);
  matrix_free(b);
}

static bool same_bits(const matrix *a, const matrix *b)
{
  return memcmp(a->raw, b->raw, a->size * sizeof *a->raw) == 0;
}

/* The same, whatever is between the rows. */
static bool same_values(const matrix *a, const matrix *b)
{
  bool same = true;
  for (size_t r = 0; r < a->rows; r++) same &= memcmp(at(a, r, 0), at(b, r, 0), (size_t)a->c * sizeof(float)) == 0;
  return same;
}

/* Runs the statement into `out` on 1, 2 and 3 threads, from the same start: the same bits. */
#define EXPECT_SAME_BITS(out, what, ...)                                                                               \
  do {                                                                                                                 \
    matrix start_ = matrix_copy(&out), first_ = {0};                                                                   \
    for (int run_ = 0; run_ < 3; run_++) {                                                                             \
      memcpy(out.raw, start_.raw, out.size * sizeof *out.raw);                                                         \
      ebb_threads_set(run_ + 1);                                                                                       \
      __VA_ARGS__;                                                                                                     \
      if (run_ == 0)                                                                                                   \
        first_ = matrix_copy(&out);                                                                                    \
      else                                                                                                             \
        ck_assert_msg(same_bits(&out, &first_), "%s: other bits on %d threads", what, run_ + 1);                       \
    }                                                                                                                  \
    matrix_free(&start_);                                                                                              \
    matrix_free(&first_);                                                                                              \
  } while (0)

/* ---- convolution ------------------------------------------------------------------------------------------------ */
static ebbk_conv conv(int n, int d, int h, int w, int ci, int co, int k, int s, int p)
{
  ebbk_conv g = {.n = n, .in = {d, h, w}, .ci = ci, .co = co};
  for (int i = 0; i < 3; i++) {
    bool used = i == 2 || (i == 1 && h > 0) || (i == 0 && d > 0);
    if (!used) g.in[i] = 1;
    g.kernel[i] = used ? k : 1;
    g.stride[i] = used ? s : 1;
    g.pad[i] = used ? p : 0;
    g.out[i] = (g.in[i] + 2 * g.pad[i] - g.kernel[i]) / g.stride[i] + 1;
  }
  return g;
}

static bool conv_fits(const ebbk_conv *g)
{
  for (int i = 0; i < 3; i++)
    if (g->in[i] + 2 * g->pad[i] < g->kernel[i]) return false;
  return true;
}

static ebbk_conv random_conv(void)
{
  ebbk_conv g;
  do {
    int rank = between(1, 3), most = rank == 3 ? 9 : rank == 2 ? 21 : 70;
    g = (ebbk_conv){.n = between(1, 3), .ci = channels(), .co = channels()};
    for (int i = 0; i < 3; i++) {
      bool used = i >= 3 - rank;
      g.in[i] = used ? between(1, most) : 1;
      g.kernel[i] = used ? one_of(5, (int[]){1, 2, 3, 3, 5}) : 1;
      g.stride[i] = used ? one_of(5, (int[]){1, 1, 1, 2, 3}) : 1;
      g.pad[i] = used ? between(0, g.kernel[i] - 1) : 0;
      g.out[i] = (g.in[i] + 2 * g.pad[i] - g.kernel[i]) / g.stride[i] + 1;
    }
  } while (!conv_fits(&g));
  return g;
}

static size_t sites(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

static const char *conv_text(const ebbk_conv *g)
{
  static char text[160];
  snprintf(text, sizeof text, "conv %d x %dx%dx%dx%d -> %d, k %dx%dx%d s %dx%dx%d p %dx%dx%d", g->n, g->in[0], g->in[1],
           g->in[2], g->ci, g->co, g->kernel[0], g->kernel[1], g->kernel[2], g->stride[0], g->stride[1], g->stride[2],
           g->pad[0], g->pad[1], g->pad[2]);
  return text;
}

/* Scratch of exactly the bytes asked for: AddressSanitizer watches its end, a canary does without it. */
static char *scratch_base;
static size_t scratch_bytes;

/* NaN: nothing may rely on zeros, or on what an earlier call left. */
static void *scratch_anew(void)
{
  return memset(scratch_base, 0xff, scratch_bytes);
}

static void *scratch_new(const ebbk_table *k, const ebbk_conv *g, int threads)
{
  scratch_bytes = k->conv_scratch(g, threads);
  ck_assert_int_eq(posix_memalign((void **)&scratch_base, 64, scratch_bytes + 64), 0);
  memset(scratch_base + scratch_bytes, 0x5a, 64);
  return scratch_anew();
}

static void scratch_free(const char *what)
{
  for (size_t i = 0; i < 64; i++) ck_assert_msg(scratch_base[scratch_bytes + i] == 0x5a, "%s: scratch overrun", what);
  free(scratch_base);
}

/* Operands of one convolution; gaps of random size. */
typedef struct operands {
  matrix x, y, w, b;
} operands;

static operands operands_new(const ebbk_conv *g)
{
  return (operands){
      .x = matrix_random((size_t)g->n * sites(g->in), g->ci, between(0, 1) * between(1, 20)),
      .y = matrix_random((size_t)g->n * sites(g->out), g->co, between(0, 1) * between(1, 20)),
      .w = matrix_random(sites(g->kernel) * (size_t)g->ci, g->co, 0),
      .b = matrix_random(1, g->co, 0),
  };
}

static void operands_free(operands *o)
{
  matrix_free(&o->x);
  matrix_free(&o->y);
  matrix_free(&o->w);
  matrix_free(&o->b);
}

static void compare_conv(const ebbk_table *k, const ebbk_conv *g)
{
  operands o = operands_new(g);
  const char *what = conv_text(g);
  scratch_new(k, g, 3);
  const float *b = between(0, 1) ? o.b.p : NULL;
  matrix y = matrix_new(o.y.rows, o.y.c, o.y.stride - o.y.c), y0 = matrix_copy(&y);
  matrix dx = matrix_new(o.x.rows, o.x.c, o.x.stride - o.x.c), dx0 = matrix_copy(&dx);
  matrix dw = matrix_random(o.w.rows, o.w.c, 0), dw0 = matrix_copy(&dw);

  REFERENCE->conv_forward(OVER(y0), READ(o.x), o.w.p, b, g, NULL);
  EXPECT_SAME_BITS(y, what, k->conv_forward(OVER(y), READ(o.x), o.w.p, b, g, scratch_anew()));
  expect_near(&y, &y0, 1e-5, what);
  REFERENCE->conv_grad_data(OVER(dx0), o.y.p, o.y.stride, o.w.p, g, NULL);
  EXPECT_SAME_BITS(dx, what, k->conv_grad_data(OVER(dx), o.y.p, o.y.stride, o.w.p, g, scratch_anew()));
  expect_near(&dx, &dx0, 1e-5, what);
  REFERENCE->conv_grad_weight(dw0.p, READ(o.x), o.y.p, o.y.stride, g, NULL);
  EXPECT_SAME_BITS(dw, what, k->conv_grad_weight(dw.p, READ(o.x), o.y.p, o.y.stride, g, scratch_anew()));
  expect_near(&dw, &dw0, 1e-5, what);
  scratch_free(what);
  operands_free(&o);
}

START_TEST(conv_random)
{
  for (int i = 0; i < 80; i++) {
    ebbk_conv g = random_conv();
    compare_conv(tables[_i], &g);
  }
}
END_TEST

/* The shapes of the networks, and those where an index law is at its edge. */
START_TEST(conv_shapes)
{
  const ebbk_conv shapes[] = {
      conv(3, 0, 32, 32, 16, 16, 3, 1, 1), conv(2, 0, 32, 32, 32, 32, 3, 1, 1),  conv(5, 0, 16, 16, 64, 64, 3, 1, 1),
      conv(9, 0, 8, 8, 64, 64, 3, 1, 1),   conv(2, 0, 8, 8, 128, 128, 3, 1, 1),  conv(1, 0, 8, 8, 300, 300, 3, 1, 1),
      conv(2, 0, 32, 32, 32, 64, 3, 2, 1), conv(2, 0, 32, 32, 3, 16, 3, 1, 1),   conv(2, 0, 16, 16, 32, 64, 1, 2, 0),
      conv(3, 0, 16, 16, 64, 64, 1, 1, 0), conv(1, 20, 20, 20, 16, 16, 3, 1, 1), conv(1, 18, 40, 40, 32, 32, 3, 1, 1),
      conv(2, 8, 8, 8, 16, 32, 2, 2, 0),   conv(1, 9, 7, 8, 8, 24, 3, 2, 1),     conv(2, 0, 0, 100, 16, 48, 3, 1, 1),
      conv(4, 0, 1, 1, 10, 10, 3, 1, 1),   conv(1, 1, 1, 1, 1, 1, 1, 1, 0),      conv(1, 0, 40, 30, 16, 16, 7, 2, 3),
      conv(1, 0, 7, 7, 6, 6, 1, 3, 0),     conv(1, 0, 5, 5, 6, 6, 2, 3, 0),      conv(1, 0, 24, 25, 16, 3, 3, 1, 0),
      conv(1, 0, 3, 3, 16, 16, 3, 1, 0),   conv(1, 0, 9, 8, 17, 32, 3, 1, 2),    conv(1, 0, 60, 70, 100, 20, 5, 1, 2),
      conv(70, 3, 4, 8, 8, 8, 3, 1, 1),    /* several samples in a chunk of the weight gradient         */
      conv(41, 0, 8, 8, 24, 40, 3, 2, 1),  conv(100, 0, 7, 7, 16, 40, 1, 1, 0),  /* in an item of it, too */
      conv(50, 0, 0, 12, 12, 20, 3, 1, 1), conv(40, 0, 11, 9, 70, 16, 7, 2, 3),
      conv(2, 0, 20, 16, 224, 224, 3, 1, 1), /* two copies of Winograd's weights for three threads      */
      conv(2, 0, 20, 16, 300, 300, 3, 1, 1), /* one                                                     */
  };
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) compare_conv(tables[_i], &shapes[i]);
}
END_TEST

/* Moments taken while results are written are those of a pass behind it. */
static void expect_moments(const ebbk_table *k, const ebbk_conv *g, const matrix *y, ebbk_write how, ebbk_input x, const float *w,
                           const float *b, void *scratch)
{
  bool        per_instance = between(0, 1);
  size_t      instances = per_instance ? (size_t)g->n : 1;
  matrix      mean = matrix_new(instances, g->co, 0), var = matrix_copy(&mean), mean0 = matrix_copy(&mean), var0 = matrix_copy(&mean);
  ebbk_output to = {.y = y->p, .stride = y->stride, .how = how, .mean = mean.p, .var = var.p, .per_instance = per_instance};
  k->conv_forward(to, x, w, b, g, scratch);
  ebbk_input read = {.x = y->p, .stride = y->stride, .stream = how == EBBK_STREAM_ADD};
  k->moments(mean0.p, var0.p, read, instances, y->rows / instances, y->c);
  expect_near(&mean, &mean0, 1e-5, conv_text(g));
  expect_near(&var, &var0, 1e-5, conv_text(g));
}

/* A convolution that maps what it reads, from the stream or not, and adds what it writes has the bits of the passes it
 * spares: real_from_fixed, affine_act, the plain convolution, fixed_add or fixed_subtract or add. */
static void compare_fused(const ebbk_table *k, const ebbk_conv *g, bool stream, bool mapped)
{
  operands    o = operands_new(g);
  const char *what = conv_text(g);
  void       *scratch = scratch_new(k, g, 3);
  bool        per_instance = between(0, 1);
  size_t      instances = per_instance ? (size_t)g->n : 1, rows = o.x.rows / instances;
  float       slope = (float[]){0, 1, 0.1f}[between(0, 2)];
  matrix      scale = matrix_random(instances, g->ci, 0), shift = matrix_random(instances, g->ci, 0);
  matrix      x = matrix_copy(&o.x), a = matrix_new(o.x.rows, o.x.c, between(0, 3));
  ebbk_range  range = {0}, range0 = {0};
  ebb_threads_set(2);
  if (stream) {
    k->fixed_from_real((ebb_fixed *)x.p, x.stride, o.x.p, o.x.stride, x.rows, x.c, NULL);
    k->real_from_fixed(o.x.p, o.x.stride, (ebb_fixed *)x.p, x.stride, x.rows, x.c);
  }
  ebbk_input read = {.x = x.p, .stride = x.stride, .stream = stream, .slope = slope, .per_instance = per_instance};
  if (mapped) read.scale = scale.p, read.shift = shift.p;
  if (mapped) k->affine_act(OVER(a), MAPPED(o.x), instances, rows, a.c);
  else k->copy(a.p, a.stride, o.x.p, o.x.stride, a.rows, a.c);

  matrix      sum = matrix_new(o.y.rows, o.y.c, between(0, 3)), y = matrix_copy(&sum);
  matrix      z = matrix_new(o.y.rows, o.y.c, between(0, 3));
  ebbk_output onto = {.y = z.p, .stride = z.stride, .how = EBBK_STREAM_ADD, .range = &range};
  for (size_t r = 0; r < z.rows; r++)
    for (int j = 0; j < z.c; j++) ((ebb_fixed *)at(&z, r, 0))[j] = between(0, 50) ? between(-1000000, 1000000) : INT32_MAX;
  matrix z0 = matrix_copy(&z), start = matrix_copy(&z);
  k->conv_forward(OVER(sum), READ(a), o.w.p, o.b.p, g, scratch);
  k->conv_forward(OVER(y), read, o.w.p, o.b.p, g, scratch);
  ck_assert_msg(same_bits(&y, &sum), "%s: reading%s%s changes the bits", what, stream ? " the stream" : "", mapped ? " mapped" : "");
  k->fixed_add((ebb_fixed *)z0.p, z0.stride, sum.p, sum.stride, z0.rows, z0.c, &range0);
  k->conv_forward(onto, read, o.w.p, o.b.p, g, scratch);
  ck_assert_msg(same_bits(&z, &z0), "%s: another sum on the stream", what);
  ck_assert(range.count == range0.count && range.worst == range0.worst);
  expect_moments(k, g, &y, EBBK_SET, read, o.w.p, o.b.p, scratch);
  memcpy(z0.raw, start.raw, z0.size * sizeof *z0.raw);
  expect_moments(k, g, &z0, EBBK_STREAM_ADD, read, o.w.p, o.b.p, scratch);
  onto.how = EBBK_STREAM_SUBTRACT;
  k->conv_forward(onto, read, o.w.p, o.b.p, g, scratch);
  ck_assert_msg(same_bits(&z, &start), "%s: subtracting does not undo adding", what);

  matrix dw = matrix_random(o.w.rows, o.w.c, 0), dw0 = matrix_copy(&dw);
  k->conv_grad_weight(dw0.p, READ(a), o.y.p, o.y.stride, g, scratch);
  k->conv_grad_weight(dw.p, read, o.y.p, o.y.stride, g, scratch);
  ck_assert_msg(same_bits(&dw, &dw0), "%s: the weight gradient has other bits", what);

  matrix dx = matrix_random(o.x.rows, o.x.c, between(0, 3)), dx0 = matrix_copy(&dx), da = matrix_new(o.x.rows, o.x.c, 0);
  k->conv_grad_data(OVER(da), o.y.p, o.y.stride, o.w.p, g, scratch);
  k->add(dx0.p, dx0.stride, da.p, da.stride, da.rows, da.c);
  k->conv_grad_data((ebbk_output){.y = dx.p, .stride = dx.stride, .how = EBBK_ADD}, o.y.p, o.y.stride, o.w.p, g, scratch);
  if (k != REFERENCE) ck_assert_msg(same_bits(&dx, &dx0), "%s: adding dx has other bits", what);
  expect_near(&dx, &dx0, 1e-5, what);
  scratch_free(what);
  operands_free(&o);
  matrix_free(&scale), matrix_free(&shift), matrix_free(&x), matrix_free(&a), matrix_free(&y), matrix_free(&sum);
  matrix_free(&z), matrix_free(&z0), matrix_free(&start), matrix_free(&dw), matrix_free(&dw0), matrix_free(&da);
}

START_TEST(conv_fused)
{
  for (int i = 0; i < 60; i++) {
    ebbk_conv g = random_conv();
    compare_fused(tables[_i], &g, between(0, 1), between(0, 1));
    g.algorithm = EBBK_DIRECT;
    compare_fused(tables[_i], &g, between(0, 1), between(0, 1));
  }
  ebbk_conv wide = conv(2, 0, 14, 17, 33, 20, 3, 1, 1);
  for (int i = 0; i < 4; i++) compare_fused(tables[_i], &wide, i & 1, i & 2);
}
END_TEST

/* A whole backward has the bits of its products, and the norm's sums, on any number of threads. */
static void compare_backward(const ebbk_table *k, const ebbk_conv *g, bool stream, bool again)
{
  operands    o = operands_new(g);
  const char *what = conv_text(g);
  void       *scratch = scratch_new(k, g, 3);
  bool        per_instance = between(0, 1);
  size_t      instances = per_instance ? (size_t)g->n : 1, rows = o.x.rows / instances;
  float       slope = 0.1f;
  matrix      scale = matrix_random(instances, g->ci, 0), shift = matrix_random(instances, g->ci, 0);
  matrix      mean = matrix_random(instances, g->ci, 0), dz0 = matrix_copy(&mean), dzx0 = matrix_copy(&mean);
  matrix      dz = matrix_copy(&mean), dzx = matrix_copy(&mean);
  if (stream) k->fixed_from_real((ebb_fixed *)o.x.p, o.x.stride, o.x.p, o.x.stride, o.x.rows, o.x.c, NULL);
  ebbk_input read = MAPPED(o.x);
  read.stream = stream, read.per_instance = per_instance;

  matrix      z0 = matrix_random(o.y.rows, o.y.c, between(0, 3)), z = matrix_copy(&z0);
  matrix      dw0 = matrix_random(o.w.rows, o.w.c, 0), dw = matrix_copy(&dw0);
  matrix      dx0 = matrix_random(o.x.rows, o.x.c, between(0, 3)), dx = matrix_copy(&dx0);
  ebbk_output onto = {.y = z0.p, .stride = z0.stride, .how = EBBK_STREAM_SUBTRACT};
  if (again) k->conv_forward(onto, read, o.w.p, o.b.p, g, scratch);
  k->conv_grad_weight(dw0.p, read, o.y.p, o.y.stride, g, scratch);
  k->conv_grad_data(OVER(dx0), o.y.p, o.y.stride, o.w.p, g, scratch);
  k->affine_act_sums(dz0.p, dzx0.p, read, dx0.p, dx0.stride, mean.p, instances, rows, g->ci);

  ebbk_conv_back all = {.x = read, .w = o.w.p, .b = o.b.p, .dy = o.y.p, .dys = o.y.stride, .dw = dw.p, .dx = OVER(dx),
                        .mean = mean.p, .sum_dz = dz.p, .sum_dzx = dzx.p};
  EXPECT_SAME_BITS(dw, what, k->conv_backward(&all, g, scratch));
  ck_assert_msg(same_bits(&dw, &dw0), "%s: the weight gradient has other bits", what);
  ck_assert_msg(same_bits(&dx, &dx0), "%s: dx has other bits", what);
  EXPECT_SAME_BITS(dzx, what, k->conv_backward(&all, g, scratch));
  onto.y = z.p;
  if (again) all.y = onto;
  k->conv_backward(&all, g, scratch);
  ck_assert_msg(same_bits(&z, &z0), "%s: the results once more have other bits", what);
  expect_near(&dz, &dz0, 1e-5, what);
  expect_near(&dzx, &dzx0, 1e-5, what);
  scratch_free(what);
  operands_free(&o);
  matrix_free(&scale), matrix_free(&shift), matrix_free(&mean), matrix_free(&z), matrix_free(&z0), matrix_free(&dw);
  matrix_free(&dw0), matrix_free(&dx), matrix_free(&dx0);
}

START_TEST(conv_backward)
{
  const ebbk_conv one_sweep[] = {
      conv(3, 0, 32, 32, 16, 16, 3, 1, 1), conv(2, 0, 30, 17, 32, 32, 3, 1, 1), conv(1, 9, 12, 10, 16, 16, 3, 1, 1),
      conv(2, 0, 9, 9, 24, 20, 3, 1, 1),   conv(7, 0, 8, 8, 16, 32, 3, 1, 1),   conv(2, 0, 5, 70, 20, 16, 3, 1, 1),
  };
  for (size_t i = 0; i < sizeof one_sweep / sizeof *one_sweep; i++)
    for (int j = 0; j < 4; j++) compare_backward(tables[_i], &one_sweep[i], j & 1, j & 2);
  for (int i = 0; i < 40; i++) {
    ebbk_conv g = random_conv();
    compare_backward(tables[_i], &g, between(0, 1), between(0, 1));
  }
}
END_TEST

/* The same of the passes of a norm. */
START_TEST(affine_act_fused)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 25; i++) {
    size_t instances = (size_t)between(1, 4), rows = (size_t)between(1, 300);
    int    c = channels();
    float  slope = 0.1f;
    matrix real = matrix_random(instances * rows, c, between(0, 5)), x = matrix_copy(&real);
    matrix dy = matrix_random(real.rows, c, between(0, 5)), dx = matrix_random(real.rows, c, between(0, 5));
    matrix scale = matrix_random(instances, c, 0), shift = matrix_random(instances, c, 0), mean = matrix_random(instances, c, 0);
    matrix s = matrix_new(instances, c, 0), s0 = matrix_copy(&s), t = matrix_copy(&s), t0 = matrix_copy(&s);
    matrix z = matrix_new(real.rows, c, 0), z0, y = matrix_new(real.rows, c, 0), dx0 = matrix_copy(&dx);
    ebb_threads_set(2);
    k->fixed_from_real((ebb_fixed *)x.p, x.stride, real.p, real.stride, x.rows, c, NULL);
    k->real_from_fixed(real.p, real.stride, (ebb_fixed *)x.p, x.stride, x.rows, c);
    ebbk_input read = MAPPED(x);
    read.stream = true;
    k->moments(s.p, t.p, read, instances, rows, c);
    k->moments(s0.p, t0.p, READ(real), instances, rows, c);
    ck_assert_msg(same_bits(&s, &s0) && same_bits(&t, &t0), "moments of the stream");
    k->affine_act_sums(s.p, t.p, read, dy.p, dy.stride, mean.p, instances, rows, c);
    k->affine_act_sums(s0.p, t0.p, MAPPED(real), dy.p, dy.stride, mean.p, instances, rows, c);
    ck_assert_msg(same_bits(&s, &s0) && same_bits(&t, &t0), "affine_act_sums of the stream");

    for (size_t r = 0; r < z.rows; r++)
      for (int j = 0; j < c; j++) ((ebb_fixed *)at(&z, r, 0))[j] = between(-1000000, 1000000);
    z0 = matrix_copy(&z);
    ebbk_output onto = {.y = z.p, .stride = z.stride, .how = EBBK_STREAM_ADD};
    k->affine_act(OVER(y), MAPPED(real), instances, rows, c);
    k->fixed_add((ebb_fixed *)z0.p, z0.stride, y.p, y.stride, z0.rows, c, NULL);
    k->affine_act(onto, read, instances, rows, c);
    ck_assert_msg(same_bits(&z, &z0), "affine_act onto the stream");

    k->affine_act_grad(OVER(y), NOTHING, MAPPED(real), dy.p, dy.stride, scale.p, shift.p, mean.p, mean.p, instances, rows, c);
    k->add(dx0.p, dx0.stride, y.p, y.stride, dx0.rows, c);
    k->affine_act_grad((ebbk_output){.y = dx.p, .stride = dx.stride, .how = EBBK_ADD}, NOTHING, read, dy.p, dy.stride, scale.p,
                       shift.p, mean.p, mean.p, instances, rows, c);
    ck_assert_msg(same_bits(&dx, &dx0), "affine_act_grad that adds");

    ebbk_output off = {.y = z.p, .stride = z.stride, .how = EBBK_STREAM_SUBTRACT}, off0 = off;
    off0.y = z0.p;
    k->affine_act(off0, MAPPED(real), instances, rows, c);
    k->affine_act_grad(OVER(dx), off, read, dy.p, dy.stride, scale.p, shift.p, mean.p, mean.p, instances, rows, c);
    ck_assert_msg(same_bits(&z, &z0), "affine_act_grad that undoes the map: z");
    ck_assert_msg(same_values(&dx, &y), "affine_act_grad that undoes the map: dx");
    k->affine_act(off0, MAPPED(real), instances, rows, c);
    k->affine_act_grad(OVER(real), off, MAPPED(real), dy.p, dy.stride, scale.p, shift.p, mean.p, mean.p, instances, rows, c);
    ck_assert_msg(same_bits(&z, &z0) && same_values(&real, &y), "affine_act_grad that undoes the map, over x");
    matrix_free(&real), matrix_free(&x), matrix_free(&dy), matrix_free(&dx), matrix_free(&scale), matrix_free(&shift);
    matrix_free(&mean), matrix_free(&s), matrix_free(&s0), matrix_free(&t), matrix_free(&t0), matrix_free(&z);
    matrix_free(&z0), matrix_free(&y), matrix_free(&dx0);
  }
}
END_TEST

static double dot(const matrix *a, const matrix *b)
{
  double sum = 0;
  for (size_t r = 0; r < a->rows; r++)
    for (int j = 0; j < a->c; j++) sum += (double)*at(a, r, j) * (double)*at(b, r, j);
  return sum;
}

/* <A x, y> = <x, A' y> = <w, dW(x, y)>: independent of the reference, so the reference is tested too. */
START_TEST(conv_adjoint)
{
  for (int i = 0; i < 30; i++) {
    const ebbk_table *k = tables[_i];
    ebbk_conv g = random_conv();
    operands o = operands_new(&g);
    void *scratch = scratch_new(k, &g, 3);
    matrix y = matrix_new(o.y.rows, o.y.c, 0), dx = matrix_new(o.x.rows, o.x.c, 0), dw = matrix_new(o.w.rows, o.w.c, 0);
    ebb_threads_set(2);
    memset(dw.p, 0, dw.rows * (size_t)dw.c * sizeof *dw.p);
    k->conv_forward(OVER(y), READ(o.x), o.w.p, NULL, &g, scratch);
    k->conv_grad_data(OVER(dx), o.y.p, o.y.stride, o.w.p, &g, scratch);
    k->conv_grad_weight(dw.p, READ(o.x), o.y.p, o.y.stride, &g, scratch);
    double a = dot(&y, &o.y), b = dot(&dx, &o.x), c = dot(&dw, &o.w);
    double size = sqrt(dot(&y, &y) * dot(&o.y, &o.y)) + 1e-30;
    ck_assert_msg(fabs(a - b) < 1e-5 * size, "%s: <Ax,y> %g, <x,A'y> %g", conv_text(&g), a, b);
    ck_assert_msg(fabs(a - c) < 1e-5 * size, "%s: <Ax,y> %g, <w,dW> %g", conv_text(&g), a, c);
    scratch_free(conv_text(&g));
    operands_free(&o);
    matrix_free(&y), matrix_free(&dx), matrix_free(&dw);
  }
}
END_TEST

/* ---- matrices --------------------------------------------------------------------------------------------------- */
START_TEST(gemm)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 80; i++) {
    int m = between(1, 90), n = between(1, 90), l = between(1, 60), gap = between(0, 9);
    bool ta = between(0, 1), tb = between(0, 1), plus = between(0, 1);
    if (i == 0) m = 700, n = 40;
    matrix a = matrix_random((size_t)(ta ? l : m), ta ? m : l, gap),
           b = matrix_random((size_t)(tb ? n : l), tb ? l : n, gap);
    matrix c = matrix_random((size_t)m, n, gap), c0 = matrix_copy(&c);
    REFERENCE->gemm(c0.p, c0.stride, a.p, a.stride, ta, b.p, b.stride, tb, m, n, l, plus);
    EXPECT_SAME_BITS(c, "gemm", k->gemm(c.p, c.stride, a.p, a.stride, ta, b.p, b.stride, tb, m, n, l, plus));
    expect_near(&c, &c0, 1e-5, "gemm");
    matrix_free(&a), matrix_free(&b);
  }
}
END_TEST

/* rows that make few, some and many chunks */
static size_t some_rows(void)
{
  return (size_t)(between(0, 5) == 0 ? between(1000, 4000) : between(1, 300));
}

START_TEST(column_sums)
{
  for (int i = 0; i < 40; i++) {
    matrix x = matrix_random(i ? some_rows() : 70000, channels(), between(0, 5));
    matrix s = matrix_random(1, x.c, 0);
    for (int j = 0; j < x.c; j++) *at(&s, 0, j) += sqrtf((float)x.rows); /* the size of a sum of so many */
    matrix s0 = matrix_copy(&s);
    REFERENCE->column_sums(s0.p, x.p, x.stride, x.rows, x.c);
    EXPECT_SAME_BITS(s, "column_sums", tables[_i]->column_sums(s.p, x.p, x.stride, x.rows, x.c));
    expect_near(&s, &s0, 1e-5, "column_sums");
    matrix_free(&x);
  }
}
END_TEST

/* ---- normalisation ---------------------------------------------------------------------------------------------- */
START_TEST(moments)
{
  for (int i = 0; i < 40; i++) {
    size_t instances = (size_t)between(1, 70), rows = some_rows();
    if (i == 0) instances = 1, rows = 70000; /* 64 chunks and a remainder */
    if (rows > 1000) instances = 1 + instances % 3;
    matrix x = matrix_random(instances * rows, channels(), between(0, 5));
    double mean = between(0, 1) ? 100 : 0; /* far from the deviation, 0.6 */
    for (size_t r = 0; r < x.rows; r++)
      for (int j = 0; j < x.c; j++) *at(&x, r, j) += (float)(mean * (j + 1));
    matrix m = matrix_new(instances, x.c, 0), v = matrix_new(instances, x.c, 0), m0 = matrix_copy(&m),
           v0 = matrix_copy(&v);
    REFERENCE->moments(m0.p, v0.p, READ(x), instances, rows, x.c);
    EXPECT_SAME_BITS(m, "mean", tables[_i]->moments(m.p, v.p, READ(x), instances, rows, x.c));
    EXPECT_SAME_BITS(v, "variance", tables[_i]->moments(m.p, v.p, READ(x), instances, rows, x.c));
    expect_near(&m, &m0, 1e-6, "mean");
    expect_near(&v, &v0, 2e-6, "variance");
    matrix_free(&x);
  }
}
END_TEST

/* The activation has a corner at 0: where rounding decides on which side z lies, dy is made to be 0. */
static void avoid_corner(matrix *dy, const matrix *x, const matrix *scale, const matrix *shift, size_t rows)
{
  for (size_t r = 0; r < x->rows; r++)
    for (int j = 0; j < x->c; j++)
      if (fabsf(*at(x, r, j) * *at(scale, r / rows, j) + *at(shift, r / rows, j)) < 1e-6f) *at(dy, r, j) = 0;
}

START_TEST(affine_act)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 25; i++) {
    size_t instances = (size_t)between(1, 12), rows = some_rows();
    if (i == 0) instances = 1, rows = 70000;
    if (rows > 1000) instances = 1 + instances % 3;
    int c = channels();
    float slope = (float[]){0, 1, 0.1f}[between(0, 2)];
    matrix x = matrix_random(instances * rows, c, between(0, 5)),
           dy = matrix_random(instances * rows, c, between(0, 5));
    matrix scale = matrix_random(instances, c, 0), shift = matrix_random(instances, c, 0),
           mean = matrix_random(instances, c, 0);
    matrix a = matrix_random(instances, c, 0), b = matrix_random(instances, c, 0), e = matrix_random(instances, c, 0);
    matrix y = matrix_new(x.rows, c, between(0, 5)), y0 = matrix_copy(&y), dx = matrix_copy(&y), dx0 = matrix_copy(&y);
    matrix s = matrix_new(instances, c, 0), sx = matrix_copy(&s), s0 = matrix_copy(&s), sx0 = matrix_copy(&s);
    matrix here = matrix_copy(&x), there = matrix_copy(&dy);
    avoid_corner(&dy, &x, &scale, &shift, rows);
    memcpy(there.raw, dy.raw, dy.size * sizeof *dy.raw);

    REFERENCE->affine_act(OVER(y0), MAPPED(x), instances, rows, c);
    EXPECT_SAME_BITS(y, "affine_act",
                     k->affine_act(OVER(y), MAPPED(x), instances, rows, c));
    k->affine_act(OVER(here), MAPPED(here), instances, rows, c);
    ck_assert(same_values(&y, &here));
    expect_near(&y, &y0, 1e-6, "affine_act");

    REFERENCE->affine_act_sums(s0.p, sx0.p, MAPPED(x), dy.p, dy.stride, mean.p, instances,
                               rows, c);
    EXPECT_SAME_BITS(s, "sum of dz",
                     k->affine_act_sums(s.p, sx.p, MAPPED(x), dy.p, dy.stride, mean.p, instances, rows, c));
    EXPECT_SAME_BITS(sx, "sum of dz x",
                     k->affine_act_sums(s.p, sx.p, MAPPED(x), dy.p, dy.stride, mean.p, instances, rows, c));
    expect_near(&s, &s0, 2e-5, "sum of dz");
    expect_near(&sx, &sx0, 2e-5, "sum of dz x");

    REFERENCE->affine_act_grad(OVER(dx0), NOTHING, MAPPED(x), dy.p, dy.stride, a.p, b.p, e.p, mean.p, instances, rows, c);
    EXPECT_SAME_BITS(dx, "affine_act_grad",
                     k->affine_act_grad(OVER(dx), NOTHING, MAPPED(x), dy.p, dy.stride, a.p, b.p, e.p, mean.p, instances, rows, c));
    k->affine_act_grad(OVER(there), NOTHING, MAPPED(x), there.p, there.stride, a.p, b.p, e.p, mean.p, instances, rows, c);
    ck_assert(same_values(&dx, &there));
    expect_near(&dx, &dx0, 1e-6, "affine_act_grad");
    matrix_free(&x), matrix_free(&dy), matrix_free(&scale), matrix_free(&shift), matrix_free(&mean), matrix_free(&a);
    matrix_free(&b), matrix_free(&e), matrix_free(&here), matrix_free(&there);
  }
}
END_TEST

/* ---- element-wise ----------------------------------------------------------------------------------------------- */
static double cube(double x)
{
  return x * x * x;
}

/* Calls `call` with the table and y on the reference and on the table, both from the same y; compares. */
#define COMPARE(y, bound, what, ...)                                                                                   \
  do {                                                                                                                 \
    matrix expected_ = matrix_copy(&y), kept_ = y;                                                                     \
    const ebbk_table *k = REFERENCE;                                                                                   \
    y = expected_;                                                                                                     \
    __VA_ARGS__;                                                                                                       \
    y = matrix_copy(&kept_);                                                                                           \
    k = tables[_i];                                                                                                    \
    EXPECT_SAME_BITS(y, what, __VA_ARGS__);                                                                            \
    expect_near(&y, &expected_, bound, what);                                                                          \
    y = kept_;                                                                                                         \
  } while (0)

START_TEST(elementwise)
{
  for (int i = 0; i < 25; i++) {
    int c = channels(), gap = between(0, 1) * 3;
    size_t rows = i ? some_rows() : 12000;
    matrix x = matrix_random(rows, c, gap), dy = matrix_random(rows, c, between(0, 1)), y = matrix_random(rows, c, gap);
    *at(&x, rows / 2, c - 1) = NAN;
    COMPARE(y, 0, "fill", k->fill(y.p, y.stride, 3.5f, rows, c));
    COMPARE(y, 0, "copy", k->copy(y.p, y.stride, x.p, x.stride, rows, c));
    COMPARE(y, 0, "add", k->add(y.p, y.stride, x.p, x.stride, rows, c));
    COMPARE(y, 0, "leaky", k->leaky(y.p, y.stride, x.p, x.stride, 0.25f, rows, c));
    COMPARE(x, 0, "leaky in place", k->leaky(x.p, x.stride, x.p, x.stride, 0.1f, rows, c));
    COMPARE(y, 0, "leaky_grad", k->leaky_grad(y.p, y.stride, x.p, x.stride, dy.p, dy.stride, 0.25f, rows, c));
    COMPARE(y, 0, "leaky_grad in place", k->leaky_grad(y.p, y.stride, x.p, x.stride, y.p, y.stride, 0, rows, c));
    COMPARE(y, 0, "map", k->map(y.p, y.stride, x.p, x.stride, cube, rows, c));
    COMPARE(y, 0, "map_grad", k->map_grad(y.p, y.stride, x.p, x.stride, dy.p, dy.stride, cube, rows, c));
    COMPARE(y, 0, "dropout", k->dropout(y.p, y.stride, x.p, x.stride, 0.3, (ebb_rng){3, 4, (uint32_t)i}, rows, c));
    matrix_free(&x), matrix_free(&dy), matrix_free(&y);
  }
}
END_TEST

/* The share that is dropped, and that a strided view drops the same elements as a dense one. */
START_TEST(dropout_rate)
{
  const ebbk_table *k = tables[_i];
  matrix x = matrix_new(5000, 7, 0), y = matrix_new(5000, 7, 4);
  size_t zeros = 0;
  k->fill(x.p, x.stride, 1, x.rows, x.c);
  k->dropout(y.p, y.stride, x.p, x.stride, 0.25, (ebb_rng){1, 2, 3}, x.rows, x.c);
  k->dropout(x.p, x.stride, x.p, x.stride, 0.25, (ebb_rng){1, 2, 3}, x.rows, x.c);
  for (size_t r = 0; r < x.rows; r++)
    for (int j = 0; j < x.c; j++) {
      ck_assert(*at(&y, r, j) == *at(&x, r, j));
      ck_assert(*at(&x, r, j) == 0 || *at(&x, r, j) == (float)(1 / 0.75));
      zeros += *at(&x, r, j) == 0;
    }
  ck_assert_msg(fabs((double)zeros / 35000 - 0.25) < 0.01, "%zu of 35000 dropped", zeros); /* 4 deviations: 0.0093 */
  matrix_free(&x), matrix_free(&y);
}
END_TEST

START_TEST(upsampling)
{
  for (int i = 0; i < 60; i++) {
    ebbk_pool g = {.n = between(1, 3), .ci = between(1, 40)};
    g.co = g.ci;
    for (int j = 0; j < 3; j++) {
      g.in[j] = between(1, 6);
      g.stride[j] = between(1, 3) > 1 ? 2 : 1;
      g.out[j] = g.in[j] * g.stride[j];
    }
    size_t in = (size_t)g.n * sites(g.in), out = (size_t)g.n * sites(g.out);
    matrix x = matrix_random(in, g.ci, between(0, 3)), dy = matrix_random(out, g.ci, between(0, 3));
    matrix y = matrix_new(out, g.ci, between(0, 3)), dx = matrix_new(in, g.ci, between(0, 3));
    COMPARE(y, 1e-6, "upsample", k->upsample(y.p, y.stride, x.p, x.stride, &g));
    COMPARE(dx, 1e-6, "upsample_grad", k->upsample_grad(dx.p, dx.stride, dy.p, dy.stride, &g));
    matrix_free(&x), matrix_free(&dy), matrix_free(&y), matrix_free(&dx);
  }
}
END_TEST

/* ---- pooling ---------------------------------------------------------------------------------------------------- */
START_TEST(pooling)
{
  for (int i = 0; i < 80; i++) {
    ebbk_pool g = random_conv();
    g.co = g.ci;
    for (int j = 0; j < 3; j++) g.pad[j] = g.pad[j] < (g.kernel[j] + 1) / 2 ? g.pad[j] : g.kernel[j] / 2;
    if (!conv_fits(&g)) continue;
    for (int j = 0; j < 3; j++) g.out[j] = (g.in[j] + 2 * g.pad[j] - g.kernel[j]) / g.stride[j] + 1;
    size_t in = (size_t)g.n * sites(g.in), out = (size_t)g.n * sites(g.out);
    matrix x = matrix_random(in, g.ci, between(0, 3)), dy = matrix_random(out, g.ci, between(0, 3));
    matrix y = matrix_new(out, g.ci, between(0, 3)), dx = matrix_new(in, g.ci, between(0, 3));
    for (size_t r = 0; r < in; r++) /* many equal values: the first must win */
      for (int j = 0; j < g.ci; j++) *at(&x, r, j) = roundf(*at(&x, r, j) * 2);
    if (i % 4 == 0) *at(&x, in / 2, 0) = NAN;
    if (i % 4 == 1)
      for (size_t r = 0; r < in; r++) *at(&x, r, g.ci - 1) = -INFINITY;
    COMPARE(y, 0, "pool_max", k->pool_max(y.p, y.stride, x.p, x.stride, &g));
    COMPARE(dx, 1e-6, "pool_max_grad", k->pool_max_grad(dx.p, dx.stride, x.p, x.stride, dy.p, dy.stride, &g));
    COMPARE(y, 1e-6, "pool_mean", k->pool_mean(y.p, y.stride, x.p, x.stride, &g));
    COMPARE(dx, 1e-6, "pool_mean_grad", k->pool_mean_grad(dx.p, dx.stride, dy.p, dy.stride, &g));
    matrix_free(&x), matrix_free(&dy), matrix_free(&y), matrix_free(&dx);
  }
}
END_TEST

/* ---- loss ------------------------------------------------------------------------------------------------------- */
START_TEST(loss)
{
  for (int i = 0; i < 40; i++) {
    size_t rows = some_rows();
    int c = between(1, 20);
    double smoothing = between(0, 1) * 0.1;
    matrix x = matrix_random(rows, c, between(0, 3)), dx = matrix_new(rows, c, between(0, 3));
    int32_t *label = malloc(rows * sizeof *label);
    for (size_t r = 0; r < rows; r++) {
      label[r] = between(-1, c - 1);
      for (int j = 0; j < c; j++) *at(&x, r, j) *= 200; /* exp would overflow without care */
    }
    matrix dx0 = matrix_copy(&dx);
    double a0 = REFERENCE->softmax_xent(dx0.p, dx0.stride, x.p, x.stride, label, smoothing, 0.5, rows, c), a = 0;
    EXPECT_SAME_BITS(dx, "softmax_xent",
                     a = tables[_i]->softmax_xent(dx.p, dx.stride, x.p, x.stride, label, smoothing, 0.5, rows, c));
    ck_assert_msg(fabs(a - a0) <= 1e-9 * (1 + fabs(a0)), "loss %.12g, reference %.12g", a, a0);
    expect_near(&dx, &dx0, 1e-6, "softmax_xent");
    matrix_free(&x);
    free(label);
  }
}
END_TEST

/* Known values: two equal logits cost log 2 and pull by one half. */
START_TEST(loss_known)
{
  float x[] = {1, 1, 5, 5}, dx[4];
  int32_t label[] = {0, -1};
  double a = tables[_i]->softmax_xent(dx, 2, x, 2, label, 0, 2, 2, 2);
  ck_assert_double_eq_tol(a, log(2), 1e-12);
  ck_assert(fabsf(dx[0] + 1) < 1e-6f && fabsf(dx[1] - 1) < 1e-6f && dx[2] == 0 && dx[3] == 0);
}
END_TEST

/* ---- loss of segmentation --------------------------------------------------------------------------------------- */
typedef struct segments { ebbk_segment g; matrix x, soft; int32_t *label; double weights[20]; } segments;

static segments segments_random(int i)
{
  segments s = {.g = {.n = between(1, 3), .c = between(1, 9), .sites = i ? some_rows() : 9001, .sigmoid = between(0, 1)}};
  size_t   rows = (size_t)s.g.n * s.g.sites;
  s.g.smoothing = between(0, 1) * 0.1;
  s.x = matrix_random(rows, s.g.c, between(0, 3));
  s.soft = matrix_random(rows, s.g.c, between(0, 3));
  for (size_t j = 0; j < rows * (size_t)s.g.c; j++) *at(&s.soft, j / (size_t)s.g.c, (int)(j % (size_t)s.g.c)) = (float)(j % 5 ? uniform() : 0);
  s.label = malloc(rows * sizeof *s.label);
  for (int j = 0; j < s.g.c; j++) s.weights[j] = 3 * uniform();
  for (size_t r = 0; r < rows; r++) {
    s.label[r] = between(-1, s.g.sigmoid && s.g.c == 1 ? 1 : s.g.c - 1);
    for (int j = 0; j < s.g.c; j++) *at(&s.x, r, j) *= r % 7 ? 3 : 200;
  }
  return s;
}

static void compare_sums(const ebbk_table *k, const segments *s, matrix *p, matrix *p0)
{
  ebbk_overlap sums[3 * 9], sums0[3 * 9], first[3 * 9] = {{0}};
  double       value0 = REFERENCE->segment_sums(p0->p, p0->stride, sums0, s->x.p, s->x.stride, s->label, &s->g, NULL), value = 0;
  size_t       count = (size_t)s->g.n * (size_t)s->g.c, bytes = count * sizeof *sums;
  void        *scratch = malloc(k->segment_scratch(&s->g));
  EXPECT_SAME_BITS((*p), "segment_sums", value = k->segment_sums(p->p, p->stride, sums, s->x.p, s->x.stride, s->label, &s->g, scratch);
                   if (run_ == 0) memcpy(first, sums, bytes); ck_assert(memcmp(first, sums, bytes) == 0));
  ck_assert_msg(fabs(value - value0) <= 1e-9 * (1 + fabs(value0)), "value %.12g, reference %.12g", value, value0);
  for (size_t i = 0; i < count; i++) {
    ck_assert_double_eq_tol(sums[i].both, sums0[i].both, 1e-6 * (1 + sums0[i].both));
    ck_assert_double_eq_tol(sums[i].p, sums0[i].p, 1e-6 * (1 + sums0[i].p));
    ck_assert_double_eq_tol(sums[i].t, sums0[i].t, 1e-12 * (1 + sums0[i].t));
  }
  free(scratch);
}

START_TEST(segment)
{
  for (int i = 0; i < 40; i++) {
    segments   s = segments_random(i);
    ebbk_slope slope[3 * 9];
    double     row[9];
    if (i % 2) s.g.weights = s.weights;
    if (i % 3 == 0) s.g.soft = s.soft.p, s.g.soft_stride = s.soft.stride;
    matrix p = matrix_new(s.x.rows, s.g.c, between(0, 3)), p0 = matrix_copy(&p);
    compare_sums(tables[_i], &s, &p, &p0);
    for (int j = 0; j < s.g.n * s.g.c; j++) slope[j] = (ebbk_slope){2 * uniform() - 1, 2 * uniform() - 1};
    REFERENCE->segment_grad(p0.p, p0.stride, s.label, slope, 0.5, &s.g, row);
    void *scratch = malloc(tables[_i]->segment_scratch(&s.g));
    EXPECT_SAME_BITS(p, "segment_grad", tables[_i]->segment_grad(p.p, p.stride, s.label, slope, 0.5, &s.g, scratch));
    expect_near(&p, &p0, 2e-6, "segment");
    matrix_free(&s.x), matrix_free(&s.soft), free(s.label), free(scratch);
  }
}
END_TEST

/* ---- stream ----------------------------------------------------------------------------------------------------- */
/* Values that try the stream: inside, on the edge, beyond, halves of the grid, not finite. */
static float stream_value(void)
{
  const float grid = 1 / EBB_FIXED_ONE;
  switch (between(0, 40)) {
  case 0:
    return 2047.9999f;
  case 1:
    return -2048;
  case 2:
    return 2048;
  case 3:
    return -2048.001f;
  case 4:
    return 1e30f;
  case 5:
    return INFINITY;
  case 6:
    return -INFINITY;
  case 7:
    return NAN;
  case 8:
    return 0.5f * grid;
  case 9:
    return -1.5f * grid;
  case 10:
    return 2.5f * grid;
  case 11:
    return -0.0f;
  case 12:
    return -1e30f;
  default:
    return (float)((2 * uniform() - 1) * (between(0, 3) ? 1 : 1500));
  }
}

START_TEST(stream)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 60; i++) {
    matrix x = matrix_random(i ? some_rows() : 40000, channels(), between(0, 3)),
           y = matrix_new(x.rows, x.c, between(0, 3));
    ebbk_range seen = {0}, seen0 = {0};
    if (i % 3)
      for (size_t r = 0; r < x.rows; r++)
        for (int j = 0; j < x.c; j++) *at(&x, r, j) = stream_value();
    matrix y0 = matrix_copy(&y), z = matrix_copy(&x), z0 = matrix_copy(&x);

    REFERENCE->fixed_from_real((ebb_fixed *)y0.p, y0.stride, x.p, x.stride, x.rows, x.c, &seen0);
    EXPECT_SAME_BITS(y, "fixed_from_real", seen = (ebbk_range){0};
                     k->fixed_from_real((ebb_fixed *)y.p, y.stride, x.p, x.stride, x.rows, x.c, &seen));
    ck_assert_msg(same_bits(&y, &y0), "fixed_from_real differs from the reference");
    ck_assert_msg(seen.count == seen0.count && seen.worst == seen0.worst, "range %zu %g, reference %zu %g",
                  (size_t)seen.count, seen.worst, (size_t)seen0.count, seen0.worst);
    if (i % 3 && x.rows > 100) ck_assert(seen.count > 0);
    if (i % 3 == 0) ck_assert(seen.count == 0);
    REFERENCE->real_from_fixed(z0.p, z0.stride, (ebb_fixed *)y0.p, y0.stride, x.rows, x.c);
    EXPECT_SAME_BITS(z, "real_from_fixed", k->real_from_fixed(z.p, z.stride, (ebb_fixed *)y.p, y.stride, x.rows, x.c));
    ck_assert_msg(same_bits(&z, &z0), "real_from_fixed differs from the reference");

    /* y += q(x) twice leaves the range often; y -= q(x) twice undoes it to the bit */
    for (int twice = 0; twice < 2; twice++) {
      seen = seen0 = (ebbk_range){.count = 5, .worst = 1}; /* added to */
      REFERENCE->fixed_add((ebb_fixed *)y0.p, y0.stride, x.p, x.stride, x.rows, x.c, &seen0);
      k->fixed_add((ebb_fixed *)y.p, y.stride, x.p, x.stride, x.rows, x.c, &seen);
      ck_assert_msg(same_bits(&y, &y0), "fixed_add differs from the reference");
      ck_assert_msg(seen.count == seen0.count && seen.worst == seen0.worst, "range of sums %zu %g, reference %zu %g",
                    (size_t)seen.count, seen.worst, (size_t)seen0.count, seen0.worst);
    }
    k->fixed_add((ebb_fixed *)y.p, y.stride, x.p, x.stride, x.rows, x.c, NULL);
    for (int thrice = 0; thrice < 3; thrice++)
      k->fixed_subtract((ebb_fixed *)y.p, y.stride, x.p, x.stride, x.rows, x.c);
    REFERENCE->fixed_subtract((ebb_fixed *)y0.p, y0.stride, x.p, x.stride, x.rows, x.c);
    REFERENCE->fixed_subtract((ebb_fixed *)y0.p, y0.stride, x.p, x.stride, x.rows, x.c);
    ck_assert_msg(same_bits(&y, &y0), "fixed_subtract differs from the reference");
    matrix again = matrix_copy(&y);
    k->fixed_from_real((ebb_fixed *)again.p, again.stride, x.p, x.stride, x.rows, x.c, NULL);
    ck_assert_msg(same_bits(&y, &again), "fixed_subtract does not undo fixed_add");
    expect_canaries(&y, "stream");
    matrix_free(&x), matrix_free(&y), matrix_free(&y0), matrix_free(&z), matrix_free(&z0), matrix_free(&again);
  }
}
END_TEST

/* Known values: ties to even, the clamp, the magnitude of a sum that wraps. */
START_TEST(stream_known)
{
  const ebbk_table *k = tables[_i];
  const float grid = 1 / EBB_FIXED_ONE;
  const float x[] = {0.5f * grid, 1.5f * grid, -2.5f * grid, 1, 2048, -2048, -3000, NAN};
  const ebb_fixed expected[] = {0, 2, -2, 1 << 20, 2147483520, INT32_MIN, INT32_MIN, 0};
  ebb_fixed y[8];
  ebbk_range seen = {0};
  k->fixed_from_real(y, 8, x, 8, 1, 8, &seen);
  ck_assert(memcmp(y, expected, sizeof y) == 0);
  ck_assert(seen.count == 3 && isinf(seen.worst)); /* 2048, -3000, NaN */
  ebb_fixed sum = 2000 << 20;
  float more = 100;
  seen = (ebbk_range){0};
  k->fixed_add(&sum, 1, &more, 1, 1, 1, &seen);
  ck_assert(seen.count == 1 && seen.worst == 2100);
  k->fixed_subtract(&sum, 1, &more, 1, 1, 1);
  ck_assert(sum == 2000 << 20);
}
END_TEST

/* ---- orthogonal mixing, squeeze, rotation ------------------------------------------------------------------------- */
/* Random reflections, and the matrix they are: columns of H_0 ... H_{k-2} diag(sign). */
typedef struct mixer { ebbk_mixing g; float *all; } mixer;

/* Row i right of i, of squares that are 1 at most together; 2 / v^T v. */
static float random_reflection(float *row, int i, int k)
{
  double vv = 0, scale = uniform();
  for (int j = i + 1; j < k; j++) {
    row[j] = (float)(2 * uniform() - 1);
    vv += (double)row[j] * (double)row[j];
  }
  for (int j = i + 1; j < k; j++) row[j] *= (float)sqrt(scale / vv);
  vv = 1;
  for (int j = i + 1; j < k; j++) vv += (double)row[j] * (double)row[j];
  return (float)(2 / vv);
}

static void turn_of(float *turn, const float *a, const float *beta, int i, int k)
{
  const float *one = a + (size_t)(i * k), *two = one + k;
  double       cross = (double)one[i + 1];
  for (int j = i + 2; j < k; j++) cross += (double)one[j] * (double)two[j];
  turn[i] = (float)((double)one[i + 1] - (double)beta[i + 1] * cross);
  turn[i + 1] = (float)((double)beta[i] * cross);
}

static mixer mixer_new(int groups, int k, bool shared)
{
  int    matrices = shared ? 1 : groups;
  size_t square = (size_t)k * (size_t)k, m = (size_t)matrices;
  float *all = calloc(m * (2 * square + 3 * (size_t)k), sizeof *all);
  float *mat = all, *a = mat + m * square, *beta = a + m * square, *turn = beta + m * (size_t)k, *sign = turn + m * (size_t)k;
  for (size_t q = 0; q < m; q++) {
    for (int i = 0; i < k; i++) {
      beta[q * (size_t)k + (size_t)i] = random_reflection(a + q * square + (size_t)(i * k), i, k);
      sign[q * (size_t)k + (size_t)i] = between(0, 1) ? 1 : -1;
      mat[q * square + (size_t)(i * k + i)] = sign[q * (size_t)k + (size_t)i];
    }
    for (int i = 0; i + 2 < k; i += 2) turn_of(turn + q * (size_t)k, a + q * square, beta + q * (size_t)k, i, k);
  }
  for (size_t q = 0; q < m; q++)
    for (int i = k - 2; i >= 0; i--)
      for (int c = 0; c < k; c++) {
        float *to = mat + q * square, *v = a + q * square + (size_t)(i * k);
        double sum = (double)to[i * k + c];
        for (int j = i + 1; j < k; j++) sum += (double)v[j] * (double)to[j * k + c];
        sum *= (double)beta[q * (size_t)k + (size_t)i];
        to[i * k + c] -= (float)sum;
        for (int j = i + 1; j < k; j++) to[j * k + c] -= (float)(sum * (double)v[j]);
      }
  return (mixer){{.groups = groups, .k = k, .matrices = matrices, .m = mat, .a = a, .beta = beta, .turn = turn, .sign = sign}, all};
}

/* Values of a stream, of size up to `most`. */
static matrix stream_random(size_t rows, int c, int gap, double most)
{
  matrix m = matrix_new(rows, c, gap);
  for (size_t r = 0; r < rows; r++)
    for (int j = 0; j < c; j++) {
      int32_t v = (int32_t)((2 * uniform() - 1) * most * (double)EBB_FIXED_ONE);
      memcpy(at(&m, r, j), &v, sizeof v);
    }
  return m;
}

static int32_t integer(const matrix *m, size_t r, int j)
{
  int32_t v;
  memcpy(&v, at(m, r, j), sizeof v);
  return v;
}

/* y = M x within the rounding of 2 k steps' shears. */
static void expect_product(const matrix *y, const matrix *x, const ebbk_mixing *g)
{
  for (size_t r = 0; r < x->rows; r++)
    for (int i = 0; i < x->c; i++) {
      int          group = i / g->k;
      const float *row = g->m + (ebbk_matrix_of(g, group) * (size_t)g->k + (size_t)(i % g->k)) * (size_t)g->k;
      double       sum = 0, size = 0;
      for (int j = 0; j < g->k; j++) {
        double v = integer(x, r, group * g->k + j);
        sum += (double)row[j] * v;
        size += fabs(v);
      }
      double error = fabs(sum - integer(y, r, i)), bound = 4 * g->k + 4e-7 * g->k * size;
      ck_assert_msg(error <= bound, "k %d: %.1f steps from the product, at most %.1f", g->k, error, bound);
    }
}

START_TEST(mixing)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 40; i++) {
    int    size = one_of(9, (int[]){1, 2, 3, 4, 8, 16, 27, 33, 70}), groups = between(1, 5), gap = between(0, 3);
    mixer  m = mixer_new(groups, size, between(0, 1));
    size_t rows = (size_t)between(1, i ? 60 : 3000);
    bool   beyond = i % 4 == 3;
    matrix x = stream_random(rows, groups * size, gap, beyond ? 2047 : 3), y = matrix_copy(&x);
    ebbk_range range = {0};
    EXPECT_SAME_BITS(y, "mix", k->mix((ebb_fixed *)y.p, y.stride, &m.g, rows, &range));
    expect_canaries(&y, "mix");
    if (!beyond) {
      ck_assert_uint_eq(range.count, 0);
      expect_product(&y, &x, &m.g);
      EXPECT_SAME_BITS(y, "unmix", k->unmix((ebb_fixed *)y.p, y.stride, &m.g, rows, &range));
      ck_assert_msg(same_bits(&x, &y), "unmix does not undo mix");
      k->unmix((ebb_fixed *)y.p, y.stride, &m.g, rows, &range);
      k->mix((ebb_fixed *)y.p, y.stride, &m.g, rows, &range);
      ck_assert_msg(same_bits(&x, &y), "mix does not undo unmix");
    } else if (size > 2 && rows > 20) {
      ck_assert_msg(range.count > 0 && range.worst > 2047, "k %d, %zu rows: nothing left the range", size, rows);
    }
    matrix_free(&x), matrix_free(&y), free(m.all);
  }
}
END_TEST

/* Many values: where two ways to a sum differ in their rounding, few values show it. */
START_TEST(mixing_undone)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 6; i++) {
    int    size = (int[]){4, 8, 31, 64, 128, 200}[i], groups = 256 / size;
    mixer  m = mixer_new(groups, size, true);
    matrix x = stream_random(k == REFERENCE ? 100 : 2000, groups * size, 0, 3), y = matrix_copy(&x);
    k->mix((ebb_fixed *)y.p, y.stride, &m.g, x.rows, NULL);
    k->unmix((ebb_fixed *)y.p, y.stride, &m.g, x.rows, NULL);
    ck_assert_msg(same_bits(&x, &y), "unmix does not undo mix of %d", size);
    matrix_free(&x), matrix_free(&y), free(m.all);
  }
}
END_TEST

START_TEST(mixing_gradient)
{
  for (int i = 0; i < 40; i++) {
    int    size = one_of(9, (int[]){1, 2, 3, 4, 8, 16, 27, 33, 70}), groups = between(1, 5), gap = between(0, 3);
    mixer  m = mixer_new(groups, size, between(0, 1));
    size_t rows = (size_t)between(1, i ? 300 : 5000);
    matrix x = stream_random(rows, groups * size, gap, 3), d = matrix_random(rows, groups * size, between(0, 3)), d0 = matrix_copy(&d);
    matrix dm = matrix_random((size_t)(m.g.matrices * size), size, 0), dm0 = matrix_copy(&dm);
    char  *scratch = malloc(tables[_i]->mix_scratch(&m.g, 3) + 1), *scratch0 = malloc(REFERENCE->mix_scratch(&m.g, 3) + 1);
    REFERENCE->mix_grad(dm0.p, d0.p, d0.stride, (ebb_fixed *)x.p, x.stride, &m.g, rows, scratch0);
    matrix start = matrix_copy(&d);
    EXPECT_SAME_BITS(dm, "mix_grad dm", memcpy(d.raw, start.raw, d.size * sizeof *d.raw);
                     tables[_i]->mix_grad(dm.p, d.p, d.stride, (ebb_fixed *)x.p, x.stride, &m.g, rows, scratch));
    expect_near(&d, &d0, 1e-5, "mix_grad dx");
    expect_near(&dm, &dm0, 2e-5, "mix_grad dm");
    matrix_free(&x), matrix_free(&start), free(m.all), free(scratch), free(scratch0);
  }
}
END_TEST

/* By the definition: output site q, channel c s + k is input site q stride + k, channel c. */
START_TEST(squeezing)
{
  const ebbk_table *k = tables[_i];
  for (int i = 0; i < 60; i++) {
    ebbk_squeeze g = {.n = between(1, 3), .c = channels(), .checkerboard = i % 5 == 0};
    int          out[3], s[3];
    for (int a = 0; a < 3; a++) {
      s[a] = g.stride[a] = g.checkerboard && a ? 2 : between(1, 3);
      out[a] = between(1, 5);
      g.in[a] = out[a] * s[a];
    }
    int    patch = s[0] * s[1] * s[2];
    size_t rows = (size_t)g.n * sites(g.in);
    matrix x = matrix_random(rows, g.c, 0), y = matrix_copy(&x);
    char  *scratch = malloc(k->squeeze_scratch(&g, 3) + 1);
    EXPECT_SAME_BITS(y, "squeeze", k->squeeze(y.p, &g, false, scratch));
    expect_canaries(&y, "squeeze");
    for (size_t site = 0; site < rows; site++) {
      int w = (int)(site % (size_t)g.in[2]), h = (int)(site / (size_t)g.in[2] % (size_t)g.in[1]);
      size_t d = site / (size_t)g.in[2] / (size_t)g.in[1];
      int    p = ((int)(d % (size_t)s[0]) * s[1] + h % s[1]) * s[2] + w % s[2];
      size_t q = (d / (size_t)s[0] * (size_t)out[1] + (size_t)(h / s[1])) * (size_t)out[2] + (size_t)(w / s[2]);
      for (int c = 0; c < g.c; c++) {
        static const int diagonals[] = {0, 2, 3, 1};
        int channel = g.checkerboard ? (p / 4 * 4 + diagonals[p % 4]) * g.c + c : c * patch + p;
        ck_assert_msg(y.p[q * (size_t)(g.c * patch) + (size_t)channel] == *at(&x, site, c), "squeeze: site %zu channel %d", site, c);
      }
    }
    k->squeeze(y.p, &g, true, scratch);
    ck_assert_msg(same_bits(&x, &y), "squeeze is not undone");
    matrix_free(&x), matrix_free(&y), free(scratch);
  }
}
END_TEST

START_TEST(rotation)
{
  for (int i = 0; i < 40; i++) {
    matrix x = matrix_random((size_t)between(1, 500), between(2, 70), between(0, 3)), y = matrix_copy(&x);
    int    count = between(1, x.c - 1);
    EXPECT_SAME_BITS(y, "rotate", tables[_i]->rotate(y.p, y.stride, count, y.rows, y.c));
    expect_canaries(&y, "rotate");
    for (size_t r = 0; r < x.rows; r++)
      for (int j = 0; j < x.c; j++) ck_assert(*at(&y, r, (j + count) % x.c) == *at(&x, r, j));
    matrix_free(&x), matrix_free(&y);
  }
}
END_TEST

/* ---- optimiser -------------------------------------------------------------------------------------------------- */
START_TEST(optimiser)
{
  for (int i = 0; i < 60; i++) {
    size_t n = (size_t)(i ? between(1, 3000) : 200001);
    matrix w = matrix_random(n, 1, 0), m = matrix_random(n, 1, 0), g = matrix_random(n, 1, 0);
    bool nesterov = between(0, 1), first = between(0, 1);
    matrix m0 = matrix_copy(&m), w0 = matrix_copy(&w);
    COMPARE(w, 1e-6, "sgd w", memcpy(m.raw, m0.raw, m.size * sizeof *m.raw);
            k->sgd(w.p, m.p, g.p, n, 0.1, 0.9, 1e-4, nesterov, first));
    COMPARE(m, 1e-6, "sgd m", memcpy(w.raw, w0.raw, w.size * sizeof *w.raw);
            k->sgd(w.p, m.p, g.p, n, 0.1, 0.9, 1e-4, nesterov, first));
    matrix over = matrix_copy(&g), apart = matrix_copy(&m), w1 = matrix_copy(&w); /* m may lie over g */
    tables[_i]->sgd(w.p, apart.p, g.p, n, 0.1, 0, 1e-4, nesterov, true);
    tables[_i]->sgd(w1.p, over.p, over.p, n, 0.1, 0, 1e-4, nesterov, true);
    ck_assert_msg(same_bits(&w, &w1) && same_bits(&apart, &over), "sgd with m over g");
    matrix_free(&over), matrix_free(&apart), matrix_free(&w1);
    for (int kin = 0; kin < 3; kin++) {
      ebbk_adam a = {0.01, 0.9, 0.99, 1e-8, 0.1, kin == 1, kin == 2, (uint64_t)between(1, 50)};
      matrix v = matrix_random(n, 1, 0);
      for (size_t j = 0; j < n; j++) *at(&v, j, 0) = fabsf(*at(&v, j, 0)) + 0.1f;
      matrix v0 = matrix_copy(&v), m1 = matrix_copy(&m), w2 = matrix_copy(&w);
      COMPARE(w, 2e-6, "adam w", memcpy(m.raw, m1.raw, m.size * sizeof *m.raw); memcpy(v.raw, v0.raw, v.size * sizeof *v.raw);
              k->adam(w.p, m.p, v.p, g.p, n, &a));
      COMPARE(v, 2e-6, "adam v", memcpy(m.raw, m1.raw, m.size * sizeof *m.raw); memcpy(w.raw, w2.raw, w.size * sizeof *w.raw);
              k->adam(w.p, m.p, v.p, g.p, n, &a));
      matrix_free(&v), matrix_free(&v0), matrix_free(&m1), matrix_free(&w2);
      memcpy(m.raw, m0.raw, m.size * sizeof *m.raw);
    }
    COMPARE(g, 0, "scale", k->scale(g.p, 0.3f, n));
    double a[3], a0 = REFERENCE->sum_squares(g.p, n);
    for (int t = 0; t < 3; t++) {
      ebb_threads_set(t + 1);
      a[t] = tables[_i]->sum_squares(g.p, n);
    }
    ck_assert(memcmp(a, a + 1, sizeof a - sizeof *a) == 0);
    ck_assert_msg(fabs(a[0] - a0) <= 1e-12 * a0, "sum of squares %.17g, reference %.17g", a[0], a0);
    matrix_free(&w), matrix_free(&m), matrix_free(&g), matrix_free(&m0), matrix_free(&w0);
  }
}
END_TEST

/* ---- dealing out work --------------------------------------------------------------------------------------------- */
enum { ITEMS_MOST = 100 };

/* One thread takes its own share first, in order, then all that others have, each once. */
START_TEST(dealing)
{
  int threads = _i;
  for (int items = 0; items <= ITEMS_MOST; items++) {
    deal d = deal_out((size_t)items, threads);
    int  taken[ITEMS_MOST] = {0}, count = 0;
    ck_assert_int_le(d.threads, threads);
    FOR_DEALT(i, d)
    {
      ck_assert_int_lt(i, items);
      if (count < items / threads) ck_assert_int_eq(i, count);
      taken[i]++;
      count++;
    }
    ck_assert_int_eq(count, items);
    for (int i = 0; i < items; i++) ck_assert_msg(taken[i] == 1, "%d threads: item %d of %d taken %d times", threads, i, items, taken[i]);
  }
}
END_TEST

/* Several threads take each item once, however they meet: shares are small, so that most of them are taken from the back. */
START_TEST(dealing_together)
{
  static atomic_int taken[ITEMS_MOST];
  int               threads = _i;
  for (int round = 0; round < 2000; round++) {
    int items = between(0, ITEMS_MOST), count = 0;
    for (int i = 0; i < items; i++) atomic_init(&taken[i], 0);
    deal d = deal_out((size_t)items, threads);
#pragma omp parallel num_threads(d.threads) reduction(+ : count)
    FOR_DEALT(i, d)
    {
      atomic_fetch_add(&taken[i], 1);
      count++;
    }
    ck_assert_int_eq(count, items);
    for (int i = 0; i < items; i++) ck_assert_int_eq(taken[i], 1);
  }
}
END_TEST

/* ---- the choice of a table -------------------------------------------------------------------------------------- */
START_TEST(start)
{
  ck_assert_str_eq(REFERENCE->isa, "reference");
  ck_assert_ptr_eq(ebbk, REFERENCE);
  unsetenv("EBB_ISA");
  ck_assert_int_eq(ebbk_start(), EBB_OK);
  ck_assert_ptr_eq(ebbk, tables[table_count - 1]);
  for (size_t i = 0; i < table_count; i++) {
    setenv("EBB_ISA", tables[i]->isa, 1);
    ck_assert_int_eq(ebbk_start(), EBB_OK);
    ck_assert_ptr_eq(ebbk, tables[i]);
  }
  setenv("EBB_ISA", "mmx", 1);
  ck_assert_int_eq(ebbk_start(), EBB_CONFIG);
  for (size_t i = 0; i < table_count; i++) ck_assert_ptr_nonnull(strstr(ebb_message(), tables[i]->isa));
}
END_TEST

int main(void)
{
  mallopt(M_MMAP_THRESHOLD, 256 << 20); /* keep freed memory: fresh pages are half of the time otherwise */
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  table_count = ebbk_tables(tables);
  Suite *suite = suite_create("kernels");
  TCase *fast = tcase_create("fast"), *all = tcase_create("all"), *choice = tcase_create("choice");
  tcase_set_timeout(fast, 600);
  tcase_set_timeout(all, 600);
  int n = (int)table_count;
  tcase_add_loop_test(fast, conv_random, 1, n);
  tcase_add_loop_test(fast, conv_shapes, 1, n);
  tcase_add_loop_test(all, conv_fused, 0, n);
  tcase_add_loop_test(all, conv_backward, 0, n);
  tcase_add_loop_test(all, affine_act_fused, 0, n);
  tcase_add_loop_test(all, conv_adjoint, 0, n);
  tcase_add_loop_test(fast, gemm, 1, n);
  tcase_add_loop_test(fast, column_sums, 1, n);
  tcase_add_loop_test(fast, moments, 1, n);
  tcase_add_loop_test(fast, affine_act, 1, n);
  tcase_add_loop_test(fast, elementwise, 1, n);
  tcase_add_loop_test(all, dropout_rate, 0, n);
  tcase_add_loop_test(fast, pooling, 1, n);
  tcase_add_loop_test(fast, upsampling, 1, n);
  tcase_add_loop_test(fast, loss, 1, n);
  tcase_add_loop_test(all, loss_known, 0, n);
  tcase_add_loop_test(fast, segment, 1, n);
  tcase_add_loop_test(fast, stream, 1, n);
  tcase_add_loop_test(all, stream_known, 0, n);
  tcase_add_loop_test(all, mixing, 0, n);
  tcase_add_loop_test(all, mixing_undone, 0, n);
  tcase_add_loop_test(fast, mixing_gradient, 1, n);
  tcase_add_loop_test(all, squeezing, 0, n);
  tcase_add_loop_test(all, rotation, 0, n);
  tcase_add_loop_test(fast, optimiser, 1, n);
  tcase_add_test(choice, start);
  tcase_add_loop_test(choice, dealing, 1, 41); /* more threads than shares too */
  tcase_add_loop_test(choice, dealing_together, 2, 5);
  suite_add_tcase(suite, fast);
  suite_add_tcase(suite, all);
  suite_add_tcase(suite, choice);
  return run_suite(suite);
}
