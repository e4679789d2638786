/* report.h -- pictures, by gnuplot.
 * Owns: talking to gnuplot. Nothing depends on it: without gnuplot there are no pictures, and a note says so once. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* FOLDER/curves.png from FOLDER/log.csv; `maps`: with Dice in place of accuracy. */
void ebb_report_curves(const char *folder, bool maps);

/* One group of bars a mode: memory in MiB (arena, process) and seconds a step. */
typedef struct ebb_report_bar { const char *name; double arena_mib, process_mib, seconds; } ebb_report_bar;
void ebb_report_memory(const char *png, const char *title, const ebb_report_bar *bars, int count);
