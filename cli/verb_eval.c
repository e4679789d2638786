/* verb_eval.c -- `ebb eval`: a checkpoint's network on a set, with running statistics. */
#include <math.h>
#include <stdio.h>

#include "base/threads.h"
#include "build.h"
#include "print.h"
#include "train/checkpoint.h"
#include "verb.h"

static ebb_status load_config(ebb_config *c, const char *path, ebb_words overrides)
{
  ebb_pool    pool = {0};
  const char *text;
  ebb_status  status = ebb_checkpoint_config(path, &text, &pool);
  if (status == EBB_OK) status = ebb_config_parse(c, path, text, overrides.at, overrides.count);
  ebb_pool_clear(&pool);
  return status;
}

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

static ebb_status measure(ebb_metrics *m, const char **name, ebb_config *c, const char *path, ebb_split split)
{
  ebb_data *data;
  ebb_model model;
  EBB_TRY(open_data(&data, c, split));
  ebb_status status = ebb_build_model(&model, c, data->shape, c->data.classes ? c->data.classes : data->classes);
  if (status == EBB_OK) {
    *name = ebb_pool_text(&c->pool, "%s", data->name[split]);
    status = ebb_build_fits(&model, data);
    if (status == EBB_OK) status = evaluate(m, path, c, &model, data, split);
    ebb_model_destroy(&model);
  }
  ebb_data_close(data);
  return status;
}

static json_t *number(double v)
{
  return isfinite(v) ? json_real(v) : json_null();
}

static json_t *maps_json(const ebb_metrics *m)
{
  json_t *dice = json_array(), *iou = json_array(), *confusion = json_array();
  for (int k = 0; k < m->classes; k++) {
    json_t *row = json_array();
    json_array_append_new(dice, number(ebb_metrics_dice(m, k)));
    json_array_append_new(iou, number(ebb_metrics_iou(m, k)));
    for (int j = 0; j < m->classes; j++) json_array_append_new(row, json_integer((json_int_t)m->confusion[k][j]));
    json_array_append_new(confusion, row);
  }
  return json_pack("{s:o, s:o, s:o, s:o, s:o}", "accuracy", number(ebb_metrics_accuracy(m)), "dice", dice, "iou", iou, "mean_dice",
                   number(ebb_metrics_mean_dice(m)), "confusion", confusion);
}

static void print_maps(const ebb_metrics *m)
{
  printf("%-8s %10s %10s\n", "class", "Dice", "IoU");
  for (int k = 0; k < m->classes; k++) printf("%-8d %10.4f %10.4f\n", k, ebb_metrics_dice(m, k), ebb_metrics_iou(m, k));
  printf("mean Dice of classes 1 to %d: %.4f (Dice of each volume, then their mean; IoU of all sites together)\n", m->classes - 1,
         ebb_metrics_mean_dice(m));
}

static int print(const ebb_metrics *m, const char *name, bool json)
{
  double  top1 = ebb_metrics_accuracy(m), top5 = ebb_metrics_top5(m);
  json_t *metrics = m->classes ? maps_json(m) : json_pack("{s:o, s:o}", "accuracy", number(top1), "top5", number(top5));
  if (json)
    return ebb_print_json(json_pack("{s:o, s:o, s:I, s:s}", "loss", number(ebb_metrics_loss(m)), "metrics", metrics, "samples",
                                    (json_int_t)m->samples, "data", name));
  json_decref(metrics);
  printf("%s: %llu %s\nloss      %.5f\naccuracy  %.2f %%\n", name, (unsigned long long)m->samples, m->classes ? "sites" : "samples",
         ebb_metrics_loss(m), 100 * top1);
  if (m->classes) print_maps(m);
  else printf("top 5     %.2f %%\n", 100 * top5);
  return EBB_OK;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  ebb_config  c;
  ebb_metrics m = {0};
  const char *name = "";
  ebb_status  status = load_config(&c, words.at[0], (ebb_words){words.at + 1, words.count - 1});
  if (status != EBB_OK) return ebb_verb_failed(status);
  ebb_threads_set(c.train.threads);
  status = measure(&m, &name, &c, words.at[0], flags->split == 0 ? EBB_VAL_SET : EBB_TRAIN_SET);
  int code = status == EBB_OK ? print(&m, name, flags->json) : ebb_verb_failed(status);
  ebb_config_clear(&c);
  return code;
}

const ebb_verb ebb_verb_eval = {
  .name = "eval", .arguments = "CHECKPOINT.h5 [key=value ...]", .summary = "Measures a trained network on a set",
  .text = "The checkpoint holds the whole configuration; words change it, such as data.val=other.h5.",
  .flags = "json split", .sections = "data train run", .least = 1, .run = run,
};
