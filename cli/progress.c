/* progress.c -- see progress.h. */
#define _POSIX_C_SOURCE 200809L
#include "progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "print.h"

void ebb_progress_begin(ebb_progress_line *line, int samples, double best, bool quiet)
{
  *line = (ebb_progress_line){.terminal = isatty(STDERR_FILENO) == 1, .quiet = quiet, .samples = samples, .best = best};
}

/* "3 h 12 min", "4 min 05 s", "12 s" */
static void print_duration(char text[32], double seconds)
{
  long s = isfinite(seconds) && seconds > 0 && seconds < 1e9 ? (long)(seconds + 0.5) : 0;
  if (s >= 3600) snprintf(text, 32, "%ld h %02ld min", s / 3600, s / 60 % 60);
  else if (s >= 60) snprintf(text, 32, "%ld min %02ld s", s / 60, s % 60);
  else snprintf(text, 32, "%ld s", s);
}

/* "loss 0.3021  accuracy 91.2 %", or of a flow "1902.11 nats  3.501 bits/dim" */
static void print_quality(char text[64], const ebb_progress *p, double loss, double accuracy, int digits)
{
  if (p->dimensions) snprintf(text, 64, "%.4f nats  %.4f bits/dim", loss, ebb_bits(loss, p->dimensions));
  else snprintf(text, 64, "loss %.4f  accuracy %.*f %%", loss, digits, 100 * accuracy);
}

static void show_step(const ebb_progress_line *line, const ebb_progress *p)
{
  char   left[32], quality[64];
  double rate = p->step_seconds > 0 ? line->samples / p->step_seconds : 0;
  print_duration(left, p->step_seconds * (double)(p->steps - p->step));
  print_quality(quality, p, p->loss, p->accuracy, 1);
  fprintf(stderr, "%sepoch %" PRIu32 "  step %" PRIu64 "/%" PRIu64 "  %s  lr %.3g  %.0f samples/s  %s left",
          line->terminal ? "\r\033[K" : "", p->epoch + 1, p->step, p->steps, quality, p->lr, rate, left);
  if (p->skipped) fprintf(stderr, "  %" PRIu64 " steps skipped, not finite", p->skipped);
}

static void show_drift(const ebb_progress_line *line, const ebb_progress *p)
{
  char bytes[EBB_BYTES_TEXT], off[32] = "beyond all bounds";
  if (isfinite(p->drift)) snprintf(off, sizeof off, "by %.1e of its size", p->drift);
  fprintf(stderr, "%sdrift: the input of %s came back off %s; step %" PRIu64 " is left out, and that input is kept from now "
          "on: %s planned\n", line->terminal ? "\r\033[K" : "", p->drifted, off, p->step, ebb_print_bytes(bytes, p->planned));
}

static void show_validation(const ebb_progress_line *line, const ebb_progress *p)
{
  char dice[32] = "", quality[64];
  if (!isnan(p->val_dice)) snprintf(dice, sizeof dice, "  Dice %.4f", p->val_dice);
  print_quality(quality, p, p->val_loss, p->val_accuracy, 2);
  fprintf(stderr, "%sstep %" PRIu64 "/%" PRIu64 "  validation: %s%s%s\n",
          line->terminal ? "\r\033[K" : "", p->step, p->steps, quality, dice,
          p->score > line->best && isfinite(line->best) ? "  (best so far)" : "");
}

void ebb_progress_show(ebb_progress_line *line, const ebb_progress *p)
{
  if (!line->quiet && p->drifted) show_drift(line, p);
  if (!line->quiet && p->validated) {
    show_validation(line, p);
    line->open = false;
  } else if (!line->quiet) {
    show_step(line, p);
    line->open = line->terminal;
    if (!line->terminal) fputc('\n', stderr);
  }
  if (p->validated && p->score > line->best) line->best = p->score;
}

void ebb_progress_end(ebb_progress_line *line)
{
  if (line->open) fputc('\n', stderr);
  line->open = false;
}
