/* report.h -- pictures, by gnuplot.
 * Owns: talking to gnuplot. Nothing depends on it: without gnuplot there are no pictures, and a note says so once. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* FOLDER/curves.png from FOLDER/log.csv: the loss, and accuracy, of label maps Dice, of a flow, whose samples have `dimensions`
 * values, bits per dimension. */
void ebb_report_curves(const char *folder, bool maps, size_t dimensions);

/* Memory at times within a step. */
typedef struct ebb_report_course { const double *seconds, *mib; int points; } ebb_report_course;

/* One group of bars a mode: memory in MiB (arena, process) and seconds a step; and a line, the course of one step. */
typedef struct ebb_report_bar { const char *name; double arena_mib, process_mib, seconds; ebb_report_course course; } ebb_report_bar;
void ebb_report_memory(const char *png, const char *title, const ebb_report_bar *bars, int count);

/* One line a mode: memory in MiB and seconds a step at each of the points, 0 where there is none. */
typedef struct ebb_report_line { const char *name; const double *mib, *seconds; } ebb_report_line;
void ebb_report_sweep(const char *png, const char *title, const char *key, const char *const *values, int points, const ebb_report_line *lines,
                      int count);
