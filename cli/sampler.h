/* sampler.h -- samples of a normalizing flow: drawn from its prior, or on the way between two samples of the data.
 * Owns: the network, latent values. Must not know: files of results, pictures. */
#pragma once
#include "config.h"

typedef struct ebb_sampler {
  ebb_config *config;
  ebb_shape   shape;       /* of one sample                                                         */
  ebb_model   model;
  ebb_trainer trainer;
  ebb_data   *data;        /* to go between its samples, or NULL                                    */
  bool        ready;       /* model and trainer are there                                           */
  size_t      values;      /* of a sample                                                           */
  int         count;       /* samples that will be made                                             */
  int         columns;     /* in which they are best shown                                          */
  ebb_real   *latent;      /* (count, values)                                                       */
  int32_t    *label;       /* (count) of a density of each class; else NULL                         */
  double      reconstruction; /* the largest |x - decode(encode(x))| of the data between which it goes; NaN: there are none */
} ebb_sampler;

/* The network and weights of a checkpoint, the moving mean where there is one. EBB_CONFIG: it is no flow, or sample.between does not
 * fit the data or sample.label the network. Everything but memory of the network is in the configuration's pool. */
ebb_status ebb_sampler_open(ebb_sampler *s, ebb_config *c, const char *checkpoint);

/* All samples, (count, values) in the units of the data's file. The same for the same seed, on any number of threads. EBB_SOFTWARE. */
ebb_status ebb_sampler_run(ebb_sampler *s, float *samples);

void ebb_sampler_close(ebb_sampler *s);
