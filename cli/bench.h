/* bench.h -- what the benchmarks of `ebb bench` share: the spread of rounds, the machine's peak.
 * Owns: how a time is taken. Must not know: what is timed. On a shared machine only what was measured in turns compares. */
#pragma once
#include <jansson.h>

#include "verb.h"

typedef struct ebb_spread { double median, least, most; } ebb_spread;

ebb_spread ebb_spread_of(const double *values, int count); /* at most EBB_ROUNDS_MOST of them */

/* GFLOP/s of independent multiply-adds in registers, on all threads, during some milliseconds; the width is that of the
 * table in use. */
double ebb_bench_peak(void);

/* Is the name asked for by --only? */
bool ebb_bench_wants(const ebb_flags *flags, const char *name);

/* The benchmarks: each appends its rows, as JSON, and without --json prints them as they come. */
ebb_status ebb_bench_convs(const ebb_flags *flags, json_t *rows);
ebb_status ebb_bench_memory(const ebb_flags *flags, json_t *rows);
ebb_status ebb_bench_layers(const ebb_flags *flags, json_t *rows);
