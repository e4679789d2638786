/* sampler.c -- see sampler.h. */
#include "sampler.h"

#include <math.h>
#include <string.h>

#include "build.h"
#include "train/checkpoint.h"

#define AT(field) offsetof(ebb_sample_options, field)
/* clang-format off */
const ebb_option ebb_sample_option_table[] = {
  {"count",       EBB_OPTION_INT,  AT(count),       "64",  "samples", "how many are drawn", NULL, 1, 1000000},
  {"temperature", EBB_OPTION_REAL, AT(temperature), "1",   "",        "standard deviation of the prior at every level, as a multiple of what it was trained with", NULL, 0, 100},
  {"seed",        EBB_OPTION_SIZE, AT(seed),        "1",   "",        "the same seed draws the same samples", NULL, 0, 9007199254740992},
  {"folder",      EBB_OPTION_TEXT, AT(folder),      "samples", "",    "where samples.h5 and, of images, samples.png are written", NULL, 0, 0},
  {"label",       EBB_OPTION_INT,  AT(label),       "-1",  "",        "class of all samples, where the network learnt a density of each; -1: classes take turns", NULL, -1, 1000000},
  {"between",     EBB_OPTION_LIST, AT(between),     "",    "",        "numbers of data.val's samples, two by two: goes from one to the other instead of drawing", NULL, 0, 2147483647},
  {"steps",       EBB_OPTION_INT,  AT(steps),       "8",   "samples", "from one to the other, both included", NULL, 2, 1000},
  {.key = NULL},
};
/* clang-format on */

/* ---- latent values ----------------------------------------------------------------------------------------------- */
static ebb_real *latent_at(const ebb_sampler *s, int i)
{
  return s->latent + (size_t)i * s->values;
}

/* The prior of each level is N(0, 1) in the latent value's own units: the flow's couplings scale and shift it. */
static void draw(ebb_sampler *s)
{
  const ebb_sample_options *o = &s->config->sample;
  for (int i = 0; i < s->count; i++) {
    ebb_rng g = {o->seed, EBB_RNG_SAMPLE, (uint32_t)i};
    for (size_t j = 0; j < s->values; j++) latent_at(s, i)[j] = (ebb_real)(o->temperature * ebb_rng_normal(g, j));
    if (s->label) s->label[i] = o->label >= 0 ? o->label : i % s->config->data.classes;
  }
}

static double dot(const ebb_real *a, const ebb_real *b, size_t n)
{
  double sum = 0;
  for (size_t i = 0; i < n; i++) sum += (double)a[i] * (double)b[i];
  return sum;
}

/* Along the great circle, where normal values lie (Shoemake 1985); share 0 is a, 1 is b. */
static void between(ebb_real *z, const ebb_real *a, const ebb_real *b, size_t n, double share)
{
  double cosine = dot(a, b, n) / sqrt(dot(a, a, n) * dot(b, b, n)), angle = acos(fmin(1, fmax(-1, cosine)));
  double of_a = sin(angle) > 1e-6 ? sin((1 - share) * angle) / sin(angle) : 1 - share;
  double of_b = sin(angle) > 1e-6 ? sin(share * angle) / sin(angle) : share;
  for (size_t i = 0; i < n; i++) z[i] = (ebb_real)(of_a * (double)a[i] + of_b * (double)b[i]);
}

/* ---- the data between which it goes ------------------------------------------------------------------------------ */
/* Of the network's value of channel c, in the file's units. */
static float in_units(const ebb_data_options *o, ebb_real value, int c)
{
  double std = o->std.count ? o->std.at[c % o->std.count] : 1, mean = o->mean.count ? o->mean.at[c % o->mean.count] : 0;
  return (float)((double)value * std + mean);
}

static double distance(const ebb_sampler *s, const ebb_real *a, const ebb_real *b)
{
  const ebb_data_options *o = &s->config->data;
  double                  most = 0;
  for (size_t i = 0; i < s->values; i++) {
    int c = (int)(i % (size_t)s->shape.c);
    most = ebb_worse(most, fabs((double)(in_units(o, a[i], c) - in_units(o, b[i], c))));
  }
  return most;
}

/* What was read to go between. */
typedef struct end { ebb_real *z; int32_t label; } end;

/* One sample's latent value, and how well it comes back; `place` is its number in the set. */
static ebb_status encode(ebb_sampler *s, const end *e, const ebb_real *x, int place)
{
  ebb_trainer *t = &s->trainer;
  ebb_view     y;
  t->work.run.labels = s->label ? &e->label : NULL;
  t->work.run.place = (uint64_t)place;
  EBB_TRY(ebb_trainer_predict(t, ebb_view_of((void *)x, s->shape), &y));
  memcpy(e->z, y.p, s->values * sizeof *e->z);
  ebb_trainer_reconstruct(t, &y);
  s->reconstruction = ebb_worse(s->reconstruction, distance(s, ebb_reals(y), x));
  ebb_release(&t->work.run);
  return EBB_OK;
}

/* Those of a batch, whose first is number `first` of the set, that are wanted. */
static ebb_status encode_batch(ebb_sampler *s, end *ends, const ebb_batch *batch, int first)
{
  const ebb_ints *wanted = &s->config->sample.between;
  for (int k = 0; k < wanted->count; k++) {
    int i = wanted->at[k] - first;
    if (i < 0 || i >= batch->x.s.n) continue;
    if (s->label) ends[k].label = batch->labels[i];
    EBB_TRY(encode(s, &ends[k], ebb_reals(batch->x) + (size_t)i * s->values, wanted->at[k]));
  }
  return EBB_OK;
}

static ebb_status encode_ends(ebb_sampler *s, end *ends, ebb_source *source)
{
  ebb_batch batch;
  int       first = 0;
  EBB_TRY(source->ops->seek(source, 0, 0));
  for (;; first += batch.x.s.n) {
    EBB_TRY(source->ops->next(source, &batch));
    if (batch.x.s.n == 0) return EBB_OK;
    EBB_TRY(encode_batch(s, ends, &batch, first));
  }
}

static ebb_status check_ends(const ebb_sampler *s)
{
  const ebb_ints *wanted = &s->config->sample.between;
  for (int k = 0; k < wanted->count; k++)
    if ((uint64_t)wanted->at[k] >= s->data->samples[EBB_VAL_SET])
      return ebb_fail(EBB_CONFIG, "sample.between: expected numbers below the %llu samples of %s, found %d",
                      (unsigned long long)s->data->samples[EBB_VAL_SET], s->data->name[EBB_VAL_SET], wanted->at[k]);
  return EBB_OK;
}

static ebb_status read_ends(ebb_sampler *s, end *ends)
{
  ebb_source *source;
  EBB_TRY(ebb_data_eval(&source, s->data, EBB_VAL_SET, s->trainer.plan.x.n));
  ebb_status status = encode_ends(s, ends, source);
  source->ops->close(source);
  return status;
}

/* Of the class of the nearer end. */
static ebb_status interpolate(ebb_sampler *s)
{
  const ebb_sample_options *o = &s->config->sample;
  size_t                    n = s->values;
  ebb_pool                 *pool = &s->config->pool;
  end                      *ends = ebb_pool_take(pool, (size_t)o->between.count * sizeof *ends);
  for (int k = 0; k < o->between.count; k++) ends[k].z = ebb_pool_take(pool, n * sizeof(ebb_real));
  s->reconstruction = 0;
  EBB_TRY(read_ends(s, ends));
  for (int i = 0; i < s->count; i++) {
    const end *a = &ends[i / o->steps * 2];
    double     share = i % o->steps / (double)(o->steps - 1);
    between(latent_at(s, i), a[0].z, a[1].z, n, share);
    if (s->label) s->label[i] = a[share > 0.5].label;
  }
  return EBB_OK;
}

/* ---- opening ------------------------------------------------------------------------------------------------------ */
static ebb_status count_samples(ebb_sampler *s)
{
  const ebb_sample_options *o = &s->config->sample;
  s->count = o->count;
  s->columns = (int)ceil(sqrt(o->count));
  s->reconstruction = NAN;
  if (o->between.count == 0) return EBB_OK;
  if (o->between.count % 2)
    return ebb_fail(EBB_CONFIG, "sample.between: expected an even number of samples' numbers, such as 3,17, found %d", o->between.count);
  s->count = o->between.count / 2 * o->steps;
  s->columns = o->steps;
  return EBB_OK;
}

/* Latent values, samples, and what is read to go between. */
static size_t bytes_beside(const ebb_sampler *s, int batch)
{
  size_t ends = (size_t)s->config->sample.between.count;
  return s->values * ((size_t)s->count * (sizeof(ebb_real) + sizeof(float)) + ends * sizeof(ebb_real)) +
         (s->data ? ebb_data_eval_bytes(s->data, EBB_VAL_SET, batch) : 0);
}

static ebb_status make_network(ebb_sampler *s, const char *checkpoint)
{
  ebb_config *c = s->config;
  EBB_TRY(ebb_data_shape_read(&s->shape, c->data.shape));
  EBB_TRY(ebb_build_model(&s->model, c, s->shape, c->data.classes));
  if (!s->model.flow) {
    ebb_model_destroy(&s->model);
    return ebb_fail(EBB_CONFIG, "%s: expected a normalizing flow, such as realnvp or glow, found %s, which has no inverse from end to end",
                    checkpoint, c->network->name);
  }
  s->values = ebb_count(s->shape);
  int        batch = s->count < c->train.batch ? s->count : c->train.batch;
  ebb_status status = ebb_trainer_create_sample(&s->trainer, &s->model, ebb_build_batch(s->shape, batch), &c->train, &c->run,
                                                bytes_beside(s, batch));
  if (status != EBB_OK) ebb_model_destroy(&s->model);
  s->ready = status == EBB_OK;
  return status;
}

static ebb_status label_samples(ebb_sampler *s)
{
  int classes = s->config->data.classes, label = s->config->sample.label;
  if (!s->model.conditional && label >= 0)
    return ebb_fail(EBB_CONFIG, "sample.label: expected a density of each class (model.condition), found one of all samples");
  if (!s->model.conditional) return EBB_OK;
  if (label >= classes)
    return ebb_fail(EBB_CONFIG, "sample.label: expected one of the %d classes 0 .. %d, found %d", classes, classes - 1, label);
  s->label = ebb_pool_take(&s->config->pool, (size_t)s->count * sizeof *s->label);
  if (!s->data && label < 0 && s->count >= classes) s->columns = classes;
  return EBB_OK;
}

ebb_status ebb_sampler_open(ebb_sampler *s, ebb_config *c, const char *checkpoint)
{
  *s = (ebb_sampler){.config = c};
  EBB_TRY(count_samples(s));
  if (c->sample.between.count) EBB_TRY(ebb_build_open_set(&s->data, c, EBB_VAL_SET));
  if (s->data) EBB_TRY(check_ends(s));
  EBB_TRY(make_network(s, checkpoint));
  EBB_TRY(ebb_checkpoint_load(checkpoint, &s->trainer, true));
  s->latent = ebb_pool_take(&c->pool, (size_t)s->count * s->values * sizeof *s->latent);
  EBB_TRY(label_samples(s));
  if (s->data) return interpolate(s);
  draw(s);
  return EBB_OK;
}

/* ---- samples ------------------------------------------------------------------------------------------------------ */
ebb_status ebb_sampler_run(ebb_sampler *s, float *samples)
{
  ebb_trainer *t = &s->trainer;
  ebb_view     x;
  for (int i = 0, n; i < s->count; i += n) {
    n = s->count - i < t->plan.x.n ? s->count - i : t->plan.x.n;
    t->work.run.labels = s->label ? s->label + i : NULL;
    EBB_TRY(ebb_trainer_sample(t, ebb_view_of(latent_at(s, i), ebb_build_batch(s->shape, n)), &x));
    for (size_t j = 0; j < (size_t)n * s->values; j++)
      samples[(size_t)i * s->values + j] = in_units(&s->config->data, ebb_reals(x)[j], (int)(j % (size_t)s->shape.c));
    ebb_release(&t->work.run);
  }
  return EBB_OK;
}

void ebb_sampler_close(ebb_sampler *s)
{
  ebb_data_close(s->data);
  if (!s->ready) return;
  ebb_trainer_destroy(&s->trainer);
  ebb_model_destroy(&s->model);
}
