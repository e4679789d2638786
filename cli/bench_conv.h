/* bench_conv.h -- one convolution as the benchmarks see it: its operands and the results of its three products.
 * Must not know: time. */
#pragma once
#include "base/arena.h"
#include "kernels/kernels.h"

typedef struct ebb_bench_shape {
  const char *name;
  ebbk_conv   g;
} ebb_bench_shape;

extern const ebb_bench_shape ebb_bench_shapes[]; /* the last has no name */

typedef struct ebb_bench_conv {
  ebbk_conv g;
  ebb_arena arena;
  ebb_real *x, *dy, *w;  /* normal, of variance 1                                  */
  ebb_real *result;      /* of the last product: y, dx or (added to) dw            */
  void     *scratch;     /* enough for every algorithm                             */
} ebb_bench_conv;

ebb_status ebb_bench_conv_create(ebb_bench_conv *c, const ebbk_conv *g);
void       ebb_bench_conv_destroy(ebb_bench_conv *c);

void   ebb_bench_conv_run(ebb_bench_conv *c, ebbk_product what, ebbk_algorithm way);
double ebb_bench_conv_flops(const ebbk_conv *g); /* 2 taps Cin Cout output pixels */

/* The product once more: the largest error among some entries against sums in double, as a multiple of the largest entry. */
double ebb_bench_conv_error(ebb_bench_conv *c, ebbk_product what, ebbk_algorithm way);

/* Values of x, y (and so dx, dy) and w. */
size_t ebb_bench_conv_inputs(const ebbk_conv *g);
size_t ebb_bench_conv_outputs(const ebbk_conv *g);
size_t ebb_bench_conv_weights(const ebbk_conv *g);
