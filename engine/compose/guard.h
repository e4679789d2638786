/* guard.h -- the drift guard: is what a reversible layer's reverse brought back what was there?
 * Owns: what a chain keeps of a layer's input to tell by, under REVERSE: the mean and deviation of each channel. Must not know: which
 * layers there are, what becomes of one whose input does not come back (chain.c).
 *
 * The fixed-point stream comes back to the bit and needs no guard, nor do layers that only move values; what scales or adds real values
 * has an inverse that brings them back but for rounding, times what it stretches. Each such layer is looked at, so that the one is named
 * whose inverse loses digits. */
#pragma once
#include "layers/layer.h"

/* Does l's inverse compute, so that real values come back but for rounding? Other layers move values. */
bool ebb_may_drift(const ebb_layer *l);

bool ebb_guards(const ebb_run *r, const ebb_layer *l, ebb_view x);

/* On the way forward, before a layer changes x: kept from here until ebb_guard_check. */
void ebb_guard_keep(ebb_run *r, ebb_view x);

/* On the way back, after the reverse of l: x is reconstructed. Off by more than r->drift_most, it is an event of the run. */
void ebb_guard_check(ebb_run *r, const ebb_layer *l, ebb_view x);
