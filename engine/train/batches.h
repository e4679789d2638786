/* batches.h -- where batches come from: the interface that datasets implement.
 * Owns: what a batch is. Must not know: files.
 *
 * A source delivers the samples of one set, again and again, in an order fixed by (seed, epoch): the batch at
 * position `cursor` of `epoch` is always the same, which is what makes a resumed run equal the uninterrupted one. */
#pragma once
#include "base/view.h"

typedef struct ebb_batch {
  ebb_view  x;             /* (n, d, h, w, c) real; n may be smaller in the last batch of an evaluation       */
  int32_t  *labels;        /* (n, sites of the network's output: 1 for classification) classes; owned, like x, by the source until the next call; who
                              takes the batch may make labels negative: left out                                */
  ebb_view  soft;          /* rank 0, or probabilities (n, d, h, w, classes) of sites whose label is not negative   */
  uint32_t *index;         /* (n) numbers of the samples within their file, for messages and per-sample output */
} ebb_batch;

typedef struct ebb_source ebb_source;

typedef struct ebb_source_ops {
  /* Delivers the next batch; batch->x.s.n == 0 at the end of an epoch. Errors are the world's (a damaged file). */
  ebb_status (*next)(ebb_source *s, ebb_batch *batch);
  /* Starts `epoch` at sample `cursor`; training order is shuffled by the seed, evaluation order is the file's. */
  ebb_status (*seek)(ebb_source *s, uint32_t epoch, uint64_t cursor);
  void (*close)(ebb_source *s);
} ebb_source_ops;

/* Concrete sources have this as their first member. */
struct ebb_source {
  const ebb_source_ops *ops;
  const char *name;        /* for messages: the file and dataset                                     */
  ebb_shape   shape;       /* of a full batch                                                        */
  int         classes;
  uint64_t    samples;     /* in one epoch; in training only whole batches are delivered             */
  size_t      bytes;       /* of memory it has taken: the plan's `batches`                           */
};
