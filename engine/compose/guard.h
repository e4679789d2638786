/* guard.h -- the drift guard: is what a reversible block's reverse brought back what was there?
 * Owns: what a chain keeps of a block's input to tell by, under REVERSE: the mean and deviation of each channel; or, of a block that
 * the run holds, the input itself, which then takes the place of what was reconstructed. Must not know: which layers there are.
 *
 * The fixed-point stream comes back to the bit and needs no guard; real values come back but for rounding, times what the layers'
 * inverses stretch. */
#pragma once
#include "layers/layer.h"

bool ebb_guards(const ebb_run *r, const ebb_layer *l, ebb_view x);

/* On the way forward, before layer l changes x: kept from here until ebb_guard_check. */
void ebb_guard_keep(ebb_run *r, const ebb_layer *l, ebb_view x);

/* On the way back, after the reverse of l: x is reconstructed. Off by more than r->drift_most, it is an event of the run. */
void ebb_guard_check(ebb_run *r, const ebb_layer *l, ebb_view x);
