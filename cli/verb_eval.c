/* verb_eval.c -- `ebb eval`: a checkpoint's network on a set, with running statistics. */
#include <stdio.h>

#include "base/threads.h"
#include "build.h"
#include "print.h"
#include "scores.h"
#include "train/checkpoint.h"
#include "verb.h"

/* Only the set that is asked for is opened where it stands in a file of its own. */
static ebb_status open_data(ebb_data **data, const ebb_config *c, ebb_split split)
{
  ebb_data_options o = c->data;
  if (split == EBB_VAL_SET && *o.val && o.mean.count && o.std.count) o.train = "";
  if (!*o.train && !*o.val)
    return ebb_fail(EBB_CONFIG, "eval: expected data to evaluate on, found none in the checkpoint\nhint: data.val=FILE.h5");
  EBB_TRY(ebb_data_open(data, &o));
  if ((*data)->samples[split] > 0) return EBB_OK;
  ebb_status status = ebb_fail(EBB_CONFIG, "eval: expected a %s set, found none\nhint: data.%s=FILE.h5",
                               split == EBB_VAL_SET ? "validation" : "training", split == EBB_VAL_SET ? "val" : "train");
  ebb_data_close(*data);
  return status;
}

static ebb_status evaluate(ebb_metrics *m, const char *path, const ebb_config *c, const ebb_model *model, ebb_data *data,
                           ebb_split split)
{
  ebb_trainer t;
  ebb_source *source;
  int         batch = c->train.batch;
  EBB_TRY(ebb_trainer_create_eval(&t, model, ebb_build_batch(data->shape, batch), &c->train, &c->run,
                                  ebb_data_eval_bytes(data, split, batch)));
  ebb_status status = ebb_checkpoint_load(path, &t, true);
  if (status == EBB_OK) status = ebb_data_eval(&source, data, split, batch);
  if (status == EBB_OK) {
    status = ebb_trainer_evaluate(&t, source, m);
    source->ops->close(source);
  }
  ebb_trainer_destroy(&t);
  return status;
}

static ebb_status measure_classes(ebb_metrics *m, const char *path, const ebb_config *c, ebb_data *data, ebb_split split)
{
  ebb_model  model;
  EBB_TRY(ebb_build_model(&model, c, data->shape, c->data.classes ? c->data.classes : data->classes));
  ebb_status status = ebb_build_fits(&model, data);
  if (status == EBB_OK) status = evaluate(m, path, c, &model, data, split);
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
  EBB_TRY(open_data(&data, c, split));
  r->maps = data->maps;
  r->dimensions = ebb_count(data->shape);
  r->name = ebb_pool_text(&c->pool, "%s", data->name[split]);
  ebb_status status = r->maps ? ebb_scores_measure(&r->scores, path, c, data, split, flags->quiet || flags->json)
                              : measure_classes(&r->metrics, path, c, data, split);
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
    return ebb_print_json(json_pack("{s:o, s:{s:o}, s:I, s:s}", "loss", ebb_json_number(nats), "metrics", "bits_per_dimension",
                                    ebb_json_number(bits), "samples", (json_int_t)m->samples, "data", r->name));
  printf("%s: %llu samples\nnats a sample       %.5f\nbits per dimension  %.5f\n", r->name, (unsigned long long)m->samples, nats, bits);
  return EBB_OK;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  ebb_config c;
  result     r = {.name = ""};
  ebb_status status = ebb_build_from_checkpoint(&c, words.at[0], words.at + 1, words.count - 1);
  if (status != EBB_OK) return ebb_verb_failed(status);
  ebb_threads_set(c.train.threads);
  status = measure(&r, &c, words.at[0], flags);
  int code = status != EBB_OK ? ebb_verb_failed(status)
             : r.maps         ? ebb_scores_print(&r.scores, r.name, flags->json)
             : r.metrics.likelihood ? print_likelihood(&r, flags->json)
                              : print_classes(&r, flags->json);
  ebb_config_clear(&c);
  return code;
}

const ebb_verb ebb_verb_eval = {
  .name = "eval", .arguments = "CHECKPOINT.h5 [key=value ...]", .summary = "Measures a trained network on a set",
  .text = "The checkpoint holds the whole configuration; words change it, such as data.val=other.h5. "
          "Label maps are predicted as `ebb predict` does: Dice, IoU, and distances of surfaces in mm where element_size_um is given.",
  .flags = "json split quiet", .sections = "data run predict", .least = 1, .run = run,
};
