/* stats.h -- what the values of a set of images are like, channel by channel, in one pass over the file.
 * Owns: the sums (in double, one order, so that they are the same every time). Must not know: what they are for. */
#pragma once
#include "datasets/layout.h"

typedef struct ebb_channel {
  uint64_t count, nan, inf;          /* count: of finite values                      */
  double   min, max;                 /* of finite values                             */
  double   pivot, sum, squares;      /* of x - pivot, pivot the first finite value   */
} ebb_channel;

typedef struct ebb_stats {
  ebb_channel *channel;              /* (c)                                          */
  int          channels;
  bool         bad;                  /* there is a NaN or Inf                        */
  uint64_t     bad_sample;           /* the first that has one                       */
} ebb_stats;

/* Reads all of `images`; the channels live in the pool. */
ebb_status ebb_stats_measure(ebb_stats *s, ebb_h5 *f, const ebb_h5_dataset *images, const ebb_axes *axes, ebb_pool *pool);

double ebb_channel_mean(const ebb_channel *c);
double ebb_channel_std(const ebb_channel *c); /* of the population */

/* All channels as one. */
ebb_channel ebb_stats_together(const ebb_stats *s);

/* EBB_DATA: NaN or Inf at this sample. */
ebb_status ebb_stats_refuse(const char *name, uint64_t sample);
