/* random.h -- a source of random batches, for verbs that need no data.
 * Owns: two batches that take turns, drawn once by counters: the same in every process. */
#pragma once
#include "base/arena.h"
#include "train/batches.h"

/* The source takes ebb_data_batch_bytes(batch) bytes. */
ebb_status ebb_random_open(ebb_source **source, ebb_shape batch, int classes, uint64_t seed, ebb_pool *pool);
