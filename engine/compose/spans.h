/* spans.h -- weights whose gradients are ready at the same time.
 * Owns: which layers have them, and where they lie. Must not know: who updates weights, and how.
 *
 * No layer's weights are looked at again once its backward is done, so that they may follow their gradients at once, within the backward pass
 * (Lv et al. 2023, "Full Parameter Fine-tuning for Large Language Models with Limited Resources", section 3.1). */
#pragma once
#include "compose/model.h"

/* (layers) by id, in the pool: of each layer that has weights, or stands for layers that have, where these lie; {0} of every other. Each weight of
 * the model is in one span. A layer's weights must have been made one after the other, with those of layers that are fused with it. */
ebb_span *ebb_spans_of(const ebb_model *m, ebb_pool *pool);

/* Weights in the longest. */
size_t ebb_spans_longest(const ebb_span *spans, const ebb_model *m);
