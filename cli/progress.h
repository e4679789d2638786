/* progress.h -- what a training run says while it goes on, on standard error.
 * On a terminal one line that is rewritten, with rate and time left; elsewhere one line a report. */
#pragma once
#include "train/trainer.h"

typedef struct ebb_progress_line {
  bool   terminal, quiet, open;   /* open: a rewritten line has no newline yet     */
  int    samples;                 /* in one step                                   */
  double best;                    /* validation score, -infinity: none yet         */
} ebb_progress_line;

void ebb_progress_begin(ebb_progress_line *line, int samples, double best, bool quiet);
void ebb_progress_show(ebb_progress_line *line, const ebb_progress *p);
void ebb_progress_end(ebb_progress_line *line);
