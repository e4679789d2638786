/* reversible.h -- constructors of the layers with an inverse, and of the irreversible sibling that stands between. */
#pragma once
#include "layers/layers.h"

/* coupling.c -- z1 = x1 + F(x2); z2 = x2 + G(z1) on a stream of `channels`, of which x1 has the first `first`.
 * F maps channels - first to first channels, G the other way, both at the same sites. */
ebb_layer *ebb_coupling(ebb_builder *b, const char *name, int channels, int first, const ebb_layer *f,
                        const ebb_layer *g);

/* transition.c -- y1 = A1(x1) + F(x2); y2 = A2(x2) + G(y1) on real values: F/G coupling where the shape changes.
 * x1 has the first half of the channels. A1, A2, F change the shape alike; G keeps it. */
ebb_layer *ebb_transition(ebb_builder *b, const char *name, const ebb_layer *a1, const ebb_layer *a2,
                          const ebb_layer *f, const ebb_layer *g);
