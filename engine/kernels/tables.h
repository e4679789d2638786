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

/* reference.c: conv_backward by the table's single products, one after the other. */
void ebbk_backward_by_parts(const ebbk_table *t, const ebbk_conv_back *k, const ebbk_conv *g, void *scratch);

/* ... and the moments of a convolution's result by a pass of its own, if they are wanted. */
void ebbk_moments_by_pass(const ebbk_table *t, const ebbk_output *y, const ebbk_conv *g);

/* squeeze.c: the same for every table. */
size_t ebbk_squeeze_scratch(const ebbk_squeeze *g, int threads);
void   ebbk_squeeze_words(void *x, const ebbk_squeeze *g, bool undo, void *scratch);
void   ebbk_rotate_words(void *x, int xs, int count, size_t rows, int c);

/* reference_mixing.c */
void   ebbk_mix(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range);
void   ebbk_unmix(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range);
size_t ebbk_mix_scratch(const ebbk_mixing *g, int threads);
void   ebbk_mix_grad(ebb_real *dm, ebb_real *dx, int dxs, const ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows,
                     void *scratch);

/* reference_segment.c */
size_t ebbk_segment_scratch(const ebbk_segment *g);
double ebbk_segment_sums(ebb_real *p, int ps, ebbk_overlap *sums, const ebb_real *x, int xs, const int32_t *label,
                         const ebbk_segment *g, void *scratch);
void   ebbk_segment_grad(ebb_real *dx, int dxs, const int32_t *label, const ebbk_slope *slope, double weight,
                         const ebbk_segment *g, void *scratch);
