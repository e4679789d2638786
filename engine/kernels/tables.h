/* tables.h -- the tables that this build may hold; isa.c chooses among them. Private to this room. */
#pragma once
#include "kernels/kernels.h"

extern const ebbk_table ebbk_reference;
#ifndef EBB_DOUBLE
extern const ebbk_table ebbk_baseline;
#ifdef __x86_64__
extern const ebbk_table ebbk_avx2, ebbk_avx512;
#endif
#endif

/* gemm.c: the product of every table but the reference, which has plain loops. */
void ebbk_gemm(ebb_real *c, int cs, const ebb_real *a, int as, bool ta, const ebb_real *b, int bs, bool tb, int m,
               int n, int k, bool add);
