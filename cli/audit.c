/* audit.c -- see audit.h.
 *
 * Differences, best of several steps h, since a step must be larger than rounding and smaller than the distance to the
 * next kink of a ReLU:
 *   central      (f(h) - f(-h)) / 2h
 *   four points  (8 f(h) - 8 f(-h) - f(2h) + f(-2h)) / 12h
 * Relative error |a - n| / max(|a|, |n|, floor), where the floor is a thousandth of the tensor's largest gradient, or a
 * millionth of the network's, whichever is larger: an entry whose gradient is nothing but rounding says nothing. */
#include "audit.h"

#include <math.h>
#include <string.h>

#include "build.h"
#include "random.h"

typedef struct audit {
  const ebb_config *config;
  const ebb_model  *model;
  ebb_loss          loss;
  ebb_pool          pool;
  ebb_plan          plan;
  ebb_workspace     work;
  ebb_source       *source;
  ebb_batch         batch;
  ebb_real         *dx;
} audit;

/* ---- one model on one batch ------------------------------------------------------------------------------------ */
static ebb_status open_audit(audit *a, const ebb_config *c, const ebb_model *m, ebb_shape x, ebb_policy policy)
{
  *a = (audit){.config = c, .model = m, .loss = ebb_train_loss(&c->train, m)};
  EBB_TRY(ebb_loss_check(&a->loss, m->out.c));
  size_t bytes = ebb_loss_scratch(&a->loss, ebb_build_batch(m->out, x.n));
  ebb_plan_make(&a->plan, m, x, (ebb_plan_options){.policy = policy, .training = true, .input_gradient = true, .loss = bytes},
                &a->pool);
  EBB_TRY(ebb_workspace_create(&a->work, m, &a->plan));
  a->work.run.seed = c->train.seed;
  ebb_model_initialise(m, a->work.weights, a->work.state, c->train.seed);
  EBB_TRY(ebb_random_open(&a->source, x, m->out, ebb_build_levels(c), c->train.seed, &a->pool));
  a->dx = ebb_pool_take(&a->pool, ebb_bytes(x));
  return a->source->ops->next(a->source, &a->batch);
}

static void close_audit(audit *a)
{
  if (a->source) a->source->ops->close(a->source);
  ebb_workspace_destroy(&a->work);
  ebb_pool_clear(&a->pool);
}

/* Every evaluation is the same pass: the same step, and so the same dropout. */
static double loss(audit *a, bool backward)
{
  ebb_run *r = &a->work.run;
  ebb_view y, dy;
  r->pass = EBB_TRAIN;
  r->step = 0;
  ebb_forward(r, a->model, a->batch.x, &y);
  double value = ebb_loss_eval(&a->loss, r, y, a->batch.labels, 1, backward ? &dy : NULL);
  if (backward) ebb_backward(r, a->model, a->batch.x, dy, ebb_view_of(a->dx, a->batch.x.s));
  else ebb_release(r);
  return value;
}

/* ---- the same bits under every mode ----------------------------------------------------------------------------- */
static ebb_status gradients_under(audit *a, const ebb_config *c, const ebb_model *m, ebb_shape x, ebb_policy policy)
{
  ebb_status status = open_audit(a, c, m, x, policy);
  if (status == EBB_OK) loss(a, true);
  return status;
}

static bool same(const audit *a, const audit *b)
{
  return memcmp(a->work.grads, b->work.grads, a->model->weights * sizeof(ebb_real)) == 0 &&
         memcmp(a->work.state, b->work.state, a->model->states * sizeof(ebb_real)) == 0 &&
         memcmp(a->dx, b->dx, ebb_bytes(a->batch.x.s)) == 0;
}

/* Largest difference of two gradients, in parts of the largest value; infinite if one is no number. */
static double distance(const ebb_real *a, const ebb_real *b, size_t count)
{
  double most = 0, off = 0;
  for (size_t i = 0; i < count; i++) {
    if (!isfinite((double)a[i]) || !isfinite((double)b[i])) return INFINITY;
    most = fmax(most, fabs((double)a[i]));
    off = fmax(off, fabs((double)a[i] - (double)b[i]));
  }
  return off > 0 ? off / most : 0;
}

static double distance_of(const audit *a, const audit *b)
{
  return fmax(distance(a->work.grads, b->work.grads, a->model->weights), distance(a->dx, b->dx, ebb_count(a->batch.x.s)));
}

/* Layers with a log|det| are undone but for rounding: of them a reversal tells how near it came. */
static json_t *agreement(const audit *store, const audit *other, ebb_policy policy)
{
  if (!store->model->logdet || policy != EBB_REVERSE) return json_boolean(same(store, other));
  double off = distance_of(store, other);
  return isfinite(off) ? json_real(off) : json_false();
}

ebb_status ebb_audit_modes(json_t **answer, const ebb_config *c, const ebb_model *m, ebb_shape x)
{
  audit      store = {0}, other = {0};
  ebb_status status = gradients_under(&store, c, m, x, EBB_STORE);
  *answer = json_pack("{s:b}", "store", 1);
  for (int i = 0; i < EBB_POLICIES && status == EBB_OK; i++) {
    if (i == EBB_STORE) continue;
    status = gradients_under(&other, c, m, x, (ebb_policy)i);
    if (status == EBB_OK) json_object_set_new(*answer, ebb_policy_names[i], agreement(&store, &other, (ebb_policy)i));
    close_audit(&other);
  }
  close_audit(&store);
  return status;
}

/* ---- differences ------------------------------------------------------------------------------------------------ */
typedef struct trial { double h; bool four; } trial;
static const trial trials[] = {{1e-5, false}, {1e-4, true}, {1e-6, false}, {1e-5, true}, {1e-7, false}, {1e-3, true},
                               {3e-5, true}, {3e-6, true}, {1e-2, true}};
enum { TRIALS = sizeof trials / sizeof *trials };

/* Below this share of the largest gradient of all, differences of the loss have no digits left to tell its relative error by: as where a
 * norm takes a bias away that stands in front of it. */
static const double smallest = 1e-5;

/* w = w0 + t d, on a tensor's values; then the loss */
static double loss_at(audit *a, const ebb_param *p, const ebb_real *w0, const ebb_real *d, double t)
{
  ebb_real *w = a->work.weights + p->offset;
  for (size_t i = 0; i < p->count; i++) w[i] = (ebb_real)((double)w0[i] + t * (double)d[i]);
  double value = loss(a, false);
  memcpy(w, w0, p->count * sizeof *w);
  return value;
}

static double slope(audit *a, const ebb_param *p, const ebb_real *w0, const ebb_real *d, trial t)
{
  double near = loss_at(a, p, w0, d, t.h) - loss_at(a, p, w0, d, -t.h);
  if (!t.four) return near / (2 * t.h);
  double far = loss_at(a, p, w0, d, 2 * t.h) - loss_at(a, p, w0, d, -2 * t.h);
  return (8 * near - far) / (12 * t.h);
}

/* Relative error of the analytic derivative along d: the first step that satisfies, or the best; infinite if none is a
 * number. */
static double error_along(audit *a, const ebb_param *p, const ebb_real *w0, const ebb_real *d, double analytic, double floor)
{
  double best = INFINITY;
  for (int i = 0; i < TRIALS && !(best <= EBB_AUDIT_TOLERANCE); i++) {
    double n = slope(a, p, w0, d, trials[i]);
    double e = analytic == n ? 0 : fabs(analytic - n) / fmax(fmax(fabs(analytic), fabs(n)), floor);
    if (e < best) best = e;
  }
  return best;
}

static double largest(const ebb_real *g, size_t count)
{
  double most = 0;
  for (size_t i = 0; i < count; i++)
    if (!(fabs((double)g[i]) <= most)) most = fabs((double)g[i]); /* NaN, too */
  return most;
}

typedef struct probe { const ebb_param *param; const ebb_real *w0, *g; ebb_real *d; double floor; ebb_rng rng; } probe;

static double entry_error(audit *a, const probe *k, size_t at)
{
  k->d[at] = 1;
  double e = error_along(a, k->param, k->w0, k->d, (double)k->g[at], k->floor);
  k->d[at] = 0;
  return e;
}

/* Along a random direction of length 1: one number that every entry of the tensor is part of. */
static double direction_error(audit *a, const probe *k)
{
  double norm = 0, analytic = 0;
  size_t n = k->param->count;
  for (size_t i = 0; i < n; i++) {
    double r = ebb_rng_normal(k->rng, i);
    k->d[i] = (ebb_real)r;
    norm += r * r;
  }
  for (size_t i = 0; i < n; i++) {
    k->d[i] = (ebb_real)((double)k->d[i] / sqrt(norm));
    analytic += (double)k->d[i] * (double)k->g[i];
  }
  return error_along(a, k->param, k->w0, k->d, analytic, k->floor);
}

/* JSON has no infinity. */
static json_t *error_json(double error)
{
  return isfinite(error) ? json_real(error) : json_null();
}

static json_t *audit_param(double *error, audit *a, const ebb_param *p, const ebb_real *gradients, double overall, int entries)
{
  ebb_pool pool = {0};
  size_t   bytes = p->count * sizeof(ebb_real), tried = p->count < (size_t)entries ? p->count : (size_t)entries;
  ebb_real *w0 = ebb_pool_take(&pool, bytes);
  memcpy(w0, a->work.weights + p->offset, bytes);
  const ebb_real *g = gradients + p->offset;
  probe  k = {p, w0, g, ebb_pool_take(&pool, bytes), fmax(1e-3 * largest(g, p->count), smallest * overall),
              {a->config->train.seed, EBB_RNG_TEST, (uint32_t)(1000 + p->index)}};
  double worst = 0;
  for (size_t i = 0; i < tried; i++) {
    size_t at = tried == p->count ? i : (size_t)ebb_rng_below(k.rng, p->count + i, p->count);
    worst = fmax(worst, entry_error(a, &k, at));
  }
  *error = fmax(worst, direction_error(a, &k));
  ebb_pool_clear(&pool);
  return json_pack("{s:s, s:I, s:I, s:o}", "name", p->name, "values", (json_int_t)p->count, "tried", (json_int_t)tried + 1,
                   "max_relative_error", error_json(*error));
}

static json_t *audit_all(audit *a, int entries, void (*each)(const json_t *row))
{
  loss(a, true);
  ebb_real *g = ebb_pool_take(&a->pool, a->model->weights * sizeof *g);
  memcpy(g, a->work.grads, a->model->weights * sizeof *g);
  double  worst = 0, error, overall = largest(g, a->model->weights);
  json_t *rows = json_array();
  for (const ebb_param *p = a->model->params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    json_t *row = audit_param(&error, a, p, g, overall, entries);
    worst = fmax(worst, error);
    if (each) each(row);
    json_array_append_new(rows, row);
  }
  return json_pack("{s:b, s:o, s:f, s:o, s:o}", "passed", worst <= EBB_AUDIT_TOLERANCE && isfinite(overall),
                   "max_relative_error", error_json(worst), "tolerance", EBB_AUDIT_TOLERANCE, "largest_gradient",
                   error_json(overall), "parameters", rows);
}

ebb_status ebb_audit_gradients(json_t **answer, const ebb_config *c, const ebb_model *m, ebb_shape x, int entries,
                               void (*each)(const json_t *row))
{
  audit      a = {0};
  ebb_status status = open_audit(&a, c, m, x, EBB_REVERSE);
  *answer = status == EBB_OK ? audit_all(&a, entries, each) : NULL;
  close_audit(&a);
  return status;
}
