/* build.c -- see build.h. */
#define _POSIX_C_SOURCE 200809L
#include "build.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/threads.h"
#include "train/checkpoint.h"

enum { CLASSES_WITHOUT_DATA = 10 };

ebb_shape ebb_build_batch(ebb_shape shape, int n)
{
  shape.n = n;
  return shape;
}

/* "FILE" or "FILE:GROUP" names a file that is there. */
static bool is_there(const char *place)
{
  ebb_pool    pool = {0};
  const char *colon = strrchr(place, ':');
  bool        there = *place && (access(place, F_OK) == 0 ||
                          (colon && access(ebb_pool_text(&pool, "%.*s", (int)(colon - place), place), F_OK) == 0));
  ebb_pool_clear(&pool);
  return there;
}

static size_t source_bytes(const ebb_data *data, int batch)
{
  size_t bytes = 0;
  if (data->samples[EBB_TRAIN_SET]) bytes += ebb_data_train_bytes(data, batch);
  if (data->samples[EBB_VAL_SET]) bytes += ebb_data_eval_bytes(data, EBB_VAL_SET, batch);
  return bytes;
}

/* Mean and standard deviation change no size, and are not measured. */
static ebb_status from_data(ebb_input *in, const ebb_config *c)
{
  ebb_data        *data;
  char             text[EBB_SHAPE_TEXT];
  ebb_data_options o = c->data;
  if (o.mean.count == 0) o.mean = (ebb_numbers){1, {0}};
  if (o.std.count == 0) o.std = (ebb_numbers){1, {1}};
  EBB_TRY(ebb_data_open(&data, &o));
  *in = (ebb_input){data->shape, data->classes, source_bytes(data, c->train.batch)};
  ebb_data_close(data);
  ebb_shape_print(text, in->shape);
  if (*o.shape && strcmp(o.shape, text) != 0)
    fprintf(stderr, "ebb: note: data.shape says %s, the data are %s, and that counts\n", o.shape, text);
  return EBB_OK;
}

ebb_status ebb_build_input(ebb_input *in, const ebb_config *c)
{
  bool named = *c->data.train || *c->data.val;
  if (is_there(c->data.train) || is_there(c->data.val) || (named && !*c->data.shape)) return from_data(in, c);
  if (!*c->data.shape)
    return ebb_fail(EBB_CONFIG, "%s: expected data.shape or data.train, found neither\nhint: data.shape=32x32x3", c->origin);
  EBB_TRY(ebb_data_shape_read(&in->shape, c->data.shape));
  in->classes = c->data.classes ? c->data.classes : CLASSES_WITHOUT_DATA;
  in->batches = 0;
  return EBB_OK;
}

static bool is_only(ebb_numbers n, double value)
{
  for (int i = 0; i < n.count; i++)
    if (n.at[i] != value) return false;
  return true;
}

/* Networks that take the file's values as they are. */
static ebb_status keep_whole(ebb_config *c)
{
  if (c->network->flow != EBB_FLOW_OF_LEVELS) return EBB_OK;
  if (!is_only(c->data.mean, 0) || !is_only(c->data.std, 1))
    return ebb_fail(EBB_CONFIG, "%s: expected data.mean=0 and data.std=1, or neither, as %s takes grey levels as they are in the file", c->origin,
                    c->network->name);
  c->data.mean = (ebb_numbers){1, {0}};
  c->data.std = (ebb_numbers){1, {1}};
  return EBB_OK;
}

ebb_status ebb_build_load(ebb_config *c, ebb_words words)
{
  EBB_TRY(ebb_config_load(c, words.at[0], words.at + 1, words.count - 1));
  ebb_status status = keep_whole(c);
  if (status != EBB_OK) ebb_config_clear(c);
  return status;
}

typedef int (*verb_work)(const ebb_flags *flags, ebb_config *c, ebb_words words);

/* Between loading and the end. */
static int work_with(ebb_status loaded, const ebb_flags *flags, ebb_config *c, ebb_words words, verb_work work)
{
  if (loaded != EBB_OK) return ebb_verb_failed(loaded);
  ebb_threads_set(c->train.threads);
  int code = work(flags, c, words);
  ebb_config_clear(c);
  return code;
}

int ebb_build_with_config(const ebb_flags *flags, ebb_words words, verb_work work)
{
  ebb_config c;
  return work_with(ebb_build_load(&c, words), flags, &c, words, work);
}

int ebb_build_with_checkpoint(const ebb_flags *flags, ebb_words words, verb_work work)
{
  ebb_config c;
  return work_with(ebb_build_from_checkpoint(&c, words.at[0], words.at + 1, words.count - 1), flags, &c, words, work);
}

ebb_status ebb_build_open_set(ebb_data **data, const ebb_config *c, ebb_split split)
{
  ebb_data_options o = c->data;
  const char      *name = split == EBB_VAL_SET ? "val" : "train";
  if (split == EBB_VAL_SET && *o.val && o.mean.count && o.std.count) o.train = "";
  if (!*o.train && !*o.val)
    return ebb_fail(EBB_CONFIG, "%s: expected data, found none in the checkpoint\nhint: data.%s=FILE.h5", c->origin, name);
  EBB_TRY(ebb_data_open(data, &o));
  if ((*data)->samples[split] > 0) return EBB_OK;
  ebb_status status = ebb_fail(EBB_CONFIG, "%s: expected a %s set, found none\nhint: data.%s=FILE.h5", c->origin,
                               split == EBB_VAL_SET ? "validation" : "training", name);
  ebb_data_close(*data);
  *data = NULL;
  return status;
}

ebb_status ebb_build_from_checkpoint(ebb_config *c, const char *path, char *const *overrides, int count)
{
  ebb_pool    pool = {0};
  const char *text;
  ebb_status  status = ebb_checkpoint_config(path, &text, &pool);
  if (status == EBB_OK) status = ebb_config_parse(c, path, text, overrides, count);
  ebb_pool_clear(&pool);
  return status;
}

int ebb_build_levels(const ebb_config *c)
{
  if (c->network->flow != EBB_FLOW_OF_LEVELS) return 0;
  for (const ebb_option *o = c->network->options; o->key; o++)
    if (strcmp(o->key, "grey_levels") == 0) return *(const int *)(const void *)((const char *)c->model + o->offset);
  return 0;
}

ebb_status ebb_build_model(ebb_model *m, const ebb_config *c, ebb_shape shape, int classes)
{
  return ebb_network_model(m, c->network, c->model, shape, classes);
}

void ebb_build_note_padding(const ebb_model *m)
{
  char in[EBB_SHAPE_TEXT], out[EBB_SHAPE_TEXT];
  const ebb_layer *first = m->root->ops->child(m->root, 0);
  if (!first || strcmp(first->ops->name, "pad") != 0) return;
  fprintf(stderr, "%s: inputs of %s are padded with zeros to %s, which the strides divide, and outputs cropped\n", m->name,
          ebb_shape_print(in, m->in), ebb_shape_print(out, ebb_layer_shape(first, m->in)));
}

ebb_status ebb_build_fits(const ebb_model *m, const ebb_data *data)
{
  if (m->flow && m->conditional && data->maps)
    return ebb_fail(EBB_CONFIG, "model.condition: expected one label for each sample, found label maps\nhint: model.condition=none");
  if (m->flow || m->out.c >= data->classes || (m->out.c == 1 && data->classes == 2)) return EBB_OK;
  return ebb_fail(EBB_CONFIG, "model.classes: expected at least the %d classes of the data, found %d\nhint: leave it at 0",
                  data->classes, m->out.c);
}
