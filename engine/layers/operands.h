/* operands.h -- views as the kernels' operands: a real view or one of the stream is read as it is. */
#pragma once
#include "kernels/kernels.h"
#include "layers/layer.h"

static inline ebbk_input ebb_input(ebb_view x)
{
  return (ebbk_input){.x = x.p, .stride = x.stride, .stream = x.s.stream};
}

static inline ebbk_output ebb_output(ebb_view y)
{
  return (ebbk_output){.y = ebb_reals(y), .stride = y.stride, .how = y.add ? EBBK_ADD : EBBK_SET};
}

/* y = x, real values or the stream's bits; nothing in a dry run. */
static inline void ebb_copy(const ebb_run *r, ebb_view y, ebb_view x)
{
  if (!r->dry) ebbk->copy(y.p, y.stride, x.p, x.stride, ebb_sites(x.s), x.s.c);
}

/* z += or z -= on the stream; values that leave it are counted in `range`. */
static inline ebbk_output ebb_stream_output(ebb_view z, ebb_sign sign, ebbk_range *range)
{
  return (ebbk_output){.y = ebb_fixeds(z), .stride = z.stride, .range = range,
                       .how = sign == EBB_PLUS ? EBBK_STREAM_ADD : EBBK_STREAM_SUBTRACT};
}
