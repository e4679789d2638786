/* blocks.h -- the reversible blocks of a model: what a plan chooses for, and what a step's time is made of.
 * Owns: which layers they are, and what each costs, measured. Must not know: how a plan chooses. */
#pragma once
#include "compose/plan.h"

/* In the order of the way forward: those in the root and in reversible layers that see to themselves. */
typedef struct ebb_blocks { const ebb_layer **at; int count; } ebb_blocks;
ebb_blocks ebb_blocks_of(const ebb_model *m, ebb_pool *pool);

/* Measures every block's forward and ways back, alike ones once, with first weights, in the memory of plan p (REVERSE) or what a block takes
 * alone; costs (layers), in the pool, or NULL where that is beyond the budget. EBB_OSERR: the memory is not there. */
ebb_status ebb_blocks_measure(ebb_cost **costs, const ebb_model *m, const ebb_plan *p, size_t budget, ebb_pool *pool);
