/* config.h -- a configuration: YAML file or preset, then key=value overrides, resolved to every option there is.
 * Owns: sections, how they are found and written. Must not know: what options mean. */
#pragma once
#include "datasets/datasets.h"
#include "models/models.h"
#include "predict_options.h"
#include "sample_options.h"
#include "train/trainer.h"

typedef struct ebb_config {
  ebb_pool           pool;
  const char        *origin;       /* for messages: the file, preset or checkpoint                       */
  const ebb_network *network;      /* model.name                                                         */
  void              *model;        /* network->options_size bytes                                        */
  ebb_data_options   data;
  ebb_train_options  train;
  ebb_run_options    run;
  ebb_predict_options predict;
  ebb_sample_options sample;
  const char        *out;          /* the folder of a run's results                                      */
} ebb_config;

/* `source` is a file, the name of a preset, or the name of a network. EBB_NOINPUT, EBB_CONFIG. */
ebb_status ebb_config_load(ebb_config *c, const char *source, char *const *overrides, int count);

/* The same from a text, as a checkpoint holds it; `origin` is for messages. */
ebb_status ebb_config_parse(ebb_config *c, const char *origin, const char *text, char *const *overrides, int count);

/* Defaults and overrides alone, without a model. */
ebb_status ebb_config_plain(ebb_config *c, char *const *overrides, int count);

void ebb_config_clear(ebb_config *c);

/* The whole configuration as YAML, every key with its value; in the configuration's pool. */
const char *ebb_config_text(ebb_config *c);

/* Calls `visit` for each key whose values differ, "train.lr", "0.1", "0.05". */
void ebb_config_compare(ebb_config *a, ebb_config *b,
                        void (*visit)(const char *key, const char *in_a, const char *in_b, void *context), void *context);

/* One section as users see it. The model's table is that of the configuration's network. */
typedef struct ebb_section { const char *name; const ebb_option *table; void *fields; } ebb_section;
enum { EBB_MODEL_SECTION, EBB_DATA_SECTION, EBB_TRAIN_SECTION, EBB_RUN_SECTION, EBB_PREDICT_SECTION, EBB_SAMPLE_SECTION, EBB_SECTIONS };
ebb_section ebb_config_section(ebb_config *c, int which);

/* Help: two lines an option, with default, unit and bounds. */
void ebb_options_print(FILE *out, const char *section, const ebb_option *table, const void *fields, ebb_pool *pool);
