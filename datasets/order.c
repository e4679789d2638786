/* order.c -- see order.h. */
#include "datasets/order.h"

static uint32_t blocks_of(uint32_t samples, uint32_t block)
{
  return samples / block + (samples % block != 0);
}

size_t ebb_order_tables(uint32_t samples, uint32_t block)
{
  return (size_t)samples + 2 * (size_t)blocks_of(samples, block);
}

void ebb_order_init(ebb_order *o, uint32_t *tables, uint32_t samples, uint32_t block, uint32_t window)
{
  uint32_t blocks = blocks_of(samples, block);
  *o = (ebb_order){.samples = samples, .block = block, .blocks = blocks, .window = window};
  o->sample_at = tables;
  o->block_at = tables + samples;
  o->place_of = o->block_at + blocks;
  ebb_order_plain(o);
}

void ebb_order_plain(ebb_order *o)
{
  for (uint32_t i = 0; i < o->samples; i++) o->sample_at[i] = i;
  for (uint32_t i = 0; i < o->blocks; i++) o->block_at[i] = o->place_of[i] = i;
}

/* The samples of the blocks at places first .. last - 1, from position `at`; returns the position after them. */
static uint32_t list_samples(ebb_order *o, uint32_t at, uint32_t first, uint32_t last)
{
  for (uint32_t place = first; place < last; place++) {
    uint32_t begin = o->block_at[place] * o->block;
    uint32_t count = o->samples - begin < o->block ? o->samples - begin : o->block;
    for (uint32_t i = 0; i < count; i++) o->sample_at[at++] = begin + i;
  }
  return at;
}

/* Fisher and Yates in place. The numbers drawn are those after 2^32: the ones before shuffle the blocks. */
static void shuffle_samples(ebb_order *o, ebb_rng g, uint32_t first, uint32_t last)
{
  for (uint32_t i = last; i-- > first + 1;) {
    uint32_t j = first + (uint32_t)ebb_rng_below(g, ((uint64_t)1 << 32) + i, i - first + 1);
    uint32_t t = o->sample_at[i];
    o->sample_at[i] = o->sample_at[j];
    o->sample_at[j] = t;
  }
}

void ebb_order_shuffle(ebb_order *o, uint64_t seed, uint32_t epoch)
{
  ebb_rng g = {.seed = seed, .purpose = EBB_RNG_SHUFFLE, .time = epoch};
  uint32_t at = 0;
  ebb_order_plain(o);
  if (o->window < o->blocks) ebb_rng_permutation(o->block_at, g, o->blocks);
  for (uint32_t i = 0; i < o->blocks; i++) o->place_of[o->block_at[i]] = i;
  for (uint32_t first = 0; first < o->blocks;) {
    uint32_t last = o->blocks - first > o->window ? first + o->window : o->blocks;
    uint32_t end = list_samples(o, at, first, last);
    shuffle_samples(o, g, at, end);
    at = end;
    first = last;
  }
}
