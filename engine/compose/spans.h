/* spans.h -- weights whose gradients are ready at the same time.
 * Owns: which layers have them, and where they lie. Must not know: who updates weights, and how. */
#pragma once
#include "compose/model.h"

/* (layers) by id, in the pool: the weights of each layer that the root calls, or a transparent layer in it, with those of all that is inside;
 * {0} for every other layer. Each weight of the model is in one of them. */
ebb_span *ebb_spans_of(const ebb_model *m, ebb_pool *pool);

/* Weights in the longest. */
size_t ebb_spans_longest(const ebb_span *spans, const ebb_model *m);
