/* measure.h -- training steps on random input under one mode, with time, memory and bits: what `ebb profile` compares.
 * Runs in a process of its own, so that the process's peak memory is this mode's alone. */
#pragma once
#include <jansson.h>

#include "config.h"

/* step_seconds (all of them), forward_seconds, peak_bytes, planned_bytes, rss_bytes, if it is wanted course (course.h), reconstruction_max_error (null: not
 * measured; "not finite"), weights (hash of weights, momenta and running statistics after the steps), parameters. */
ebb_status ebb_measure(json_t **answer, ebb_config *c, ebb_policy mode, int warmup, int steps, bool course);

/* The middle of `count` values, the mean of the two middle ones if there are two; sorts them. */
double ebb_median(double *values, int count);

/* A hash of bytes, FNV-1a; begin with EBB_HASH_BEGIN. */
#define EBB_HASH_BEGIN UINT64_C(0xcbf29ce484222325)
uint64_t ebb_hash(uint64_t hash, const void *bytes, size_t count);
