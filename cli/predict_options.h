/* predict_options.h -- section predict.* of a configuration: how whole volumes are predicted. */
#pragma once
#include "base/option.h"

typedef struct ebb_predict_options {
  const char *window;   /* "", "whole", "96x96x96"   */
  double      overlap;
  const char *halo;     /* "" or "8x16x16"           */
  const char *flip;     /* letters of dhw            */
  int         output;   /* labels|probabilities      */
  const char *folder;
  int         overlays;
} ebb_predict_options;

extern const ebb_option ebb_predict_option_table[];
enum { EBB_PREDICT_LABELS, EBB_PREDICT_PROBABILITIES };
