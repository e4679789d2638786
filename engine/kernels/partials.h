/* partials.h -- the sum of what chunks of work have added up, each by itself.
 * Owns: the order of the chunks, which depends on their number only. Must not know: what a chunk is. Private to the weight gradients.
 *
 * The sum is that of the first half of the chunks plus that of the second. Chunks are dealt to threads in their order (deal.h), so
 * that on two threads each finds one half in its own cache, and reads but one partial of the other's: lines that one core writes
 * again after another one read them are slow to write, at 2.4 GB/s where the two share no cache. */
#pragma once
#include "kernels/conv_parts.h"

enum { PARTIAL_PIECE = 2048 }; /* floats, a multiple of VL */

/* Chunk that the second half begins with; the first one if there is no other. */
INLINE int second_half(int chunks)
{
  return chunks / 2;
}

/* Chunks [begin, end) of a piece into the first of them. */
static void fold_piece(float *partials, size_t floats, int begin, int end, size_t from, size_t to)
{
  for (size_t i = from; i < to; i += VL) {
    vec sum = load(partials + (size_t)begin * floats + i);
    for (int c = begin + 1; c < end; c++) sum += load(partials + (size_t)c * floats + i);
    store(partials + (size_t)begin * floats + i, sum);
  }
}

/* partials (chunks, floats), floats a multiple of VL: each half into its first chunk. */
static void fold_halves(float *partials, size_t floats, int chunks)
{
  int second = second_half(chunks), pieces = (int)((floats + PARTIAL_PIECE - 1) / PARTIAL_PIECE);
  if (chunks <= 2) return;
#pragma omp parallel for schedule(static) if (floats * (size_t)chunks > 65536)
  for (int k = 0; k < 2 * pieces; k++) {
    size_t from = (size_t)(k % pieces) * PARTIAL_PIECE, to = from + PARTIAL_PIECE < floats ? from + PARTIAL_PIECE : floats;
    if (k < pieces) fold_piece(partials, floats, 0, second, from, to);
    else fold_piece(partials, floats, second, chunks, from, to);
  }
}

/* A vector of the sum, at p in the first chunk. */
INLINE vec folded(const float *p, size_t floats, int chunks)
{
  vec sum = load(p);
  return chunks > 1 ? sum + load(p + (size_t)second_half(chunks) * floats) : sum;
}
