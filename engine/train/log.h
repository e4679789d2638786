/* log.h -- what a run leaves to read: log.csv and log.jsonl in its folder, and a dump where numbers went astray.
 * Owns: their columns. */
#pragma once
#include "train/trainer.h"

typedef struct ebb_log { const char *folder; } ebb_log;

/* Begins the two files, or, when a run is resumed at `step` > 0, drops the lines beyond it. */
ebb_status ebb_log_open(ebb_log *log, const char *folder, uint64_t step);

/* Adds one line to both. */
ebb_status ebb_log_add(const ebb_log *log, const ebb_progress *p);

/* FOLDER/nonfinite.json: for each parameter how many weights and gradients are not finite, and the largest that are. */
ebb_status ebb_log_dump(const ebb_log *log, const ebb_trainer *t);
