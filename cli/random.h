/* random.h -- a source of random batches, for verbs that need no data.
 * Owns: two batches that take turns, drawn once by counters: the same in every process. */
#pragma once
#include "base/arena.h"
#include "train/batches.h"

/* For a network that makes `out` (of one sample) of `batch`: a label for each of its sites. `levels`: 0, or x are whole numbers
 * below it. The source takes
 * ebb_data_batch_bytes(batch, labels) bytes. */
ebb_status ebb_random_open(ebb_source **source, ebb_shape batch, ebb_shape out, int levels, uint64_t seed, ebb_pool *pool);
