/* scores.h -- how good predicted label maps are: overlap and distance of surfaces.
 * Owns: measuring a set of whole volumes, and printing it. */
#pragma once
#include <jansson.h>

#include "config.h"
#include "train/metrics.h"

typedef struct ebb_scores {
  ebb_metrics metrics;
  uint64_t    volumes;
  double      entropy;                       /* sum over sites of -log p(label)                             */
  double      hd95[EBB_METRIC_CLASSES], assd[EBB_METRIC_CLASSES]; /* sums over volumes that have both       */
  uint64_t    measured[EBB_METRIC_CLASSES];
  uint64_t    alone[EBB_METRIC_CLASSES];     /* volumes with the class in label or prediction only          */
  bool        spaced;                        /* distances are mm, else sites                                */
  json_t     *list;                          /* an object a volume: name, mean Dice; given back by ebb_scores_print */
} ebb_scores;

/* Predicts all volumes of a set by the checkpoint's network and scores them. */
ebb_status ebb_scores_measure(ebb_scores *s, const char *checkpoint, const ebb_config *c, const ebb_data *data, ebb_split split, bool quiet);

/* Returns the exit code. */
int ebb_scores_print(ebb_scores *s, const char *name, bool json);
