/* table.c -- the table of one instruction set. */
#include "kernels/fast.h"
#include "kernels/tables.h"

#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)
#define TABLE_JOIN(isa) ebbk_##isa
#define TABLE(isa) TABLE_JOIN(isa)
#define ENTRY(f) .f = NAME(f)

const ebbk_table TABLE(EBBK_ISA) = {
    .isa = TEXT(EBBK_ISA),
    .gemm = ebbk_gemm,
    .squeeze_scratch = ebbk_squeeze_scratch,
    .squeeze = ebbk_squeeze_words,
    .rotate = ebbk_rotate_words,
    ENTRY(conv_scratch),
    ENTRY(conv_algorithm),
    ENTRY(conv_forward),
    ENTRY(conv_grad_data),
    ENTRY(conv_grad_weight),
    ENTRY(column_sums),
    ENTRY(moments),
    ENTRY(affine_act),
    ENTRY(affine_act_sums),
    ENTRY(affine_act_grad),
    ENTRY(fill),
    ENTRY(copy),
    ENTRY(add),
    ENTRY(leaky),
    ENTRY(leaky_grad),
    ENTRY(map),
    ENTRY(map_grad),
    ENTRY(dropout),
    ENTRY(pool_mean),
    ENTRY(pool_mean_grad),
    ENTRY(pool_max),
    ENTRY(pool_max_grad),
    ENTRY(upsample),
    ENTRY(upsample_grad),
    ENTRY(softmax_xent),
    ENTRY(segment_scratch),
    ENTRY(segment_sums),
    ENTRY(segment_grad),
    ENTRY(fixed_from_real),
    ENTRY(real_from_fixed),
    ENTRY(fixed_add),
    ENTRY(fixed_subtract),
    ENTRY(mix),
    ENTRY(unmix),
    ENTRY(mix_scratch),
    ENTRY(mix_grad),
    ENTRY(sgd),
    ENTRY(adam),
    ENTRY(sum_squares),
    ENTRY(scale),
};
