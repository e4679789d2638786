/* test_models.c -- networks have the parameter counts of their papers' code, to the unit, and fit their inputs.
 * Counts: shared table of the RevNet authors' code (revnet-public) and of MemCNN 1.5.2's published models. */
#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "compose/plan.h"
#include "compose/sequence.h"
#include "kernels/kernels.h"
#include "layers/layers.h"
#include "models/models.h"
#include "tests/suite.h"

static const struct count { const char *name, *variant, *classes; size_t weights; } counts[] = {
    {"resnet-32", "authors", "10", 464154},   {"resnet-32", "authors", "100", 470004},
    {"resnet-110", "authors", "10", 1727962}, {"resnet-110", "authors", "100", 1733812},
    {"resnet-164", "authors", "10", 1703258}, {"resnet-164", "authors", "100", 1726388},
    {"revnet-38", "authors", "10", 464890},   {"revnet-38", "authors", "100", 475060},
    {"revnet-110", "authors", "10", 1729194}, {"revnet-110", "authors", "100", 1740804},
    {"revnet-164", "authors", "10", 1748778}, {"revnet-164", "authors", "100", 1794948},
    {"resnet-32", "memcnn", "10", 466906},    {"resnet-110", "memcnn", "10", 1730714},
    {"resnet-164", "memcnn", "10", 1704154},  {"revnet-38", "memcnn", "10", 573994},
    {"revnet-110", "memcnn", "10", 1854890},  {"revnet-164", "memcnn", "10", 1983786},
};

static const ebb_shape cifar = {.rank = 2, .n = 1, .d = 1, .h = 32, .w = 32, .c = 3};

static const ebb_shape seven = {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 7};
static const ebb_shape mnist = {.rank = 2, .n = 1, .d = 1, .h = 28, .w = 28, .c = 1};

static void set_options(void *options, const ebb_network *n, const char *variant, const char *classes, ebb_pool *pool)
{
  const char *words = ebb_pool_text(pool, "%s%s %s%s", variant ? "variant=" : "", variant ? variant : "",
                                    classes ? "classes=" : "", classes ? classes : "");
  ck_assert_msg(ebb_network_options(n, options, words, pool) == EBB_OK, "%s", ebb_message());
}

START_TEST(parameter_counts_are_the_published_ones)
{
  const struct count *k = &counts[_i];
  const ebb_network  *n = ebb_network_find(k->name);
  ebb_pool            pool = {0};
  ebb_model           m;
  ck_assert(n != NULL);
  void *options = ebb_pool_take(&pool, n->options_size);
  set_options(options, n, k->variant, k->classes, &pool);
  ck_assert_msg(ebb_network_model(&m, n, options, cifar, 10) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(m.weights == k->weights, "%s %s %s: %zu parameters, expected %zu", k->name, k->variant, k->classes,
                m.weights, k->weights);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* Of Glow's authors' code for CIFAR-10 (3 levels of 32 steps, width 512, learned top). */
static const struct glow { const char *coupling; size_t weights; } glows[] = {{"affine", 44562132}, {"additive", 38354196}};

START_TEST(glow_has_its_authors_counts)
{
  const ebb_network *n = ebb_network_find("glow");
  ebb_pool           pool = {0};
  ebb_model          m;
  ck_assert(n != NULL);
  void       *options = ebb_pool_take(&pool, n->options_size);
  const char *words = ebb_pool_text(&pool, "levels=3 steps=32 width=512 coupling=%s", glows[_i].coupling);
  ck_assert_msg(ebb_network_options(n, options, words, &pool) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_network_model(&m, n, options, cifar, 10) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(m.weights == glows[_i].weights, "%s: %zu parameters, expected %zu", glows[_i].coupling, m.weights, glows[_i].weights);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* What `ebb_inverse` makes of a flow's result is what it was given, within 1e-6 of 255, and in whole numbers the same; memory is planned. */
static const char *const flows[][2] = {{"realnvp", "levels=2 width=8 blocks=1"}, {"realnvp", "levels=2 width=8 blocks=1 norm=batch"}, {"glow", "levels=2 steps=2 width=8"}, {"glow", "levels=2 steps=2 width=8 coupling=additive"},
    {"glow", "levels=2 steps=2 width=8 permutation=plu"}, {"glow", "levels=2 steps=2 width=8 permutation=random"},
    {"glow", "levels=2 steps=2 width=8 permutation=orthogonal"},
    {"glow", "levels=2 steps=2 width=8 coupling=additive permutation=reverse"},
    {"nice", "hidden=2 width=16"}};
enum { FLOWS = sizeof flows / sizeof *flows };

START_TEST(samples_of_flows_come_back)
{
  const ebb_shape    s = {.rank = 2, .n = 3, .d = 1, .h = 8, .w = 8, .c = 2};
  const ebb_network *n = ebb_network_find(flows[_i][0]);
  ebb_pool           pool = {0};
  ebb_model          m;
  ebb_plan           plan;
  ebb_workspace      w;
  ebb_view           y, back;
  void              *options = ebb_pool_take(&pool, n->options_size);
  ebb_real          *x = ebb_pool_take(&pool, ebb_bytes(s)), *z = ebb_pool_take(&pool, ebb_bytes(s));
  size_t             count = ebb_count(s), moved = 0;
  ck_assert(ebb_network_options(n, options, flows[_i][1], &pool) == EBB_OK);
  ck_assert_msg(ebb_network_model(&m, n, options, s, 10) == EBB_OK, "%s", ebb_message());
  ck_assert(m.flow);
  ebb_plan_make(&plan, &m, s, (ebb_plan_options){.inverse = true}, &pool);
  ck_assert_msg(ebb_workspace_create(&w, &m, &plan) == EBB_OK, "%s", ebb_message());
  ebb_model_initialise(&m, w.weights, w.state, 5);
  for (size_t i = 0; i < m.weights; i++) w.weights[i] += (ebb_real)(0.03 * ebb_rng_normal((ebb_rng){5, EBB_RNG_TEST, 1}, i));
  for (size_t i = 0; i < count; i++) x[i] = (ebb_real)ebb_rng_below((ebb_rng){5, EBB_RNG_TEST, 2}, i, 256);
  w.run.pass = EBB_EVAL;
  ebb_forward(&w.run, &m, ebb_view_of(x, s), &y);
  memcpy(z, y.p, ebb_bytes(s));
  ebb_release(&w.run);
  ebb_inverse(&w.run, &m, ebb_view_of(z, s), &back);
  for (size_t i = 0; i < count; i++) ck_assert_float_eq_tol(ebb_reals(back)[i], x[i], 255e-6f);
  ebb_release(&w.run);
  w.run.drawn = true; /* as if it were: the noise stays where it is, and is rounded away */
  ebb_inverse(&w.run, &m, ebb_view_of(z, s), &back);
  for (size_t i = 0; i < count; i++) moved += ebb_reals(back)[i] != x[i];
  ck_assert_msg(moved == 0, "%s: %zu of %zu values are others", n->name, moved, count);
  ck_assert_msg(ebb_workspace_peak(&w, 0) == plan.peak, "peak %zu, plan %zu", ebb_workspace_peak(&w, 0), plan.peak);
  ebb_release(&w.run);
  ebb_workspace_destroy(&w);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* Of MNIST's images, by the paper's architecture: 4 networks of 392, five times 1000, 392, and 784 scales. */
START_TEST(nice_has_its_papers_count)
{
  const ebb_network *n = ebb_network_find("nice");
  ebb_pool           pool = {0};
  ebb_model          m;
  void              *options = ebb_pool_take(&pool, n->options_size);
  set_options(options, n, NULL, NULL, &pool);
  ck_assert_msg(ebb_network_model(&m, n, options, mnist, 10) == EBB_OK, "%s", ebb_message());
  ck_assert_uint_eq(m.weights, 4 * (393 * 1000 + 4 * 1001 * 1000 + 1001 * 392) + 784);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* What is between the doors of the stream. */
static const ebb_layer *on_the_stream(const ebb_model *m)
{
  for (int i = 0;; i++) {
    const ebb_layer *l = m->root->ops->child(m->root, i);
    if (!strcmp(l->name, "in")) return m->root->ops->child(m->root, i + 1);
  }
}

/* A small network, with weights that are far from those of the identity. */
typedef struct pixels { ebb_pool pool; ebb_model m; ebb_plan plan; ebb_workspace w; ebb_shape s; } pixels;

static void pixels_open(pixels *t, const char *network, const char *words, int height, int width)
{
  const ebb_network *n = ebb_network_find(network);
  void              *options = ebb_pool_take(&t->pool, n->options_size);
  t->s = (ebb_shape){.rank = 2, .n = 5, .d = 1, .h = height, .w = width, .c = 1};
  ck_assert(ebb_network_options(n, options, words, &t->pool) == EBB_OK);
  ck_assert_msg(ebb_network_model(&t->m, n, options, t->s, 10) == EBB_OK, "%s", ebb_message());
  ebb_plan_make(&t->plan, &t->m, t->s, (ebb_plan_options){.inverse = true}, &t->pool);
  ck_assert_msg(ebb_workspace_create(&t->w, &t->m, &t->plan) == EBB_OK, "%s", ebb_message());
  ebb_model_initialise(&t->m, t->w.weights, t->w.state, 5);
  for (size_t i = 0; i < t->m.weights; i++) t->w.weights[i] *= 3;
  t->w.run.pass = EBB_EVAL;
}

static void pixels_close(pixels *t)
{
  ebb_workspace_destroy(&t->w);
  ebb_model_destroy(&t->m);
  ebb_pool_clear(&t->pool);
}

/* An even number of pixels, and an odd one. */
START_TEST(nice_is_undone_to_the_bit)
{
  pixels t = {.pool = {0}};
  pixels_open(&t, "nice", "width=32", 9, 8 + _i);
  ebb_shape        flat = {.rank = 2, .n = t.s.n, .d = 1, .h = 1, .w = 1, .c = t.s.h * t.s.w, .stream = true};
  ebb_fixed       *x = ebb_pool_take(&t.pool, ebb_bytes(flat)), *z = ebb_pool_take(&t.pool, ebb_bytes(flat));
  ebb_view         v = ebb_view_of(z, flat);
  const ebb_layer *l = on_the_stream(&t.m);
  for (size_t i = 0; i < ebb_count(flat); i++) z[i] = x[i] = (ebb_fixed)(1e6 * ebb_rng_normal((ebb_rng){5, EBB_RNG_TEST, 3}, i));
  ebb_forward_layer(l, &t.w.run, v, v);
  for (size_t i = 0; i < ebb_count(flat); i++) ck_assert_msg(z[i] != x[i], "value %zu stays as it is", i % (size_t)flat.c);
  ebb_inverse_layer(l, &t.w.run, v);
  ck_assert(memcmp(z, x, ebb_bytes(flat)) == 0);
  pixels_close(&t);
}
END_TEST

/* Dithered, a pixel x lies within x / 256 - 1/2 and 1/256 more; one coupling moves the odd ones from there. */
START_TEST(nice_parts_even_pixels_from_odd_ones)
{
  pixels t = {.pool = {0}};
  pixels_open(&t, "nice", "couplings=1 width=32", 9, 8 + _i);
  ebb_real *x = ebb_pool_take(&t.pool, ebb_bytes(t.s));
  ebb_view  z;
  size_t    sites = (size_t)(t.s.h * t.s.w);
  for (size_t i = 0; i < ebb_count(t.s); i++) x[i] = (ebb_real)ebb_rng_below((ebb_rng){5, EBB_RNG_TEST, 2}, i, 256);
  ebb_forward(&t.w.run, &t.m, ebb_view_of(x, t.s), &z);
  for (size_t i = 0; i < ebb_count(t.s); i++) {
    double off = 256 * ((double)ebb_reals(z)[i] + 0.5) - (double)x[i];
    if (i % sites % 2 == 0) ck_assert_msg(off > -0.001 && off < 1.001, "even pixel %zu is off by %g", i % sites, off);
    else ck_assert_msg(off < 0 || off > 1, "odd pixel %zu is off by %g", i % sites, off);
  }
  ebb_release(&t.w.run);
  pixels_close(&t);
}
END_TEST

/* z of x, by labels (5) or NULL; and x of that again. */
static void there_and_back(pixels *t, ebb_real *z, double *logdet, ebb_real *x, const int32_t *labels)
{
  ebb_view y;
  t->w.run.labels = labels;
  ebb_forward(&t->w.run, &t->m, ebb_view_of(x, t->s), &y);
  memcpy(z, y.p, ebb_bytes(t->s));
  memcpy(logdet, t->w.run.logdet, (size_t)t->s.n * sizeof *logdet);
  ebb_release(&t->w.run);
  ebb_inverse(&t->w.run, &t->m, y = ebb_view_of(z, t->s), &y);
  for (size_t i = 0; i < ebb_count(t->s); i++) ck_assert_msg(fabs((double)ebb_reals(y)[i] - (double)x[i]) < 255e-5, "%g, then %g", (double)x[i], (double)ebb_reals(y)[i]);
  ebb_release(&t->w.run);
}

/* What a sample becomes depends on its own label, and on nobody else's; of a sample without one, and where there are none, alike. */
START_TEST(a_density_of_each_class_looks_at_the_samples_own)
{
  static const char *const words[] = {"levels=2 steps=2 width=8 condition=prior", "levels=2 steps=2 width=8 condition=all"};
  static const int32_t     labels[3][5] = {{3, 0, -1, 9, 2}, {3, 1, -1, 9, 2}, {-1, -1, -1, -1, -1}};
  pixels t = {.pool = {0}};
  pixels_open(&t, "glow", words[_i], 8, 8);
  for (size_t i = 0; i < t.m.weights; i++) t.w.weights[i] += (ebb_real)(0.1 * ebb_rng_normal((ebb_rng){5, EBB_RNG_TEST, 1}, i));
  size_t    one = ebb_count(t.s) / (size_t)t.s.n;
  double    logdet[4][5];
  ebb_real *z[4], *x = ebb_pool_take(&t.pool, ebb_bytes(t.s));
  for (size_t i = 0; i < ebb_count(t.s); i++) x[i] = (ebb_real)ebb_rng_below((ebb_rng){5, EBB_RNG_TEST, 2}, i, 256);
  for (int k = 0; k < 4; k++) {
    z[k] = ebb_pool_take(&t.pool, ebb_bytes(t.s));
    there_and_back(&t, z[k], logdet[k], x, k < 3 ? labels[k] : NULL);
  }
  ck_assert(t.m.conditional);
  for (size_t i = 0; i < 5; i++) {
    ck_assert((memcmp(z[0] + i * one, z[1] + i * one, one * sizeof **z) == 0) == (i != 1));
    ck_assert((logdet[0][i] == logdet[1][i]) == (i != 1));
    ck_assert((memcmp(z[0] + i * one, z[2] + i * one, one * sizeof **z) == 0) == (labels[0][i] < 0));
  }
  ck_assert(memcmp(z[2], z[3], ebb_bytes(t.s)) == 0);
  pixels_close(&t);
}
END_TEST

/* Two channels of three samples, then planes of four classes; of labels below 0 and beyond the classes none is 1. */
START_TEST(class_planes_show_labels)
{
  const ebb_shape s = {.rank = 2, .n = 3, .d = 1, .h = 2, .w = 3, .c = 2};
  const int32_t   labels[3] = {2, -1, 0};
  ebb_pool        pool = {0};
  ebb_model       m;
  ebb_builder     b;
  ebb_plan        plan;
  ebb_workspace   w;
  ebb_view        y;
  ebb_real       *x = ebb_pool_take(&pool, ebb_bytes(s));
  for (size_t i = 0; i < ebb_count(s); i++) x[i] = (ebb_real)i;
  ebb_model_begin(&m, &b, "planes", s);
  ebb_sequence *root = ebb_sequence_open(&b, "net", 1);
  ebb_sequence_add(root, ebb_class_planes(&b, "class", 4));
  ck_assert_msg(ebb_model_end(&m, &b, ebb_sequence_close(root)) == EBB_OK, "%s", ebb_message());
  ebb_plan_make(&plan, &m, s, (ebb_plan_options){0}, &pool);
  ck_assert_msg(ebb_workspace_create(&w, &m, &plan) == EBB_OK, "%s", ebb_message());
  w.run.pass = EBB_EVAL;
  w.run.labels = labels;
  ebb_forward(&w.run, &m, ebb_view_of(x, s), &y);
  ck_assert_int_eq(y.s.c, 6);
  for (int i = 0; i < 18; i++)
    for (int c = 0; c < 6; c++) {
      double expected = c < 2 ? (double)x[2 * i + c] : labels[i / 6] == c - 2;
      ck_assert_msg((double)ebb_reals(y)[i * y.stride + c] == expected, "site %d, channel %d: %g", i, c, (double)ebb_reals(y)[i * y.stride + c]);
    }
  ebb_release(&w.run);
  ebb_workspace_destroy(&w);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* Between the least memory and what it takes to keep all: within each budget, some blocks kept half-way, and at the end all stored. */
START_TEST(a_budget_is_kept_and_used)
{
  static const char *const networks[][2] = {{"revnet-38", ""}, {"iunet", "channels=8,16,32 blocks=2,2,2"}, {"glow", "steps=3 width=16"}};
  const ebb_network *n = ebb_network_find(networks[_i][0]);
  ebb_shape          x = {.rank = 2, .n = 4, .d = 1, .h = 32, .w = 32, .c = 3};
  ebb_pool           pool = {0};
  ebb_model          m;
  ebb_plan           least, store, p;
  ebb_plan_options   o = {.training = true, .optimizer = 1000, .batches = 5000, .loss = 100, .drift = 1e-5};
  void              *options = ebb_pool_take(&pool, n->options_size);
  ebb_threads_set(1); /* beside other tests, two that wait for each other take long */
  ck_assert(ebb_network_options(n, options, networks[_i][1], &pool) == EBB_OK);
  ck_assert_msg(ebb_network_model(&m, n, options, x, 10) == EBB_OK, "%s", ebb_message());
  ebb_plan_make(&least, &m, x, o, &pool);
  o.policy = EBB_STORE;
  ebb_plan_make(&store, &m, x, o, &pool);
  for (int i = 0; i <= 6; i++) {
    size_t budget = least.peak + (store.peak - least.peak) * (size_t)i / 6;
    ck_assert_msg(ebb_plan_auto(&p, &m, x, o, budget, &pool) == EBB_OK, "%s", ebb_message());
    ebb_forecast f = ebb_plan_forecast(&p, &m);
    ck_assert_msg(p.peak <= budget, "%zu of %zu bytes", p.peak, budget);
    ck_assert((p.options.policy == EBB_STORE) == (i == 6));
    if (i == 3) ck_assert_msg(f.spared + f.stored > 0 && p.peak > least.peak, "%d blocks kept in %zu bytes", f.spared + f.stored, p.peak);
  }
  ck_assert(ebb_plan_auto(&p, &m, x, o, least.peak - 1, &pool) == EBB_OK);
  ck_assert_uint_eq(p.peak, least.peak);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* Counts from the iUNets authors' code (iunets 0.1) with its defaults, without stem and head; and of the whole network that the
 * benchmark figures are of. */
static const struct iunet { const char *words; int rank, colours; size_t body, all; } iunets[] = {
    {"channels=64,128,256,384 blocks=2,2,2,2", 2, 3, 4387328, 0},
    {"channels=32,64,128,256 blocks=2,2,2,2", 3, 1, 4754176, 0},
    {"channels=3,8,16,32,40 blocks=2,2,2,2,2", 2, 3, 57478, 0},
    {"channels=7,15,35,91 blocks=2,3,1,3 depth=3 stride=2,2,2,2,2,2,1,2,2", 3, 1, 1112094, 0},
    {"channels=32,64,128,256 blocks=2,3,1,1 classes=4", 3, 1, 0, 2652676},
};
enum { IUNETS = sizeof iunets / sizeof *iunets };

START_TEST(iunets_have_their_authors_counts)
{
  const struct iunet *k = &iunets[_i];
  const ebb_network  *n = ebb_network_find("iunet");
  ebb_shape           in = {.rank = k->rank, .n = 1, .d = k->rank == 3 ? 16 : 1, .h = 32, .w = 32, .c = k->colours};
  ebb_pool            pool = {0};
  ebb_model           m;
  size_t              body = 0;
  void               *options = ebb_pool_take(&pool, n->options_size);
  ck_assert_msg(ebb_network_options(n, options, k->words, &pool) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(ebb_network_model(&m, n, options, in, 10) == EBB_OK, "%s", ebb_message());
  for (const ebb_param *p = m.params; p; p = p->next)
    if (p->kind == EBB_WEIGHT && strncmp(p->name, "body.", 5) == 0) body += p->count;
  if (k->body) ck_assert_msg(body == k->body, "%s: %zu parameters, expected %zu", k->words, body, k->body);
  if (k->all) ck_assert_msg(m.weights == k->all, "%s: %zu parameters, expected %zu", k->words, m.weights, k->all);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

START_TEST(every_network_takes_its_default_options)
{
  const ebb_network *n = &ebb_networks[_i];
  ebb_pool           pool = {0};
  ebb_model          m;
  void              *options = ebb_pool_take(&pool, n->options_size);
  set_options(options, n, NULL, NULL, &pool);
  ck_assert_msg(ebb_network_model(&m, n, options, n->flow == EBB_FLOW ? seven : cifar, 7) == EBB_OK, "%s", ebb_message());
  ck_assert_msg(m.flow == (n->flow != EBB_NO_FLOW), "%s: the catalogue says %d", n->name, n->flow);
  if (m.flow) ck_assert(ebb_shape_equal(m.out, m.in));
  else ck_assert_int_eq(m.out.c, 7);
  ck_assert(ebb_sites(m.out) == 1 || ebb_sites(m.out) == ebb_sites(m.in));
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

/* ---- memory: MemCNN's RevNets with a batch of 100, on two threads ------------------------------------------------------- */
static ebb_plan plan_revnet(ebb_model *m, const char *name, ebb_policy policy, ebb_pool *pool)
{
  const ebb_network *n = ebb_network_find(name);
  ebb_plan           plan;
  ebb_shape          x = cifar;
  void              *options = ebb_pool_take(pool, n->options_size);
  set_options(options, n, "memcnn", NULL, pool);
  ck_assert(ebb_network_model(m, n, options, cifar, 10) == EBB_OK);
  x.n = 100;
  ebb_threads_set(2);
  ebb_plan_make(&plan, m, x, (ebb_plan_options){.policy = policy, .training = true}, pool);
  return plan;
}

/* Below MemCNN's 85.7 MB, which counts neither the backward pass nor scratch (van de Leemput et al. 2019, Table 3). */
START_TEST(reversal_of_revnet_110_takes_less_than_85_megabytes)
{
  ebb_pool  pool = {0};
  ebb_model m;
  ebb_plan  plan = plan_revnet(&m, "revnet-110", EBB_REVERSE, &pool);
  ck_assert_uint_le(plan.stream + plan.kept + plan.scratch, 85000000);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

typedef struct late { const ebb_plan *p; int seen; } late;

static void check_spared(const ebb_layer *l, int depth, void *context)
{
  late           *k = context;
  const ebb_plan *p = k->p;
  (void)depth;
  if (!strcmp(l->name, "stage1.0")) {
    ck_assert(!p->spared[l->id]);
    k->seen++;
  }
  if (!strcmp(l->name, "stage3.2")) {
    ck_assert(p->spared[l->id] == (p->options.policy == EBB_REVERSE));
    ck_assert((p->tally[l->id].kept > 0) == (p->options.policy != EBB_CHECKPOINT));
    k->seen++;
  }
}

/* The last stage's activations are a quarter of the first's: what is inside its blocks fits below the first's peak. */
START_TEST(late_blocks_are_spared_their_replay)
{
  ebb_pool pool = {0};
  for (int policy = 0; policy < EBB_POLICIES; policy++) {
    ebb_model m;
    ebb_plan  plan = plan_revnet(&m, "revnet-38", (ebb_policy)policy, &pool);
    late      k = {&plan, 0};
    ebb_model_walk(&m, check_spared, &k);
    ck_assert_int_eq(k.seen, 2);
    ebb_model_destroy(&m);
  }
  ebb_pool_clear(&pool);
}
END_TEST

/* The i-UNet's blocks in the order of the way back, down to its deepest level. */
static void note_spared(const ebb_layer *l, int depth, void *context)
{
  static const char *const names[] = {"body.decoder0.1", "body.decoder0.0", "body.decoder1.1", "body.decoder2.1", "body.encoder0.0"};
  late                    *k = context;
  (void)depth;
  for (int i = 0; i < 5; i++)
    if (!strcmp(l->name, names[i]) && k->p->spared[l->id]) k->seen |= 1 << i;
}

/* Where the next late block does not fit, smaller ones behind it may: those of an i-UNet's coarser levels. What makes the room is the
 * scratch of the deepest level's convolutions, of which the reference has none. */
START_TEST(small_blocks_are_spared_where_large_ones_do_not_fit)
{
  const ebb_network *n = ebb_network_find("iunet");
  ebb_pool           pool = {0};
  ebb_model          m;
  ebb_plan           plan;
  ebb_shape          x = {.rank = 2, .n = 1, .d = 1, .h = 128, .w = 128, .c = 3};
  void              *options = ebb_pool_take(&pool, n->options_size);
  ck_assert(ebb_network_options(n, options, "channels=64,128,256,384 blocks=2,2,2,2", &pool) == EBB_OK);
  ck_assert_msg(ebb_network_model(&m, n, options, x, 4) == EBB_OK, "%s", ebb_message());
  x.n = 4;
  ebb_threads_set(2);
  ebb_plan_make(&plan, &m, x, (ebb_plan_options){.policy = EBB_REVERSE, .training = true}, &pool);
  late k = {&plan, 0};
  ebb_model_walk(&m, note_spared, &k);
  ck_assert_int_eq(k.seen, strcmp(ebbk->isa, "reference") ? 1 << 0 | 1 << 2 | 1 << 3 : 1 << 0);
  ebb_model_destroy(&m);
  ebb_pool_clear(&pool);
}
END_TEST

START_TEST(an_unknown_network_names_the_nearest)
{
  ck_assert(ebb_network_find("revnet-111") == NULL);
  ck_assert_msg(strstr(ebb_message(), "revnet-110"), "%s", ebb_message());
}
END_TEST

/* Rows have any number of columns from two on, odd ones too. */
START_TEST(flows_of_tables_take_any_row)
{
  static const char *const names[] = {"spline-flow", "realnvp-tabular"};
  const ebb_network       *n = ebb_network_find(names[_i]);
  ebb_pool                 pool = {0};
  ebb_model                m;
  void                    *options = ebb_pool_take(&pool, n->options_size);
  set_options(options, n, NULL, NULL, &pool);
  for (int c = 1; c < 9; c++) {
    ebb_shape row = {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = c};
    ck_assert_int_eq(ebb_network_model(&m, n, options, row, 0), c > 1 ? EBB_OK : EBB_CONFIG);
    if (c == 1) ck_assert_msg(strstr(ebb_message(), "two columns or more"), "%s", ebb_message());
    else ebb_model_destroy(&m);
  }
  ebb_pool_clear(&pool);
}
END_TEST

static void refuses(const char *name, const char *key, const char *value, const char *words)
{
  const ebb_network *n = ebb_network_find(name);
  ebb_pool           pool = {0};
  ebb_model          m;
  void              *options = ebb_pool_take(&pool, n->options_size);
  set_options(options, n, NULL, NULL, &pool);
  ck_assert(ebb_option_set(options, n->options, "model", key, value, &pool) == EBB_OK);
  ck_assert_int_eq(ebb_network_model(&m, n, options, cifar, 10), EBB_CONFIG);
  ck_assert_msg(strstr(ebb_message(), words), "%s", ebb_message());
  ebb_pool_clear(&pool);
}

START_TEST(options_that_do_not_go_together_are_refused)
{
  refuses("revnet-38", "widths", "32,64", "one for each of the 3 stages");
  refuses("revnet-38", "widths", "31,31,64,112", "even widths");
  refuses("revnet-38", "widths", "32,32,64,66", "multiple of 4");
  refuses("revnet-164", "widths", "32,129,256,512", "multiple of 8");
  refuses("stack", "width", "63", "even width");
  refuses("glow", "levels", "6", "multiples of 2^6");
  refuses("realnvp", "levels", "7", "multiples of 2^6");
}
END_TEST

/* Whose sizes no number of levels halves, and rows where images are wanted, or the other way round. */
START_TEST(flows_say_what_data_they_are_for)
{
  static const struct misfit { const char *name, *words; ebb_shape s; } misfits[] = {
      {"glow", "crop or pad", {.rank = 2, .n = 1, .d = 1, .h = 33, .w = 33, .c = 1}},
      {"realnvp", "a smaller model.levels", {.rank = 2, .n = 1, .d = 1, .h = 33, .w = 33, .c = 1}},
      {"glow", "expected a network for tables", {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 7}},
      {"realnvp", "expected a network for tables", {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 7}},
      {"nice", "expected a network for tables", {.rank = 1, .n = 1, .d = 1, .h = 1, .w = 1, .c = 7}},
      {"spline-flow", "expected a network for images", {.rank = 2, .n = 1, .d = 1, .h = 8, .w = 8, .c = 3}},
      {"realnvp-tabular", "expected a network for images", {.rank = 2, .n = 1, .d = 1, .h = 8, .w = 8, .c = 1}},
  };
  for (size_t i = 0; i < sizeof misfits / sizeof *misfits; i++) {
    const ebb_network *n = ebb_network_find(misfits[i].name);
    ebb_pool           pool = {0};
    ebb_model          m;
    void              *options = ebb_pool_take(&pool, n->options_size);
    set_options(options, n, NULL, NULL, &pool);
    ck_assert_int_eq(ebb_network_model(&m, n, options, misfits[i].s, 0), EBB_CONFIG);
    ck_assert_msg(strstr(ebb_message(), misfits[i].words), "%s: %s", misfits[i].name, ebb_message());
    ebb_pool_clear(&pool);
  }
}
END_TEST

/* A density can be infinite for a batch: such steps are left out, a few at a time, unless the user says otherwise. */
START_TEST(flows_may_leave_steps_out)
{
  for (const ebb_network *n = ebb_networks; n->name; n++)
    ck_assert_msg(!strstr(ebb_network_training(n), "skip=10") == (n->flow == EBB_NO_FLOW), "%s: %s", n->name, ebb_network_training(n));
}
END_TEST

int main(void)
{
  int networks = 0;
  while (ebb_networks[networks].name) networks++;
  if (ebbk_start() != EBB_OK) return EXIT_FAILURE;
  Suite *suite = suite_create("models");
  TCase *all = tcase_create("networks");
  tcase_set_timeout(all, 60);
  tcase_add_loop_test(all, samples_of_flows_come_back, 0, FLOWS);
  tcase_add_test(all, nice_has_its_papers_count);
  tcase_add_loop_test(all, nice_is_undone_to_the_bit, 0, 2);
  tcase_add_loop_test(all, nice_parts_even_pixels_from_odd_ones, 0, 2);
  tcase_add_test(all, class_planes_show_labels);
  tcase_add_loop_test(all, a_budget_is_kept_and_used, 0, 3);
  tcase_add_loop_test(all, a_density_of_each_class_looks_at_the_samples_own, 0, 2);
  tcase_add_loop_test(all, glow_has_its_authors_counts, 0, (int)(sizeof glows / sizeof *glows));
  tcase_add_loop_test(all, iunets_have_their_authors_counts, 0, IUNETS);
  tcase_add_loop_test(all, parameter_counts_are_the_published_ones, 0, (int)(sizeof counts / sizeof *counts));
  tcase_add_loop_test(all, every_network_takes_its_default_options, 0, networks);
  tcase_add_loop_test(all, flows_of_tables_take_any_row, 0, 2);
  tcase_add_test(all, reversal_of_revnet_110_takes_less_than_85_megabytes);
  tcase_add_test(all, late_blocks_are_spared_their_replay);
  tcase_add_test(all, small_blocks_are_spared_where_large_ones_do_not_fit);
  tcase_add_test(all, an_unknown_network_names_the_nearest);
  tcase_add_test(all, options_that_do_not_go_together_are_refused);
  tcase_add_test(all, flows_say_what_data_they_are_for);
  tcase_add_test(all, flows_may_leave_steps_out);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
