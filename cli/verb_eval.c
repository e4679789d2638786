/* verb_eval.c -- `ebb eval`: a checkpoint's network on a set, with running statistics. */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "build.h"
#include "print.h"
#include "scores.h"
#include "train/checkpoint.h"
#include "verb.h"

static ebb_status evaluate(ebb_metrics *m, double *nats, const char *path, const ebb_config *c, const ebb_model *model, ebb_data *data,
                           ebb_split split)
{
  ebb_trainer t;
  ebb_source *source;
  int         batch = c->train.batch;
  size_t      beside = ebb_data_eval_bytes(data, split, batch) + (nats ? (size_t)data->samples[split] * sizeof *nats : 0);
  EBB_TRY(ebb_trainer_create_eval(&t, model, ebb_build_batch(data->shape, batch), &c->train, &c->run, beside));
  t.nats = nats;
  ebb_status status = ebb_checkpoint_load(path, &t, true);
  if (status == EBB_OK) status = ebb_data_eval(&source, data, split, batch);
  if (status == EBB_OK) {
    status = ebb_trainer_evaluate(&t, source, m);
    source->ops->close(source);
  }
  ebb_trainer_destroy(&t);
  return status;
}

/* A line a sample, for those who look for outliers. */
static ebb_status write_likelihoods(const char *path, const double *nats, uint64_t samples, size_t dimensions)
{
  char  *text;
  size_t bytes;
  FILE  *f = open_memstream(&text, &bytes);
  if (!f) return ebb_fail(EBB_OSERR, "%s: no memory for its %llu lines", path, (unsigned long long)samples);
  fputs("sample,nats,bits_per_dimension\n", f);
  for (uint64_t i = 0; i < samples; i++) fprintf(f, "%llu,%.9g,%.9g\n", (unsigned long long)i, nats[i], ebb_bits(nats[i], dimensions));
  fclose(f);
  ebb_status status = ebb_file_replace(path, &(ebb_bytes_part){text, bytes}, 1);
  free(text);
  return status;
}

/* The mean is not finite then, either. */
static void warn_not_finite(const char *name, const double *nats, uint64_t samples)
{
  uint64_t count = 0, first = 0;
  for (uint64_t i = samples; i-- > 0;)
    if (!isfinite(nats[i])) count++, first = i;
  if (count)
    fprintf(stderr, "ebb: warning: %s: %llu of %llu samples have no finite likelihood, the first of them number %llu, counted from 0\nhint: --csv=FILE tells "
            "each; values far outside of those of the training do that\n", name, (unsigned long long)count, (unsigned long long)samples,
            (unsigned long long)first);
}

static ebb_status measure_flow(ebb_metrics *m, const char *path, ebb_config *c, const ebb_model *model, ebb_data *data, ebb_split split,
                               const char *csv)
{
  uint64_t samples = data->samples[split];
  double  *nats = ebb_pool_take(&c->pool, (size_t)samples * sizeof *nats);
  EBB_TRY(evaluate(m, nats, path, c, model, data, split));
  warn_not_finite(data->name[split], nats, samples);
  return *csv ? write_likelihoods(csv, nats, samples, ebb_count(data->shape)) : EBB_OK;
}

static ebb_status measure_classes(ebb_metrics *m, const char *path, ebb_config *c, ebb_data *data, ebb_split split, const char *csv)
{
  ebb_model  model;
  EBB_TRY(ebb_build_model(&model, c, data->shape, c->data.classes ? c->data.classes : data->classes));
  ebb_status status = ebb_build_fits(&model, data);
  if (status == EBB_OK && *csv && !model.flow)
    status = ebb_fail(EBB_USAGE, "eval --csv: expected a normalizing flow, whose samples have a likelihood each, found %s", c->network->name);
  if (status == EBB_OK)
    status = model.flow ? measure_flow(m, path, c, &model, data, split, csv) : evaluate(m, NULL, path, c, &model, data, split);
  ebb_model_destroy(&model);
  return status;
}

/* What is measured of a set. */
typedef struct result {
  const char *name;      /* of the set                                        */
  bool        maps;      /* labels at every site: scores, else metrics        */
  size_t      dimensions; /* of a sample                                      */
  ebb_metrics metrics;
  ebb_scores  scores;
} result;

static ebb_status measure(result *r, ebb_config *c, const char *path, const ebb_flags *flags)
{
  ebb_data *data;
  ebb_split split = flags->split == 0 ? EBB_VAL_SET : EBB_TRAIN_SET;
  EBB_TRY(ebb_build_open_set(&data, c, split));
  r->maps = data->maps;
  r->dimensions = ebb_count(data->shape);
  r->name = ebb_pool_text(&c->pool, "%s", data->name[split]);
  ebb_status status = r->maps ? ebb_scores_measure(&r->scores, path, c, data, split, flags->quiet || flags->json)
                              : measure_classes(&r->metrics, path, c, data, split, flags->csv);
  ebb_data_close(data);
  return status;
}

static int print_classes(const result *r, bool json)
{
  const ebb_metrics *m = &r->metrics;
  double             top1 = ebb_metrics_accuracy(m), top5 = ebb_metrics_top5(m);
  if (json)
    return ebb_print_json(json_pack("{s:o, s:{s:o, s:o}, s:I, s:s}", "loss", ebb_json_number(ebb_metrics_loss(m)), "metrics", "accuracy",
                                    ebb_json_number(top1), "top5", ebb_json_number(top5), "samples", (json_int_t)m->samples, "data", r->name));
  printf("%s: %llu samples\nloss      %.5f\naccuracy  %.2f %%\ntop 5     %.2f %%\n", r->name, (unsigned long long)m->samples, ebb_metrics_loss(m),
         100 * top1, 100 * top5);
  return EBB_OK;
}

static int print_likelihood(const result *r, bool json)
{
  const ebb_metrics *m = &r->metrics;
  double             nats = ebb_metrics_loss(m), bits = ebb_bits(nats, r->dimensions);
  if (json)
    return ebb_print_json(json_pack("{s:o, s:{s:o, s:o}, s:I, s:s}", "loss", ebb_json_number(nats), "metrics", "bits_per_dimension",
                                    ebb_json_number(bits), "reconstruction_error", ebb_json_number(m->reconstruction), "samples",
                                    (json_int_t)m->samples, "data", r->name));
  if (!isfinite(nats)) printf("%s: %llu samples\nnats a sample         not finite\n", r->name, (unsigned long long)m->samples);
  else printf("%s: %llu samples\nnats a sample         %.5f\nbits per dimension    %.5f\nreconstruction error  %.3g, the largest of the first batch\n", r->name,
              (unsigned long long)m->samples, nats, bits, m->reconstruction);
  return EBB_OK;
}

static int with_checkpoint(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  result     r = {.name = ""};
  ebb_status status = measure(&r, c, words.at[0], flags);
  return status != EBB_OK          ? ebb_verb_failed(status)
         : r.maps                  ? ebb_scores_print(&r.scores, r.name, flags->json)
         : r.metrics.likelihood    ? print_likelihood(&r, flags->json)
                                   : print_classes(&r, flags->json);
}

static int run(const ebb_flags *flags, ebb_words words)
{
  return ebb_build_with_checkpoint(flags, words, with_checkpoint);
}

const ebb_verb ebb_verb_eval = {
  .name = "eval", .arguments = "CHECKPOINT.h5 [key=value ...]", .summary = "Measures a trained network on a set",
  .text = "The checkpoint holds the whole configuration; words change it, such as data.val=other.h5. "
          "Of a flow it tells how far off its inverse brings back a value, in what the network sees; "
          "with --csv=FILE the likelihood of each sample is written, too. "
          "Label maps are predicted as `ebb predict` does: Dice, IoU, and distances of surfaces in mm where element_size_um is given.",
  .flags = "json split csv quiet", .sections = "data run predict", .least = 1, .run = run,
};
