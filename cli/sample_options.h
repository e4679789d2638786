/* sample_options.h -- section sample.* of a configuration: what is drawn from a normalizing flow. */
#pragma once
#include "base/option.h"

typedef struct ebb_sample_options {
  int         count;
  double      temperature;
  size_t      seed;
  const char *folder;
  int         label;    /* of all samples, of a density of each class; -1: they take turns */
  ebb_ints    between;  /* numbers of data.val's samples, or none */
  int         steps;
} ebb_sample_options;

extern const ebb_option ebb_sample_option_table[];
