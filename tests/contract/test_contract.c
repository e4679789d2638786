/* test_contract.c -- what every layer must hold, looped over the table of layers.
 * Owns: the battery. A new layer is in it by its row in compose/layers.def. The program is built in float, where bits are
 * compared, and in double, where gradients are compared with differences. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "compose/catalogue.h"
#include "compose/plan.h"
#include "compose/sequence.h"
#include "compose/spans.h"
#include "kernels/kernels.h"
#include "layers/layers.h"
#include "reversible/reversible.h"
#include "tests/suite.h"

/* Odd channels, one pixel, one sample, 1-D to 3-D. */
static const ebb_shape shapes[] = {
    {.rank = 2, .n = 2, .d = 1, .h = 6, .w = 4, .c = 6},   {.rank = 2, .n = 3, .d = 1, .h = 5, .w = 7, .c = 4},
    {.rank = 1, .n = 2, .d = 1, .h = 1, .w = 9, .c = 6},   {.rank = 3, .n = 2, .d = 4, .h = 4, .w = 2, .c = 4},
    {.rank = 2, .n = 1, .d = 1, .h = 8, .w = 8, .c = 18},  {.rank = 2, .n = 4, .d = 1, .h = 2, .w = 2, .c = 34},
    {.rank = 2, .n = 3, .d = 1, .h = 3, .w = 3, .c = 5},   {.rank = 2, .n = 5, .d = 1, .h = 1, .w = 1, .c = 8},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* One layer between the doors it needs, with memory, inputs and results. */
typedef struct bench {
  ebb_model       model;
  const ebb_layer *layer;
  ebb_plan        plan;
  ebb_pool        pool;
  ebb_workspace   work;
  ebb_shape       xs, ys;
  ebb_real       *x, *u, *y, *dx; /* u: the gradient that comes from above */
} bench;

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){7, EBB_RNG_TEST, what}, i);
}

static ebb_real *reals(bench *t, size_t count, uint32_t what)
{
  ebb_real *p = ebb_pool_take(&t->pool, count * sizeof *p);
  for (size_t i = 0; what && i < count; i++) p[i] = (ebb_real)noise(what, i);
  return p;
}

/* What reversible layers work on: the fixed-point stream, where they are exact, or real values. */
typedef enum domain { STREAM, REAL, DOMAINS } domain;

/* Builds [quantise] layer [dequantise], or the layer alone; false: it does not take this shape, or not this domain. */
static bool bench_open(bench *t, size_t row, ebb_shape x, domain on, ebb_policy policy)
{
  const ebb_layer_ops *ops = ebb_catalogue_at(row);
  ebb_builder          b;
  *t = (bench){.xs = x};
  ebb_model_begin(&t->model, &b, ops->name, x);
  ebb_sequence *s = ebb_sequence_open(&b, "root", 3);
  ebb_layer    *l = ops->make(&b, "layer", x);
  ebb_shape     in = x;
  in.stream = on == STREAM;
  ebb_shape out = ebb_layer_shape(l, in);
  if (on == STREAM) ebb_sequence_add(s, ebb_quantise(&b, "in"));
  ebb_sequence_add(s, l);
  if (out.stream) ebb_sequence_add(s, ebb_dequantise(&b, "out"));
  t->layer = l;
  if (out.rank == 0 || ebb_model_end(&t->model, &b, ebb_sequence_close(s)) != EBB_OK) {
    ebb_model_destroy(&t->model);
    return false;
  }
  ebb_plan_make(&t->plan, &t->model, x, (ebb_plan_options){.policy = policy, .training = true, .input_gradient = true}, &t->pool);
  ck_assert_msg(ebb_workspace_create(&t->work, &t->model, &t->plan) == EBB_OK, "%s", ebb_message());
  ebb_model_initialise(&t->model, t->work.weights, t->work.state, 11);
  for (size_t i = 0; i < t->model.weights; i++) t->work.weights[i] += (ebb_real)(0.1 * noise(3, i)); /* no zeros */
  t->ys = ebb_layer_shape(t->model.root, x);
  t->x = reals(t, ebb_count(x), 1);
  t->u = reals(t, ebb_count(t->ys), 2);
  t->y = reals(t, ebb_count(t->ys), 0);
  t->dx = reals(t, ebb_count(x), 0);
  return true;
}

static void bench_close(bench *t)
{
  ebb_workspace_destroy(&t->work);
  ebb_model_destroy(&t->model);
  ebb_pool_clear(&t->pool);
}

static ebb_view forward(bench *t)
{
  ebb_view y;
  t->work.run.seed = 5;
  t->work.run.step = 0;
  t->work.run.pass = EBB_TRAIN;
  t->work.run.dlogdet = 0.7;
  ebb_forward(&t->work.run, &t->model, ebb_view_of(t->x, t->xs), &y);
  memcpy(t->y, y.p, ebb_bytes(t->ys));
  return y;
}

static void train(bench *t)
{
  memset(t->work.grads, 0, t->model.weights * sizeof(ebb_real));
  forward(t);
  ebb_view dy = ebb_scratch_view(&t->work.run, t->ys);
  memcpy(dy.p, t->u, ebb_bytes(t->ys));
  ebb_backward(&t->work.run, &t->model, ebb_view_of(t->x, t->xs), dy, ebb_view_of(t->dx, t->xs));
}

#define ROW ((size_t)_i / (SHAPES * DOMAINS))
#define SHAPE shapes[_i / DOMAINS % SHAPES]
#define EACH_CASE(t, policy)                                              \
  bench t;                                                                \
  if (!bench_open(&t, ROW, SHAPE, (domain)(_i % DOMAINS), policy)) return;

/* ---- in every precision ------------------------------------------------------------------------------------- */
START_TEST(forward_fits_its_shape_and_repeats)
{
  EACH_CASE(t, EBB_STORE)
  ebb_view y = forward(&t);
  ck_assert_msg(ebb_shape_equal(y.s, t.ys), "%s", t.model.name);
  ebb_release(&t.work.run);
  ebb_real *first = reals(&t, ebb_count(t.ys), 0);
  memcpy(first, t.y, ebb_bytes(t.ys));
  forward(&t);
  ebb_release(&t.work.run);
  ck_assert_msg(memcmp(first, t.y, ebb_bytes(t.ys)) == 0, "%s: two forwards differ", t.model.name);
  bench_close(&t);
}
END_TEST

START_TEST(peak_is_the_plan)
{
  for (int policy = 0; policy < EBB_POLICIES; policy++) {
    EACH_CASE(t, (ebb_policy)policy)
    ebb_view y;
    train(&t);
    t.work.run.pass = EBB_EVAL;
    ebb_forward(&t.work.run, &t.model, ebb_view_of(t.x, t.xs), &y);
    ebb_release(&t.work.run);
    ck_assert_msg(ebb_workspace_peak(&t.work, 0) == t.plan.peak, "%s, %s: peak %zu, plan %zu", t.model.name,
                  ebb_policy_names[policy], ebb_workspace_peak(&t.work, 0), t.plan.peak);
    bench_close(&t);
  }
}
END_TEST

START_TEST(gradients_are_not_zero)
{
  EACH_CASE(t, EBB_STORE)
  size_t nonzero = 0;
  train(&t);
  for (size_t i = 0; i < ebb_count(t.xs); i++) nonzero += t.dx[i] != 0;
  if (strcmp(t.model.name, "instance_norm") == 0 && ebb_sites(t.xs) == (size_t)t.xs.n) { /* one value is its own mean */
    bench_close(&t);
    return;
  }
  ck_assert_msg(nonzero > 0, "%s: dx is zero", t.model.name);
  for (const ebb_param *p = t.model.params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    nonzero = 0;
    for (size_t i = 0; i < p->count; i++) nonzero += t.work.grads[p->offset + i] != 0;
    ck_assert_msg(nonzero > 0, "%s: gradient of %s is zero", t.model.name, p->name);
  }
  bench_close(&t);
}
END_TEST

START_TEST(every_row_fits_somewhere)
{
  int fits = 0;
  for (int i = 0; i < SHAPES; i++) {
    bool fit = false;
    for (int on = 0; on < DOMAINS; on++) {
      bench t;
      if (!bench_open(&t, (size_t)_i, shapes[i], (domain)on, EBB_STORE)) continue;
      fit = true;
      bench_close(&t);
    }
    fits += fit;
  }
  ck_assert_msg(fits >= 3, "%s takes %d of the shapes: too few to say anything", ebb_catalogue_at((size_t)_i)->name, fits);
}
END_TEST

/* ---- double: analytic gradients against central differences --------------------------------------------------- */
#ifdef EBB_DOUBLE
static double objective(bench *t)
{
  double sum = 0;
  forward(t);
  ebb_release(&t->work.run);
  for (size_t i = 0; i < ebb_count(t->ys); i++) sum += t->u[i] * t->y[i];
  for (int i = 0; t->work.run.logdet && i < t->xs.n; i++) sum += t->work.run.dlogdet * t->work.run.logdet[i];
  return sum;
}

/* Fourth order: (-f(2h) + 8 f(h) - 8 f(-h) + f(-2h)) / 12h. */
static double difference(bench *t, ebb_real *at)
{
  const double h = 2e-5, x = *at;
  double       f[4], steps[4] = {2, 1, -1, -2};
  for (int k = 0; k < 4; k++) {
    *at = x + steps[k] * h;
    f[k] = objective(t);
  }
  *at = x;
  return (-f[0] + 8 * f[1] - 8 * f[2] + f[3]) / (12 * h);
}

/* Relative to the largest entry of the tensor: an entry that is zero by symmetry has rounding errors only. */
static void compare(bench *t, ebb_real *values, const ebb_real *grads, size_t count, const char *what)
{
  double largest = 1e-3;
  for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(grads[i]));
  size_t stride = count / 60 + 1;
  for (size_t i = 0; i < count; i += stride) {
    double numeric = difference(t, &values[i]);
    ck_assert_msg(fabs(numeric - grads[i]) <= 1e-6 * largest, "%s, %s[%zu]: analytic %.12g, difference %.12g (of %.3g)",
                  t->model.name, what, i, grads[i], numeric, largest);
  }
}

START_TEST(gradients_match_differences)
{
  EACH_CASE(t, EBB_REVERSE)
  train(&t);
  ebb_real *grads = reals(&t, t.model.weights, 0), *dx = reals(&t, ebb_count(t.xs), 0);
  memcpy(grads, t.work.grads, t.model.weights * sizeof *grads);
  memcpy(dx, t.dx, ebb_bytes(t.xs));
  compare(&t, t.x, dx, ebb_count(t.xs), "x");
  for (const ebb_param *p = t.model.params; p; p = p->next)
    if (p->kind == EBB_WEIGHT) compare(&t, t.work.weights + p->offset, grads + p->offset, p->count, p->name);
  bench_close(&t);
}
END_TEST
#else
/* ---- float: bits ------------------------------------------------------------------------------------------------ */
static void near(const bench *t, const ebb_real *a, const ebb_real *b, size_t count, double bound, const char *what)
{
  double largest = 0, off = 0;
  for (size_t i = 0; i < count; i++) {
    largest = fmax(largest, fabs((double)b[i]));
    off = fmax(off, fabs((double)a[i] - (double)b[i]));
  }
  ck_assert_msg(off <= bound * largest, "%s: %s is off by %g, the largest being %g", t->model.name, what, off, largest);
}

static const double STRETCHED = 1e-4; /* of the largest value */

/* Is what this layer reconstructs off by rounding? */
static bool rounds(const bench *t)
{
  return ebb_reversible(t->layer) && t->layer->ops->logdet;
}

static void same_bits(const bench *a, const bench *b, const char *what)
{
  const char *name = a->model.name;
  ck_assert_msg(memcmp(a->y, b->y, ebb_bytes(a->ys)) == 0, "%s: y differs, %s", name, what);
  ck_assert_msg(memcmp(a->dx, b->dx, ebb_bytes(a->xs)) == 0, "%s: dx differs, %s", name, what);
  ck_assert_msg(memcmp(a->work.grads, b->work.grads, a->model.weights * sizeof(ebb_real)) == 0,
                "%s: gradients differ, %s", name, what);
  ck_assert_msg(memcmp(a->work.state, b->work.state, a->model.states * sizeof(ebb_real)) == 0,
                "%s: running statistics differ, %s", name, what);
}

START_TEST(policies_give_the_same_bits)
{
  EACH_CASE(store, EBB_STORE)
  train(&store);
  for (int policy = 0; policy < EBB_POLICIES; policy++) {
    EACH_CASE(t, (ebb_policy)policy)
      train(&t);
    if (policy == EBB_REVERSE && rounds(&t)) {
      near(&t, t.dx, store.dx, ebb_count(t.xs), STRETCHED, "dx");
      near(&t, t.work.grads, store.work.grads, t.model.weights, STRETCHED, "gradient");
    } else same_bits(&store, &t, ebb_policy_names[policy]);
    bench_close(&t);
  }
  bench_close(&store);
}
END_TEST

START_TEST(threads_give_the_same_bits)
{
  EACH_CASE(one, EBB_REVERSE)
  ebb_threads_set(1);
  train(&one);
  for (int threads = 2; threads <= 3; threads++) {
    ebb_threads_set(threads);
    EACH_CASE(t, EBB_REVERSE)
      train(&t);
    same_bits(&one, &t, "on more threads");
    bench_close(&t);
  }
  ebb_threads_set(0);
  bench_close(&one);
}
END_TEST

/* Of the largest value: how far a layer that rounds is off, there and back. Random splines are nearly flat in places. */
static double returned(const bench *t)
{
  return t->layer->ops == &ebb_spline_coupling_ops ? STRETCHED : 1e-6;
}

/* Bits, or, of a layer that rounds, values that are as near. */
static void same(const bench *t, const void *a, const void *b, size_t count, double bound, const char *what)
{
  if (rounds(t)) near(t, a, b, count, bound, what);
  else ck_assert_msg(memcmp(a, b, count * sizeof(ebb_real)) == 0, "%s: %s is not the same", t->model.name, what);
}

/* Reversible layers, called alone: inverse undoes forward; reverse is inverse and backward at once. */
START_TEST(inverse_undoes_forward_and_reverse_joins_it_with_backward)
{
  EACH_CASE(t, EBB_REVERSE)
  if (!ebb_reversible(t.layer)) {
    bench_close(&t);
    return;
  }
  ebb_run  *r = &t.work.run;
  ebb_kept  kept[64]; /* a layer alone may keep more at a time than in its model's pass */
  r->kept = kept, r->kept_size = sizeof kept / sizeof *kept;
  ebb_shape s = t.xs;
  s.stream = _i % DOMAINS == STREAM;
  ebb_shape out = ebb_layer_shape(t.layer, s);
  size_t    bytes = ebb_bytes(s), count = ebb_count(s), weights = t.model.weights * sizeof(ebb_real);
  ebb_view  x = ebb_view_of(reals(&t, count, 0), s), z = ebb_view_of(reals(&t, count, 0), s);
  ebb_view  dy = ebb_view_of(reals(&t, count, 2), ebb_shape_real(out));
  ebb_view  dz = ebb_view_of(reals(&t, count, 2), ebb_shape_real(out)), y = ebb_view_retyped(z, out);
  ebb_real *grads = reals(&t, t.model.weights, 0);
  if (s.stream) ebbk->fixed_from_real(ebb_fixeds(x), x.stride, t.x, s.c, ebb_sites(s), s.c, NULL);
  else memcpy(x.p, t.x, bytes);
  r->pass = EBB_TRAIN;
  r->keep = EBB_KEEP_NONE;
  r->dlogdet = 0.7;
  ck_assert_msg(ebb_shape_equal(ebb_shape_before(t.layer, out), s), "%s: the shape before is another", t.model.name);

  memcpy(z.p, x.p, bytes);
  ebb_forward_layer(t.layer, r, z, y);
  ck_assert_msg(memcmp(z.p, x.p, bytes) != 0, "%s does nothing", t.model.name);
  ebb_inverse_layer(t.layer, r, y);
  same(&t, z.p, x.p, count, returned(&t), "what the inverse makes of forward's result");
  ebb_inverse_layer(t.layer, r, y);
  r->pass = EBB_REPLAY; /* a norm measures nothing anew */
  ebb_forward_layer(t.layer, r, z, y);
  r->pass = EBB_TRAIN;
  same(&t, z.p, x.p, count, STRETCHED, "what forward makes of the inverse's result");

  memcpy(z.p, x.p, bytes);
  ebb_forward_layer(t.layer, r, z, y);
  memset(t.work.grads, 0, weights);
  ebb_reverse_layer(t.layer, r, y, dz);
  same(&t, z.p, x.p, count, returned(&t), "what reverse reconstructs");
  memcpy(grads, t.work.grads, weights);
  memset(t.work.grads, 0, weights);
  ebb_backward_layer(t.layer, r, x, dy, ebb_view_retyped(dy, t.xs));
  same(&t, dz.p, dy.p, count, STRETCHED, "reverse's dx");
  same(&t, grads, t.work.grads, t.model.weights, STRETCHED, "reverse's gradient of the weights");
  bench_close(&t);
}
END_TEST

/* Into their places among all of them. */
static void collect(ebb_run *r)
{
  ebb_real *all = r->updater;
  memcpy(all + r->span.from, r->grads, r->span.count * sizeof *all);
  memset(r->grads, 0, r->span.count * sizeof *all);
}

START_TEST(gradients_are_the_same_bits_handed_over_layer_by_layer)
{
  for (int policy = 0; policy < EBB_POLICIES; policy++) {
    EACH_CASE(t, (ebb_policy)policy)
    ebb_real *whole = reals(&t, t.model.weights, 0), *parts = reals(&t, t.model.weights, 0);
    train(&t);
    memcpy(whole, t.work.grads, t.model.weights * sizeof *whole);
    t.work.run.spans = ebb_spans_of(&t.model, &t.pool);
    t.work.run.ready = collect;
    t.work.run.updater = parts;
    train(&t);
    ck_assert_msg(memcmp(whole, parts, t.model.weights * sizeof *whole) == 0, "%s, %s: gradients differ", t.model.name,
                  ebb_policy_names[policy]);
    bench_close(&t);
  }
}
END_TEST

/* A step back and its gradient at once, after a forward whose result nobody wants, are update and backward. */
START_TEST(undo_is_update_and_backward)
{
  EACH_CASE(t, EBB_STORE)
  ebb_shape out = ebb_layer_shape(t.layer, t.xs);
  if (out.rank == 0 || out.stream || ebb_reversible(t.layer)) { /* which are undone by their inverse */
    bench_close(&t);
    return;
  }
  train(&t); /* statistics are saved */
  ebb_run  *r = &t.work.run;
  ebb_mark  low = ebb_arena_low_mark(r->arena);
  ebb_shape stream = out;
  stream.stream = true;
  size_t    weights = t.model.weights * sizeof(ebb_real);
  ebb_view  x = ebb_view_of(t.x, t.xs), dy = ebb_view_of(t.u, out), z[2], dx[2];
  ebb_real *grads[2];
  r->pass = EBB_REPLAY;
  for (int i = 0; i < 2; i++) {
    z[i] = ebb_view_of(reals(&t, ebb_count(out), 0), stream), dx[i] = ebb_view_of(reals(&t, ebb_count(t.xs), 0), t.xs);
    grads[i] = reals(&t, t.model.weights, 0);
    ebbk->fixed_from_real(ebb_fixeds(z[i]), out.c, t.u, out.c, ebb_sites(out), out.c, NULL);
    memset(t.work.grads, 0, weights);
    r->keep = EBB_KEEP_ALL;
    if (i == 1) {
      ebb_forward_layer(t.layer, r, x, (ebb_view){.s = out});
      ebb_undo_layer(t.layer, r, x, z[i], dy, dx[i]);
    } else {
      ebb_update_layer(t.layer, r, x, z[i], EBB_MINUS);
      ebb_backward_layer(t.layer, r, x, dy, dx[i]);
    }
    ck_assert_msg(r->kept_count == 0, "%s: %zu views are left", t.model.name, r->kept_count);
    ebb_arena_low_release(r->arena, low);
    memcpy(grads[i], t.work.grads, weights);
  }
  ck_assert_msg(memcmp(z[0].p, z[1].p, ebb_bytes(out)) == 0, "%s: z differs", t.model.name);
  ck_assert_msg(memcmp(dx[0].p, dx[1].p, ebb_bytes(t.xs)) == 0, "%s: dx differs", t.model.name);
  ck_assert_msg(memcmp(grads[0], grads[1], weights) == 0, "%s: gradients differ", t.model.name);
  bench_close(&t);
}
END_TEST

/* A fused layer against the layers it stands for, each in a sequence of its own, so that nothing fuses. */
static ebb_layer *apart(ebb_builder *b, const ebb_layer *fused)
{
  ebb_sequence *s = ebb_sequence_open(b, "apart", 8);
  for (int i = 0; fused->ops->part(fused, i); i++) {
    ebb_sequence *one = ebb_sequence_open(b, "one", 1);
    ebb_sequence_add(one, (ebb_layer *)(size_t)fused->ops->part(fused, i));
    ebb_sequence_add(s, ebb_sequence_close(one));
  }
  return ebb_sequence_close(s);
}

/* [quantise] [layer, on the stream, in a coupling] or the layer alone */
static bool bench_open_parts(bench *t, size_t row, ebb_shape x, bool coupled, bool fused)
{
  const ebb_layer_ops *ops = ebb_catalogue_at(row);
  ebb_builder          b;
  ebb_shape            half = x;
  if (coupled) half.c = x.c / 2;
  if (!ops->part || (coupled && x.c % 2)) return false;
  *t = (bench){.xs = x, .ys = x};
  ebb_model_begin(&t->model, &b, ops->name, x);
  ebb_sequence *s = ebb_sequence_open(&b, "root", 3);
  ebb_layer    *l = ops->make(&b, "layer", half), *f = fused ? l : apart(&b, l);
  if (coupled) {
    ebb_sequence_add(s, ebb_quantise(&b, "in"));
    ebb_sequence_add(s, ebb_half_coupling(&b, "coupling", x.c, half.c, false, f));
    ebb_sequence_add(s, ebb_dequantise(&b, "out"));
  } else ebb_sequence_add(s, f);
  ck_assert(ebb_model_end(&t->model, &b, ebb_sequence_close(s)) == EBB_OK);
  ebb_plan_make(&t->plan, &t->model, x, (ebb_plan_options){.policy = EBB_REVERSE, .training = true, .input_gradient = true}, &t->pool);
  ck_assert_msg(ebb_workspace_create(&t->work, &t->model, &t->plan) == EBB_OK, "%s", ebb_message());
  ebb_model_initialise(&t->model, t->work.weights, t->work.state, 11);
  for (size_t i = 0; i < t->model.weights; i++) t->work.weights[i] += (ebb_real)(0.1 * noise(3, i));
  t->x = reals(t, ebb_count(x), 1);
  t->u = reals(t, ebb_count(x), 2);
  t->y = reals(t, ebb_count(x), 0);
  t->dx = reals(t, ebb_count(x), 0);
  return true;
}

/* Results to the bit; gradients to the order in which a norm's sums are taken. */
START_TEST(fused_layers_do_what_their_parts_do)
{
  bench whole, parts;
  for (int coupled = 0; coupled < 2; coupled++) {
    if (!bench_open_parts(&whole, (size_t)_i / SHAPES, shapes[_i % SHAPES], coupled, true)) continue;
    ck_assert(bench_open_parts(&parts, (size_t)_i / SHAPES, shapes[_i % SHAPES], coupled, false));
    train(&whole);
    train(&parts);
    ck_assert_msg(memcmp(whole.y, parts.y, ebb_bytes(whole.ys)) == 0, "%s: y differs, fused", whole.model.name);
    ck_assert_msg(memcmp(whole.work.state, parts.work.state, whole.model.states * sizeof(ebb_real)) == 0,
                  "%s: running statistics differ, fused", whole.model.name);
    near(&whole, whole.dx, parts.dx, ebb_count(whole.xs), 1e-5, "dx");
    near(&whole, whole.work.grads, parts.work.grads, whole.model.weights, 1e-5, "gradient");
    bench_close(&whole);
    bench_close(&parts);
  }
}
END_TEST

/* Views with gaps between pixels: what lies in the gaps is nobody's. */
enum { GAP = 3 };
static ebb_view gapped(bench *t, ebb_shape s, const ebb_real *values)
{
  ebb_view v = {.s = s, .stride = s.c + GAP};
  v.p = reals(t, ebb_sites(s) * (size_t)v.stride, 9);
  for (size_t i = 0; values && i < ebb_sites(s); i++)
    memcpy((ebb_real *)v.p + i * (size_t)v.stride, values + i * (size_t)s.c, (size_t)s.c * sizeof *values);
  return v;
}

static void gaps_untouched(ebb_view v, const char *name)
{
  for (size_t i = 0; i < ebb_sites(v.s); i++)
    for (int k = v.s.c; k < v.stride; k++) {
      size_t at = i * (size_t)v.stride + (size_t)k;
      ck_assert_msg(((ebb_real *)v.p)[at] == (ebb_real)noise(9, at), "%s wrote between pixels", name);
    }
}

START_TEST(layers_write_only_their_views)
{
  EACH_CASE(t, EBB_STORE)
  ebb_shape out = ebb_layer_shape(t.layer, t.xs);
  if (_i % DOMAINS == STREAM || out.rank == 0 || out.stream || t.layer->ops->before) { /* on the stream as on reals; or dense */
    bench_close(&t);
    return;
  }
  train(&t);
  ebb_run *r = &t.work.run;
  bool     over = ebb_reversible(t.layer); /* works in place */
  ebb_view x = gapped(&t, t.xs, t.x), y = gapped(&t, out, over ? t.x : NULL), dy = gapped(&t, out, t.u);
  ebb_view dx = over ? dy : gapped(&t, t.xs, NULL);
  r->pass = EBB_TRAIN;
  r->keep = EBB_KEEP_NONE;
  ebb_forward_layer(t.layer, r, over ? y : x, y);
  ebb_backward_layer(t.layer, r, x, dy, dx);
  gaps_untouched(x, t.model.name);
  gaps_untouched(y, t.model.name);
  gaps_untouched(dy, t.model.name);
  gaps_untouched(dx, t.model.name);
  for (size_t i = 0; i < ebb_sites(out); i++)
    ck_assert_msg(memcmp((ebb_real *)y.p + i * (size_t)y.stride, t.y + i * (size_t)out.c,
                         (size_t)out.c * sizeof(ebb_real)) == 0, "%s: strides change the result", t.model.name);
  for (size_t i = 0; i < ebb_sites(t.xs); i++)
    ck_assert_msg(memcmp((ebb_real *)dx.p + i * (size_t)dx.stride, t.dx + i * (size_t)t.xs.c,
                         (size_t)t.xs.c * sizeof(ebb_real)) == 0, "%s: strides change dx", t.model.name);
  bench_close(&t);
}
END_TEST
#endif

int main(void)
{
  int     cases = (int)ebb_catalogue_count() * SHAPES * DOMAINS;
  Suite  *suite = suite_create("contract");
  TCase  *all = tcase_create("every layer, every shape");
  if (ebbk_start() != EBB_OK) {
    fprintf(stderr, "%s\n", ebb_message());
    return SKIPPED;
  }
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, every_row_fits_somewhere, 0, (int)ebb_catalogue_count());
  tcase_add_loop_test(all, forward_fits_its_shape_and_repeats, 0, cases);
  tcase_add_loop_test(all, peak_is_the_plan, 0, cases);
  tcase_add_loop_test(all, gradients_are_not_zero, 0, cases);
#ifdef EBB_DOUBLE
  tcase_add_loop_test(all, gradients_match_differences, 0, cases);
#else
  tcase_add_loop_test(all, policies_give_the_same_bits, 0, cases);
  tcase_add_loop_test(all, threads_give_the_same_bits, 0, cases);
  tcase_add_loop_test(all, inverse_undoes_forward_and_reverse_joins_it_with_backward, 0, cases);
  tcase_add_loop_test(all, gradients_are_the_same_bits_handed_over_layer_by_layer, 0, cases);
  tcase_add_loop_test(all, undo_is_update_and_backward, 0, cases);
  tcase_add_loop_test(all, fused_layers_do_what_their_parts_do, 0, cases / DOMAINS);
  tcase_add_loop_test(all, layers_write_only_their_views, 0, cases);
#endif
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
