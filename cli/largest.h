/* largest.h -- the largest batch, size, depth or value of a key whose plan fits into memory.
 * Owns: the search. Must not know: what a plan consists of. */
#pragma once
#include "config.h"
#include "verb.h"

/* Bytes of the plan of a configuration, the least that will do if it leaves the choice. verb_plan.c */
ebb_status ebb_verb_planned(size_t *peak, const ebb_config *c);

/* `words` as a verb gets them, c what they say, flags->fit as vary.h says: prints the largest value that fits into run.memory, or into what the
 * machine has free, and what the next takes; returns the exit code. */
int ebb_largest(const ebb_flags *flags, ebb_config *c, ebb_words words);
