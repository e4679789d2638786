/* fast.h -- the functions of one instruction set's table, each declared with the signature of its entry in
 * ebbk_table. Private to the files that are compiled once per instruction set. */
#pragma once
#include "kernels/vector.h"

/* The table itself. */
#define TABLE_JOIN(isa) ebbk_##isa
#define TABLE_OF(isa) TABLE_JOIN(isa)
#define TABLE TABLE_OF(EBBK_ISA)
extern const ebbk_table TABLE;

#define DECLARE(f) extern __typeof__(*((ebbk_table *)0)->f) NAME(f)

/* conv.c chooses between conv_direct*.c and winograd*.c */
DECLARE(conv_scratch);
DECLARE(conv_algorithm);
DECLARE(conv_forward);
DECLARE(conv_grad_data);
DECLARE(conv_grad_weight);
DECLARE(conv_backward);

/* norm.c */
DECLARE(column_sums);
DECLARE(moments);
DECLARE(affine_act);
DECLARE(affine_act_sums);
DECLARE(affine_act_grad);

/* elementwise.c, dropout.c */
DECLARE(fill);
DECLARE(copy);
DECLARE(add);
DECLARE(leaky);
DECLARE(leaky_grad);
DECLARE(map);
DECLARE(map_grad);
DECLARE(dropout);

/* pool.c, loss.c */
DECLARE(pool_mean);
DECLARE(pool_mean_grad);
DECLARE(pool_max);
DECLARE(pool_max_grad);
DECLARE(upsample);
DECLARE(upsample_grad);
DECLARE(softmax_xent);

/* segment.c */
DECLARE(segment_scratch);
DECLARE(segment_sums);
DECLARE(segment_grad);

/* mixing.c */
DECLARE(mix);
DECLARE(unmix);
DECLARE(mix_scratch);
DECLARE(mix_grad);

/* stream.c, optimiser.c */
DECLARE(fixed_from_real);
DECLARE(real_from_fixed);
DECLARE(fixed_add);
DECLARE(fixed_subtract);
DECLARE(sgd);
DECLARE(adam);
DECLARE(sum_squares);
DECLARE(scale);
