/* golden.c -- what the engine computes, written down for an oracle to compare: golden OUT.h5 NETWORK [key=value ...]
 * Keys are the network's options, train.* for what makes the three steps, and run.backward. The file holds
 *   /input (steps, N, H, W, C)  /labels (steps, N, sites of the output)
 *   /model/<name>               weights and statistics at the beginning, in PyTorch's shapes
 *   /logits  /loss  /gradients/<name>  /input_gradients  /state/<name>  /eval_logits     of the first step, before the
 *                               weights change
 *   /trained/<name>             weights and statistics after three steps,
 *   /trained_eval_logits        and what they make of the first batch
 * and of a flow, whose images are whole numbers and which needs no labels,
 *   /noise (steps, N, H, W, C)  /eval_noise  what it added to them
 *   /nll (N)  /logdet (N)  /eval_nll ...     beside each of the logits, which are z.
 * Owns: the order of these; no arithmetic. */
#define _GNU_SOURCE
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "compose/catalogue.h"
#include "kernels/kernels.h"
#include "models/models.h"
#include "train/loss.h"
#include "train/optim.h"
#include "train/schedule.h"

enum { STEPS = 3, BATCH = 2, SIDE = 12, COLOURS = 3, CLASSES = 10, GREY_LEVELS = 256, PIXELS = BATCH * SIDE * SIDE * COLOURS };

typedef struct session {
  hid_t             file;
  ebb_pool          pool;
  ebb_model         model;
  ebb_train_options train;
  ebb_run_options   way;
  ebb_plan          plan;
  ebb_workspace     work;
  float             x[STEPS][PIXELS], noise[STEPS][PIXELS], dx[PIXELS];
  int               dither;                             /* the id of the layer that draws the noise */
  int32_t           labels[STEPS][BATCH * SIDE * SIDE]; /* in each step labels_count(s) */
} session;

static void stop(const char *why)
{
  fprintf(stderr, "golden: %s\n", why);
  exit(EXIT_FAILURE);
}

static void succeeds(ebb_status status)
{
  if (status != EBB_OK) stop(ebb_message());
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */
static void put(hid_t place, const char *name, int rank, const hsize_t *dims, hid_t type, const void *values)
{
  hid_t space = H5Screate_simple(rank, dims, NULL);
  hid_t set = H5Dcreate2(place, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (set < 0 || H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0) stop(name);
  H5Dclose(set);
  H5Sclose(space);
}

/* Convolutions lie in memory as (K..., I, O), in the file as (O, I, K...). */
static const float *pytorchs(const ebb_param *p, const float *in, ebb_pool *pool)
{
  if (!p->taps_first) return in;
  size_t o = (size_t)p->dims[0], i = (size_t)p->dims[1], taps = p->count / o / i;
  float *out = ebb_pool_take(pool, p->count * sizeof *out);
  for (size_t at = 0; at < p->count; at++) {
    size_t tap = at / (i * o), channel = at / o % i, kernel = at % o;
    out[(kernel * i + channel) * taps + tap] = in[at];
  }
  return out;
}

/* All parameters, weights from `weights` and statistics from `state`; either may be NULL. */
static void put_params(session *s, const char *group, const float *weights, const float *state)
{
  hid_t place = H5Gcreate2(s->file, group, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  for (const ebb_param *p = s->model.params; p; p = p->next) {
    const float *from = p->kind == EBB_WEIGHT ? weights : state;
    hsize_t      dims[5];
    for (int i = 0; i < p->rank; i++) dims[i] = (hsize_t)p->dims[i];
    if (from) put(place, p->name, p->rank, dims, H5T_NATIVE_FLOAT, pytorchs(p, from + p->offset, &s->pool));
  }
  H5Gclose(place);
}

static void put_images(session *s, const char *name, int count, const float *values)
{
  put(s->file, name, 5, (hsize_t[]){(hsize_t)count, BATCH, SIDE, SIDE, COLOURS}, H5T_NATIVE_FLOAT, values);
}

static void put_samples(session *s, const char *when, const char *what, const double *values)
{
  char name[32];
  snprintf(name, sizeof name, "%s%s", when, what);
  put(s->file, name, 1, (hsize_t[]){BATCH}, H5T_NATIVE_DOUBLE, values);
}

static void put_likelihood(session *s, const char *when, ebb_view y)
{
  double nats[BATCH];
  ebb_loss_nll(nats, &s->work.run, y);
  put_samples(s, when, "nll", nats);
  put_samples(s, when, "logdet", s->work.run.logdet);
}

/* (N, C), or (N, H, W, C) where there is more than one site */
static void put_logits(session *s, const char *when, ebb_view y)
{
  char name[32];
  snprintf(name, sizeof name, "%slogits", when);
  if (s->model.flow) put_likelihood(s, when, y);
  hsize_t n = (hsize_t)y.s.n, c = (hsize_t)y.s.c;
  if (ebb_sites(y.s) == n) put(s->file, name, 2, (hsize_t[]){n, c}, H5T_NATIVE_FLOAT, y.p);
  else put(s->file, name, 4, (hsize_t[]){n, (hsize_t)y.s.h, (hsize_t)y.s.w, c}, H5T_NATIVE_FLOAT, y.p);
}

static size_t labels_count(const session *s)
{
  return BATCH * ebb_sites(s->model.out);
}

/* ---- making ------------------------------------------------------------------------------------------------------------ */
static void set_word(session *s, const ebb_network *n, void *options, char *word)
{
  char *value = strchr(word, '=');
  if (!value) stop("expected key=value");
  *value++ = 0;
  if (strncmp(word, "train.", 6) == 0)
    succeeds(ebb_option_set(&s->train, ebb_train_option_table, "train", word + 6, value, &s->pool));
  else if (strncmp(word, "run.", 4) == 0)
    succeeds(ebb_option_set(&s->way, ebb_run_option_table, "run", word + 4, value, &s->pool));
  else succeeds(ebb_option_set(options, n->options, "model", word, value, &s->pool));
}

static void make_model(session *s, const char *name, int count, char **words)
{
  const ebb_network *n = ebb_network_find(name);
  if (!n) stop(ebb_message());
  void *options = ebb_pool_take(&s->pool, n->options_size);
  succeeds(ebb_network_options(n, options, "", &s->pool));
  ebb_options_default(&s->train, ebb_train_option_table);
  ebb_options_default(&s->way, ebb_run_option_table);
  for (int i = 0; i < count; i++) set_word(s, n, options, words[i]);
  ebb_shape in = {.rank = 2, .n = 1, .d = 1, .h = SIDE, .w = SIDE, .c = COLOURS};
  succeeds(ebb_network_model(&s->model, n, options, in, CLASSES));
}

static double noise(const session *s, uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){s->train.seed, EBB_RNG_TEST, what}, i);
}

/* How far from its usual initial value a weight is put. */
static double spread(const session *s, const ebb_param *p)
{
  bool hides = s->model.flow && (p->fill == EBB_FILL_ZERO || p->fill == EBB_FILL_ORTHOGONAL); /* s = 0, log|det| = 0 */
  return p->kind != EBB_WEIGHT ? 0 : p->rank == 1 ? 0.2 : hides ? 0.1 : 0;
}

static double pixel(const session *s, size_t i)
{
  return s->model.flow ? (double)ebb_rng_below((ebb_rng){s->train.seed, EBB_RNG_TEST, 2}, i, GREY_LEVELS) : noise(s, 2, i);
}

/* The usual initial values, but no gain is 1, no bias is 0, and no flow the identity: an oracle would not see them. */
static void make_values(session *s)
{
  ebb_model_initialise(&s->model, s->work.weights, s->work.state, s->train.seed);
  for (const ebb_param *p = s->model.params; p; p = p->next)
    for (size_t i = 0; spread(s, p) > 0 && i < p->count; i++)
      s->work.weights[p->offset + i] += (float)(spread(s, p) * noise(s, 1, p->offset + i));
  for (size_t k = 0; k < STEPS; k++) {
    for (size_t i = 0; i < PIXELS; i++) s->x[k][i] = (float)pixel(s, k * PIXELS + i);
    for (size_t i = 0; i < labels_count(s); i++)
      s->labels[k][i] = (int32_t)ebb_rng_below((ebb_rng){s->train.seed, EBB_RNG_TEST, 3}, k * labels_count(s) + i, CLASSES);
  }
  put_images(s, "input", STEPS, s->x[0]);
  for (size_t k = 1; k < STEPS; k++) memmove(&s->labels[0][k * labels_count(s)], s->labels[k], labels_count(s) * sizeof **s->labels);
  put(s->file, "labels", 3, (hsize_t[]){STEPS, BATCH, ebb_sites(s->model.out)}, H5T_NATIVE_INT32, s->labels);
  put_params(s, "model", s->work.weights, s->work.state);
}

/* ---- working ----------------------------------------------------------------------------------------------------------- */
static ebb_view input(session *s, int k)
{
  return ebb_view_of(s->x[k], s->plan.x);
}

static void note_dither(const ebb_layer *l, int depth, void *context)
{
  (void)depth;
  if (l->ops == &ebb_dither_ops) *(int *)context = l->id;
}

/* What the forward pass just made added to its input: dither.c has its counters, and that all evaluations add the same. */
static void repeat_noise(const session *s, float *out)
{
  ebb_rng g = ebb_layer_rng(&s->work.run, s->dither);
  if (s->work.run.pass == EBB_EVAL) g.time = 0;
  for (size_t i = 0; i < PIXELS; i++) out[i] = (float)ebb_rng_uniform(g, i);
}

static void put_noise(session *s)
{
  float eval[PIXELS];
  s->work.run.pass = EBB_EVAL;
  repeat_noise(s, eval);
  put_images(s, "noise", STEPS, s->noise[0]);
  put_images(s, "eval_noise", 1, eval);
}

static void evaluate(session *s, const char *when)
{
  ebb_view y;
  s->work.run.pass = EBB_EVAL;
  ebb_forward(&s->work.run, &s->model, input(s, 0), &y);
  put_logits(s, when, y);
  ebb_release(&s->work.run);
}

static void gradients(session *s, int k)
{
  ebb_view y, dy, dx = ebb_view_of(s->dx, s->plan.x);
  ebb_loss loss = ebb_train_loss(&s->train, &s->model);
  s->work.run.pass = EBB_TRAIN;
  ebb_forward(&s->work.run, &s->model, input(s, k), &y);
  if (k == 0) put_logits(s, "", y);
  if (s->model.flow) repeat_noise(s, s->noise[k]);
  double value = ebb_loss_eval(&loss, &s->work.run, y, &s->labels[0][(size_t)k * labels_count(s)], 1, &dy);
  if (k == 0) put(s->file, "loss", 1, (hsize_t[]){1}, H5T_NATIVE_DOUBLE, &value);
  ebb_backward(&s->work.run, &s->model, input(s, k), dy, dx);
  if (k == 0) put_images(s, "input_gradients", 1, s->dx);
}

static void steps(session *s)
{
  ebb_workspace *w = &s->work;
  for (int k = 0; k < STEPS; k++) {
    gradients(s, k);
    if (k == 0) {
      put_params(s, "gradients", w->grads, NULL);
      put_params(s, "state", NULL, w->state);
      evaluate(s, "eval_");
    }
    double norm = ebb_optim_norm(&s->model, w->grads);
    ebb_optim_step(&s->train, &s->model, w->weights, w->grads, w->optimizer, s->train.lr, norm, (uint64_t)k);
  }
  put_params(s, "trained", w->weights, w->state);
  evaluate(s, "trained_eval_");
  if (s->model.flow) put_noise(s);
}

int main(int argc, char **argv)
{
  static session s;
  if (argc < 3) stop("usage: golden OUT.h5 NETWORK [key=value ...]");
  succeeds(ebbk_start());
  make_model(&s, argv[2], argc - 3, argv + 3);
  ebb_shape x = s.model.in;
  x.n = BATCH;
  ebb_plan_options o = {.policy = (ebb_policy)s.way.backward, .training = true, .input_gradient = true,
                        .optimizer = ebb_optim_bytes(&s.train, &s.model)};
  ebb_plan_make(&s.plan, &s.model, x, o, &s.pool);
  succeeds(ebb_workspace_create(&s.work, &s.model, &s.plan));
  s.work.run.seed = s.train.seed;
  ebb_model_walk(&s.model, note_dither, &s.dither);
  s.file = H5Fcreate(argv[1], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (s.file < 0) stop(argv[1]);
  make_values(&s);
  steps(&s);
  H5Fclose(s.file);
  ebb_workspace_destroy(&s.work);
  ebb_model_destroy(&s.model);
  ebb_pool_clear(&s.pool);
  return EXIT_SUCCESS;
}
