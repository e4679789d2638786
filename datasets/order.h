/* order.h -- the order of samples in an epoch, a function of (seed, epoch) alone.
 * Owns: shuffling so that compressed storage is unpacked once an epoch. Must not know: files.
 *
 * Storage comes in blocks of samples that can only be read whole. Blocks are shuffled and grouped into windows, and
 * samples are shuffled within a window:
 *
 *   blocks in the file    0 1 2 3 4 5 6 7        windows of two   | 5 2 | 7 0 | 3 1 | 4 6 |
 *
 * With a single window every order of the samples is equally likely. */
#pragma once
#include "base/rng.h"

typedef struct ebb_order {
  uint32_t  samples;
  uint32_t  block;         /* samples in a block; the last one may have fewer        */
  uint32_t  blocks;
  uint32_t  window;        /* blocks in a window                                     */
  uint32_t *sample_at;     /* (samples) which sample comes at a position             */
  uint32_t *block_at;      /* (blocks) which block comes at a place; place / window is its window */
  uint32_t *place_of;      /* (blocks) the inverse                                   */
} ebb_order;

/* Numbers of 32 bits that the three tables need. */
size_t ebb_order_tables(uint32_t samples, uint32_t block);

void ebb_order_init(ebb_order *o, uint32_t *tables, uint32_t samples, uint32_t block, uint32_t window);

/* The file's order. */
void ebb_order_plain(ebb_order *o);

void ebb_order_shuffle(ebb_order *o, uint64_t seed, uint32_t epoch);
