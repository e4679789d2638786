/* test_flows.c -- log|det| of the layers of normalizing flows against the determinant of their Jacobian by differences, and the
 * bijections of single values. Built in double. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "compose/catalogue.h"
#include "compose/chain.h"
#include "compose/plan.h"
#include "compose/sequence.h"
#include "kernels/kernels.h"
#include "models/models.h"
#include "reversible/reversible.h"
#include "tests/suite.h"

/* D = D H W C of one sample is at most 24. */
static const ebb_shape shapes[] = {
    {.rank = 2, .n = 2, .d = 1, .h = 2, .w = 2, .c = 6}, {.rank = 2, .n = 3, .d = 1, .h = 3, .w = 3, .c = 2},
    {.rank = 1, .n = 2, .d = 1, .h = 1, .w = 5, .c = 4}, {.rank = 1, .n = 4, .d = 1, .h = 1, .w = 1, .c = 7},
    {.rank = 3, .n = 1, .d = 2, .h = 2, .w = 1, .c = 6},
};
enum { SHAPES = sizeof shapes / sizeof *shapes, MOST = 24 };

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){17, EBB_RNG_TEST, what}, i);
}

/* A model of one layer. */
typedef struct bench {
  ebb_model     model;
  ebb_plan      plan;
  ebb_pool      pool;
  ebb_workspace work;
  ebb_policy    policy;
  ebb_shape     s;
  ebb_real     *x, *dx;
  size_t        d; /* values of a sample */
} bench;

/* Weights and an input, of t->model. */
static void bench_fill(bench *t)
{
  ebb_plan_make(&t->plan, &t->model, t->s, (ebb_plan_options){.policy = t->policy, .training = true, .input_gradient = true}, &t->pool);
  ck_assert(ebb_workspace_create(&t->work, &t->model, &t->plan) == EBB_OK);
  ebb_model_initialise(&t->model, t->work.weights, t->work.state, 3);
  for (size_t i = 0; i < t->model.weights; i++) t->work.weights[i] += 0.1 * noise(1, i);
  t->d = ebb_count(t->s) / (size_t)t->s.n;
  t->x = ebb_pool_take(&t->pool, ebb_bytes(t->s));
  t->dx = ebb_pool_take(&t->pool, ebb_bytes(t->s));
  for (size_t i = 0; i < ebb_count(t->s); i++) t->x[i] = noise(2, i);
}

static void bench_run(bench *t, ebb_builder *b, ebb_layer *l)
{
  ebb_sequence *s = ebb_sequence_open(b, "root", 1);
  ebb_sequence_add(s, l);
  ck_assert_msg(ebb_model_end(&t->model, b, ebb_sequence_close(s)) == EBB_OK, "%s", ebb_message());
  bench_fill(t);
}

static void bench_close(bench *t)
{
  ebb_workspace_destroy(&t->work);
  ebb_model_destroy(&t->model);
  ebb_pool_clear(&t->pool);
}

static void pass(bench *t, ebb_pass which, ebb_real *y)
{
  ebb_view out;
  t->work.run.pass = which;
  ebb_forward(&t->work.run, &t->model, ebb_view_of(t->x, t->s), &out);
  memcpy(y, out.p, ebb_bytes(t->s));
  ebb_release(&t->work.run);
}

static void forward(bench *t, ebb_real *y)
{
  pass(t, EBB_EVAL, y);
}

/* log|det| by elimination with pivots. */
static double logdet_of(double *m, size_t n)
{
  double sum = 0;
  for (size_t k = 0; k < n; k++) {
    size_t best = k;
    for (size_t i = k + 1; i < n; i++)
      if (fabs(m[i * n + k]) > fabs(m[best * n + k])) best = i;
    for (size_t j = 0; j < n; j++) {
      double v = m[k * n + j];
      m[k * n + j] = m[best * n + j], m[best * n + j] = v;
    }
    sum += log(fabs(m[k * n + k]));
    for (size_t i = k + 1; i < n; i++)
      for (size_t j = n; j-- > k;) m[i * n + j] -= m[i * n + k] / m[k * n + k] * m[k * n + j];
  }
  return sum;
}

/* Column j of sample n's Jacobian, by differences of sixth order, whose steps are short lest they meet the knot of a spline; other
 * samples must not move. */
static void jacobian_column(bench *t, double *m, int n, size_t j)
{
  const double  h = 1e-4, factor[3] = {45, -9, 1};
  ebb_real      y[2][4 * MOST], *at = t->x + (size_t)n * t->d + j, x = *at;
  double        sum[4 * MOST] = {0};
  for (int k = 0; k < 3; k++) {
    for (int side = 0; side < 2; side++) {
      *at = x + (side ? -1 : 1) * (k + 1) * h;
      forward(t, y[side]);
    }
    for (size_t i = 0; i < ebb_count(t->s); i++) sum[i] += factor[k] * (y[0][i] - y[1][i]) / (60 * h);
  }
  *at = x;
  for (size_t i = 0; i < ebb_count(t->s); i++) {
    if (i / t->d == (size_t)n) m[i % t->d * t->d + j] = sum[i];
    else ck_assert_msg(sum[i] == 0, "%s: sample %d moves sample %zu", t->model.name, n, i / t->d);
  }
}

static void expect_logdet(bench *t)
{
  double   m[MOST * MOST], logdet[4];
  ebb_real y[4 * MOST];
  forward(t, y);
  for (int n = 0; n < t->s.n; n++) logdet[n] = t->work.run.logdet ? t->work.run.logdet[n] : 0;
  for (int n = 0; n < t->s.n; n++) {
    for (size_t j = 0; j < t->d; j++) jacobian_column(t, m, n, j);
    double expected = logdet_of(m, t->d);
    ck_assert_msg(fabs(logdet[n] - expected) <= 1e-10 * fmax(1, fabs(expected)), "%s: log|det| %.14g, of the Jacobian %.14g",
                  t->model.name, logdet[n], expected);
  }
}

/* Reversible layers that have none keep volumes. */
START_TEST(logdet_is_that_of_the_jacobian)
{
  const ebb_layer_ops *ops = ebb_catalogue_at((size_t)_i);
  int                  fits = 0;
  if (!ops->logdet && (!ops->inverse || ops->child)) return;
  for (int i = 0; i < SHAPES; i++) {
    bench       t = {.s = shapes[i]};
    ebb_builder b;
    ebb_model_begin(&t.model, &b, ops->name, t.s);
    ebb_layer *l = ops->make(&b, "layer", t.s);
    if (ebb_layer_shape(l, t.s).rank == 0) {
      ebb_model_destroy(&t.model);
      continue;
    }
    fits++;
    bench_run(&t, &b, l);
    expect_logdet(&t);
    bench_close(&t);
  }
  ck_assert_msg(fits >= 3 || !ops->logdet, "%s takes %d of the shapes", ops->name, fits);
}
END_TEST

/* conv, actnorm, ReLU, conv: F of Glow, in small. */
static ebb_layer *network(ebb_builder *b, const char *name, int in, int out)
{
  const char   *outer = ebb_scope_enter(b, "%s", name);
  ebb_sequence *s = ebb_sequence_open(b, "f", 8);
  ebb_sequence_add(s, ebb_conv(b, "conv1", (ebb_conv_options){.in = in, .out = 8, .kernel = 3, .pad = 1}));
  ebb_sequence_add(s, ebb_border(b, "edge", 8, 3, 0.1));
  ebb_sequence_add(s, ebb_actnorm(b, "norm", 8, true));
  ebb_sequence_add(s, ebb_softplus_ops.make(b, "act", (ebb_shape){0})); /* smooth, for the differences' sake */
  ebb_sequence_add(s, ebb_conv(b, "conv2", (ebb_conv_options){.in = 8, .out = out, .kernel = 3, .pad = 1}));
  ebb_sequence_add(s, ebb_limit(b, "limit", out, EBB_LIMIT_TANH));
  b->scope = outer;
  return ebb_sequence_close(s);
}

/* Two levels: chessboard coupling, batch norm, squeeze, [actnorm, invertible convolution, coupling], and the half that goes on likewise,
 * with a batch norm, and then through a coupling with nothing. */
static ebb_layer *two_levels(ebb_builder *b)
{
  ebb_chain *inner = ebb_chain_open(b, "inner", 6), *outer = ebb_chain_open(b, "outer", 8);
  ebb_parts  board = {.channels = 1, .colour = EBBK_BLACK}, half = {.channels = 4, .first = 2, .second = true}, part = {.channels = 2, .first = 1}, all = {.channels = 2, .second = true};
  ebb_chain_add(inner, ebb_actnorm(b, "norm2", 2, true));
  ebb_chain_add(inner, ebb_invertible_conv(b, "mix2", 2));
  ebb_chain_add(inner, ebb_flow_coupling(b, "coupling2", part, ebb_affine(), network(b, "net2", 1, 2)));
  ebb_chain_add(inner, ebb_flow_norm(b, "batch2", 2));
  ebb_chain_add(inner, ebb_flow_coupling(b, "top", all, ebb_affine(), network(b, "net3", 2, 4)));
  ebb_chain_add(outer, ebb_flow_coupling(b, "board", board, ebb_affine(), network(b, "net0", 1, 2)));
  ebb_chain_add(outer, ebb_flow_norm(b, "batch0", 1));
  ebb_chain_add(outer, ebb_squeeze(b, "squeeze", (int[]){1, 2, 2}, false));
  ebb_chain_add(outer, ebb_actnorm(b, "norm1", 4, true));
  ebb_chain_add(outer, ebb_invertible_conv(b, "mix1", 4));
  ebb_chain_add(outer, ebb_flow_coupling(b, "coupling1", half, ebb_affine(), network(b, "net1", 2, 4)));
  ebb_chain_add(outer, ebb_split(b, "level", 4, 2, ebb_chain_close(inner)));
  return ebb_chain_close(outer);
}

START_TEST(logdet_of_a_whole_flow)
{
  bench       t = {.s = {.rank = 2, .n = 2, .d = 1, .h = 4, .w = 6, .c = 1}};
  ebb_builder b;
  ebb_model_begin(&t.model, &b, "flow", t.s);
  bench_run(&t, &b, two_levels(&b));
  expect_logdet(&t);
  bench_close(&t);
}
END_TEST

/* ---- the networks that users have ------------------------------------------------------------------------------------ */
#define GREY {.rank = 2, .n = 2, .d = 1, .h = 4, .w = 4, .c = 1}
#define ROW {.rank = 1, .n = 3, .d = 1, .h = 1, .w = 1, .c = 7}
static const struct network { const char *name, *options; ebb_shape s; } networks[] = {
    {"glow", "levels=2 steps=2 width=4 grey_levels=4", GREY},
    {"glow", "levels=2 steps=2 width=4 grey_levels=4 scale=sigmoid permutation=plu", GREY},
    {"glow", "levels=2 steps=2 width=4 grey_levels=4 coupling=additive permutation=orthogonal", GREY},
    {"glow", "levels=1 steps=2 width=4 grey_levels=4 permutation=random", GREY},
    {"glow", "levels=2 steps=2 width=4 grey_levels=4 permutation=reverse", GREY},
    {"realnvp", "levels=2 width=2 blocks=1 grey_levels=4", GREY},
    {"realnvp", "levels=2 width=2 blocks=1 grey_levels=4 norm=batch", GREY},
    {"realnvp-tabular", "layers=4 width=8 blocks=1", ROW},
    {"spline-flow", "layers=3 bins=4 bound=2 width=8 blocks=1", ROW},
};
enum { NETWORKS = sizeof networks / sizeof *networks };

static void network_open(bench *t, const char *name, const char *words, ebb_shape s)
{
  const ebb_network *n = ebb_network_find(name);
  void              *options = ebb_pool_take(&t->pool, n->options_size);
  t->s = s;
  ck_assert_msg(ebb_network_options(n, options, words, &t->pool) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_network_model(&t->model, n, options, s, 0) == EBB_OK, "%s", ebb_message());
  bench_fill(t);
  for (size_t i = 0; i < ebb_count(s) && s.rank == 2; i++) t->x[i] = 1.5 + tanh(t->x[i]); /* grey levels 0 to 3 */
}

START_TEST(logdet_of_networks)
{
  bench t = {0};
  network_open(&t, networks[_i].name, networks[_i].options, networks[_i].s);
  expect_logdet(&t);
  bench_close(&t);
}
END_TEST

/* Its couplings are additive, on a grid that differences do not see: what is left are the scales of all values, and the grey levels'. */
START_TEST(nice_changes_volumes_by_its_scales_alone)
{
  bench    t = {0};
  ebb_real y[4 * MOST];
  double   expected = -16 * log(4);
  network_open(&t, "nice", "couplings=3 hidden=1 width=5 grey_levels=4", (ebb_shape)GREY);
  forward(&t, y);
  for (const ebb_param *p = t.model.params; p; p = p->next)
    for (size_t i = 0; strcmp(p->name, "scale.logs") == 0 && i < p->count; i++) expected += t.work.weights[p->offset + i];
  for (int n = 0; n < t.s.n; n++) ck_assert_double_eq_tol(t.work.run.logdet[n], expected, 1e-12 * fabs(expected));
  ck_assert(fabs(expected + 16 * log(4)) > 0.01);
  bench_close(&t);
}
END_TEST

/* A convolution of c channels and one that is 1 on the padding, which is a pad of its own in front of it. */
START_TEST(border_is_a_channel_of_the_padding)
{
  enum { N = 2, H = 3, W = 4, C = 2, O = 3, K = 3 };
  ebb_real   image[N * H * W * C], padded[N * (H + 2) * (W + 2) * (C + 1)] = {0}, w[K * K * (C + 1) * O], inner[K * K * C * O],
             edge[K * K * O], y[N * H * W * O], expected[N * H * W * O];
  ebbk_conv   same = {.n = N, .in = {1, H, W}, .ci = C, .out = {1, H, W}, .co = O, .kernel = {1, K, K}, .stride = {1, 1, 1}, .pad = {0, 1, 1}};
  ebbk_conv   valid = {.n = N, .in = {1, H + 2, W + 2}, .ci = C + 1, .out = {1, H, W}, .co = O, .kernel = {1, K, K}, .stride = {1, 1, 1}};
  ebbk_border g = {.n = N, .size = {1, H, W}, .kernel = {1, K, K}, .c = O};
  for (size_t i = 0; i < sizeof image / sizeof *image; i++) image[i] = noise(1, i);
  for (size_t i = 0; i < sizeof w / sizeof *w; i++) w[i] = noise(2, i);
  for (int t = 0; t < K * K; t++)
    for (int o = 0; o < O; o++) {
      for (int c = 0; c < C; c++) inner[(t * C + c) * O + o] = w[(t * (C + 1) + c) * O + o];
      edge[t * O + o] = w[(t * (C + 1) + C) * O + o];
    }
  for (int n = 0; n < N; n++)
    for (int h = -1; h <= H; h++)
      for (int v = -1; v <= W; v++) {
        ebb_real *to = padded + ((n * (H + 2) + h + 1) * (W + 2) + v + 1) * (C + 1);
        bool      inside = h >= 0 && h < H && v >= 0 && v < W;
        for (int c = 0; c < C && inside; c++) to[c] = image[((n * H + h) * W + v) * C + c];
        to[C] = !inside;
      }
  size_t bytes = ebbk->conv_scratch(&same, 1) + ebbk->conv_scratch(&valid, 1);
  void  *scratch = aligned_alloc(64, (bytes + 63) / 64 * 64 + 64);
  ebbk->conv_forward(ebbk_over(expected, O), ebbk_read(padded, C + 1), w, NULL, &valid, scratch);
  ebbk->conv_forward(ebbk_over(y, O), ebbk_read(image, C), inner, NULL, &same, scratch);
  ebbk_border_add(y, O, edge, &g);
  for (size_t i = 0; i < sizeof y / sizeof *y; i++) ck_assert_double_eq_tol(y[i], expected[i], 1e-12);
  free(scratch);
}
END_TEST

/* ---- gradients of the negative log-likelihood under a normal distribution, n sum -log p(x) ----------------------------- */
static double likelihood(bench *t)
{
  double   sum = 0;
  ebb_real y[4 * MOST];
  pass(t, EBB_TRAIN, y);
  for (size_t i = 0; i < ebb_count(t->s); i++) sum += 0.5 * y[i] * y[i];
  for (int n = 0; n < t->s.n; n++) sum -= t->work.run.logdet[n];
  return sum;
}

static void train(bench *t)
{
  ebb_run *r = &t->work.run;
  ebb_view y;
  memset(t->work.grads, 0, t->model.weights * sizeof(ebb_real));
  r->pass = EBB_TRAIN;
  r->dlogdet = -1;
  ebb_forward(r, &t->model, ebb_view_of(t->x, t->s), &y);
  ebb_view dy = ebb_scratch_view(r, y.s);
  memcpy(dy.p, y.p, ebb_bytes(y.s));
  ebb_backward(r, &t->model, ebb_view_of(t->x, t->s), dy, ebb_view_of(t->dx, t->s));
  ck_assert_msg(ebb_workspace_peak(&t->work, 0) == t->plan.peak, "peak %zu, plan %zu", ebb_workspace_peak(&t->work, 0), t->plan.peak);
}

static void expect_slope(bench *t, ebb_real *at, double analytic, const char *what)
{
  const double h = 1e-4, x = *at, factor[3] = {45, -9, 1};
  double       sum = 0;
  for (int k = 0; k < 3; k++)
    for (int side = 0; side < 2; side++) {
      *at = x + (side ? -1 : 1) * (k + 1) * h;
      sum += (side ? -1 : 1) * factor[k] * likelihood(t) / (60 * h);
    }
  *at = x;
  ck_assert_msg(fabs(sum - analytic) <= 1e-7 * fmax(1, fabs(sum)), "%s, %s: analytic %.12g, difference %.12g",
                ebb_policy_names[t->policy], what, analytic, sum);
}

START_TEST(gradients_of_a_whole_flow)
{
  bench       t = {.policy = (ebb_policy)_i, .s = {.rank = 2, .n = 2, .d = 1, .h = 4, .w = 6, .c = 1}};
  ebb_builder b;
  ebb_model_begin(&t.model, &b, "flow", t.s);
  bench_run(&t, &b, two_levels(&b));
  train(&t);
  for (size_t i = 0; i < ebb_count(t.s); i++) expect_slope(&t, &t.x[i], t.dx[i], "x");
  for (const ebb_param *p = t.model.params; p; p = p->next)
    for (size_t i = 0; i < p->count; i += p->count / 8 + 1)
      expect_slope(&t, &t.work.weights[p->offset + i], t.work.grads[p->offset + i], p->name);
  bench_close(&t);
}
END_TEST

/* A spline is the identity at parameters 0 and outside its bounds, continuous in value and slope where they meet, and its inverse
 * undoes it. */
START_TEST(splines_join_the_identity)
{
  ebbk_bijection f = ebb_spline(8, 3);
  double         zero[EBBK_PARAMS_MOST] = {0}, p[EBBK_PARAMS_MOST], slope;
  for (int k = 0; k < f.params; k++) p[k] = noise(3, (size_t)k);
  for (double x = -5; x <= 5; x += 0.0625) {
    ck_assert(fabs(f.forward(&f, x, zero, &slope) - x) < 1e-14 && fabs(slope) < 1e-14);
    double y = f.forward(&f, x, p, &slope);
    ck_assert_msg(fabs(f.inverse(&f, y, p) - x) < 1e-12, "inverse at %g: %.16g", x, f.inverse(&f, y, p));
    if (fabs(x) >= 3) ck_assert(y == x && slope == 0);
  }
  for (int side = -1; side <= 1; side += 2) {
    double y = f.forward(&f, side * (3 - 1e-9), p, &slope);
    ck_assert_msg(fabs(y - side * 3) < 1e-8 && fabs(slope) < 1e-6, "at %d: %.12g, log slope %.3g", 3 * side, y, slope);
  }
}
END_TEST

/* The first batch leaves actnorm with mean 0 and mean square 1. */
START_TEST(actnorm_begins_by_the_first_batch)
{
  bench       t = {.s = {.rank = 2, .n = 4, .d = 1, .h = 2, .w = 2, .c = 6}};
  ebb_builder b;
  ebb_real    y[4 * MOST];
  ebb_model_begin(&t.model, &b, "actnorm", t.s);
  bench_run(&t, &b, ebb_actnorm(&b, "layer", t.s.c, true));
  for (size_t i = 0; i < ebb_count(t.s); i++) t.x[i] = 3 + t.x[i] * (double)(1 + i % 6);
  t.work.run.first = t.work.weights;
  forward(&t, y);
  t.work.run.first = NULL;
  forward(&t, y);
  for (int c = 0; c < t.s.c; c++) {
    double mean = 0, square = 0;
    for (size_t i = 0; i < ebb_sites(t.s); i++) mean += y[i * 6 + (size_t)c] / 16, square += y[i * 6 + (size_t)c] * y[i * 6 + (size_t)c] / 16;
    ck_assert_msg(fabs(mean) < 1e-12 && fabs(square - 1) < 1e-5, "channel %d: mean %g, mean square %g", c, mean, square);
  }
  bench_close(&t);
}
END_TEST

static void expect_same(const ebb_real *a, const ebb_real *b, size_t count, const char *what)
{
  for (size_t i = 0; i < count; i++) ck_assert_msg(fabs(a[i] - b[i]) < 1e-12, "%s: %.15g, expected %.15g", what, a[i], b[i]);
}

/* In training the batch comes out with mean 0 and mean square var / (var + eps), and log|det| by its variance; its inverse undoes that,
 * and once a step a tenth of the statistics goes into the running ones, by which an evaluation goes. */
START_TEST(flow_norm_goes_by_the_batch_or_by_what_ran)
{
  bench       t = {.s = {.rank = 2, .n = 4, .d = 1, .h = 2, .w = 2, .c = 6}};
  ebb_builder b;
  ebb_run    *r = &t.work.run;
  ebb_view    y;
  double      logdet = 0;
  ebb_model_begin(&t.model, &b, "flow_norm", t.s);
  bench_run(&t, &b, ebb_flow_norm(&b, "layer", t.s.c));
  for (size_t i = 0; i < ebb_count(t.s); i++) t.x[i] = 3 + t.x[i] * (double)(1 + i % 6);
  r->pass = EBB_TRAIN;
  ebb_forward(r, &t.model, ebb_view_of(t.x, t.s), &y);
  for (size_t c = 0; c < 6; c++) {
    double mean = 0, var = 0, ymean = 0, square = 0;
    for (size_t i = 0; i < 16; i++) mean += t.x[6 * i + c] / 16, ymean += ebb_reals(y)[6 * i + c] / 16;
    for (size_t i = 0; i < 16; i++) var += pow(t.x[6 * i + c] - mean, 2) / 16, square += pow(ebb_reals(y)[6 * i + c], 2) / 16;
    ck_assert_double_eq_tol(ymean, 0, 1e-12);
    ck_assert_double_eq_tol(square, var / (var + 1e-5), 1e-12);
    ck_assert_double_eq_tol(t.work.state[c], 0.1 * mean, 1e-12);
    ck_assert_double_eq_tol(t.work.state[6 + c], 0.9 + 0.1 * var * 16 / 15, 1e-12);
    logdet -= 4 * 0.5 * log(var + 1e-5);
  }
  for (int n = 0; n < t.s.n; n++) ck_assert_double_eq_tol(r->logdet[n], logdet, 1e-12);
  ebb_inverse_layer(t.model.root->ops->child(t.model.root, 0), r, y);
  expect_same(ebb_reals(y), t.x, ebb_count(t.s), "x again");
  ebb_release(r);
  expect_logdet(&t);
  ebb_forward(r, &t.model, ebb_view_of(t.x, t.s), &y);
  ebb_inverse_layer(t.model.root->ops->child(t.model.root, 0), r, y);
  expect_same(ebb_reals(y), t.x, ebb_count(t.s), "x again, in an evaluation");
  ebb_release(r);
  bench_close(&t);
}
END_TEST

/* ---- W = P L (U + diag(s)) ---------------------------------------------------------------------------------------------- */
/* A PLU form whose weights have moved by `spread` from what they began with, and, of the same W, the plain form. */
static void both_forms(bench t[2], double spread)
{
  enum { C = 6 };
  ebb_builder b;
  for (int i = 0; i < 2; i++) {
    t[i] = (bench){.policy = EBB_STORE, .s = shapes[0]};
    ebb_model_begin(&t[i].model, &b, i ? "plain" : "plu", t[i].s);
    bench_run(&t[i], &b, i ? ebb_invertible_conv(&b, "layer", C) : ebb_plu_conv(&b, "layer", C));
  }
  ebb_model_initialise(&t->model, t->work.weights, t->work.state, 3);
  ebb_real *w = t->work.weights, *plain = t[1].work.weights, *sign = t->work.state, *order = sign + C, v[C][C] = {{0}};
  for (int i = 0; i < C * C; i++) w[i] += spread * noise(1, (size_t)i);
  for (int i = 0; i < C; i++)
    for (int j = i; j < C; j++) v[i][j] = i == j ? sign[i] * exp(w[i * C + i]) : w[i * C + j];
  for (int i = 0; i < C; i++)
    for (int j = 0; j < C; j++) {
      ebb_real *to = &plain[(int)order[i] * C + j];
      *to = v[i][j];
      for (int m = 0; m < i; m++) *to += w[i * C + m] * v[m][j];
    }
}

START_TEST(plu_is_the_plain_form_of_the_same_matrix)
{
  bench    t[2];
  ebb_real y[2][4 * MOST];
  both_forms(t, 0.2);
  for (int i = 0; i < 2; i++) {
    forward(&t[i], y[i]);
    train(&t[i]);
  }
  expect_same(y[0], y[1], ebb_count(t->s), "y");
  expect_same(t[0].work.run.logdet, t[1].work.run.logdet, (size_t)t->s.n, "log|det|");
  expect_same(t[0].dx, t[1].dx, ebb_count(t->s), "dx");
  for (int i = 0; i < 2; i++) {
    ebb_view x = ebb_view_of(y[i], t->s);
    ebb_inverse_layer(t[i].model.root->ops->child(t[i].model.root, 0), &t[i].work.run, x);
    expect_same(y[i], t[i].x, ebb_count(t->s), "x again");
    bench_close(&t[i]);
  }
}
END_TEST

/* It begins as the orthogonal matrix that the plain form begins as, by the seed, with multipliers of at most 1. */
START_TEST(plu_begins_as_the_plain_form)
{
  bench    t[2];
  ebb_real w[36];
  both_forms(t, 0);
  memcpy(w, t[1].work.weights, sizeof w);
  ebb_model_initialise(&t[1].model, t[1].work.weights, t[1].work.state, 3);
  expect_same(w, t[1].work.weights, 36, "W");
  for (int i = 0; i < 6; i++)
    for (int j = 0; j < i; j++) ck_assert(fabs(t->work.weights[i * 6 + j]) <= 1);
  for (int i = 0; i < 2; i++) bench_close(&t[i]);
}
END_TEST

/* The seed says which order, and each place comes once. */
START_TEST(orders_are_drawn_by_the_seed)
{
  enum { C = 24 };
  bench       t = {.s = {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = C}};
  ebb_builder b;
  ebb_real    first[C];
  int         moved = 0, changed = 0, seen[C] = {0};
  ebb_model_begin(&t.model, &b, "permute", t.s);
  bench_run(&t, &b, ebb_permute(&b, "layer", C, NULL));
  memcpy(first, t.work.state, sizeof first);
  for (int i = 0; i < C; i++) seen[(int)first[i]]++, moved += first[i] != i;
  for (int i = 0; i < C; i++) ck_assert_int_eq(seen[i], 1);
  ebb_model_initialise(&t.model, t.work.weights, t.work.state, 4);
  for (int i = 0; i < C; i++) changed += t.work.state[i] != first[i];
  ck_assert(moved > C / 2 && changed > C / 2);
  bench_close(&t);
}
END_TEST

/* A matrix without an inverse is an event that names the layer, and nothing worse. */
START_TEST(singular_matrices_are_told)
{
  bench       t = {.s = shapes[0]};
  ebb_builder b;
  ebb_real    y[4 * MOST];
  ebb_model_begin(&t.model, &b, "singular", t.s);
  bench_run(&t, &b, ebb_invertible_conv(&b, "layer", t.s.c));
  for (int j = 0; j < t.s.c; j++) t.work.weights[j] = t.work.weights[t.s.c + j] + 1e-13 * j; /* but for rounding */
  forward(&t, y);
  ck_assert_str_eq(t.work.run.events.singular, "layer");
  ck_assert(isinf(t.work.run.logdet[0]));
  bench_close(&t);
}
END_TEST

START_TEST(diagonals_near_zero_are_told)
{
  static const double logs[] = {-30, 30, NAN};
  bench               t = {.s = shapes[0]};
  ebb_builder         b;
  ebb_real            y[4 * MOST];
  ebb_model_begin(&t.model, &b, "singular", t.s);
  bench_run(&t, &b, ebb_plu_conv(&b, "layer", t.s.c));
  forward(&t, y);
  ck_assert_ptr_null(t.work.run.events.singular);
  t.work.weights[2 * t.s.c + 2] = logs[_i];
  forward(&t, y);
  ck_assert_str_eq(t.work.run.events.singular, "layer");
  bench_close(&t);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("flows");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, logdet_is_that_of_the_jacobian, 0, (int)ebb_catalogue_count());
  tcase_add_test(all, logdet_of_a_whole_flow);
  tcase_add_loop_test(all, logdet_of_networks, 0, NETWORKS);
  tcase_add_test(all, nice_changes_volumes_by_its_scales_alone);
  tcase_add_test(all, border_is_a_channel_of_the_padding);
  tcase_add_loop_test(all, gradients_of_a_whole_flow, 0, EBB_POLICIES);
  tcase_add_test(all, splines_join_the_identity);
  tcase_add_test(all, actnorm_begins_by_the_first_batch);
  tcase_add_test(all, singular_matrices_are_told);
  tcase_add_test(all, flow_norm_goes_by_the_batch_or_by_what_ran);
  tcase_add_loop_test(all, diagonals_near_zero_are_told, 0, 3);
  tcase_add_test(all, plu_is_the_plain_form_of_the_same_matrix);
  tcase_add_test(all, plu_begins_as_the_plain_form);
  tcase_add_test(all, orders_are_drawn_by_the_seed);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
