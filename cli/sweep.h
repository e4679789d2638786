/* sweep.h -- `ebb profile --sweep`: the same for several depths, sizes, batches, or values of any key.
 * Owns: the points, their table, CSV and picture. Must not know: how a mode is measured. */
#pragma once
#include <jansson.h>

#include "config.h"
#include "verb.h"

/* Measures one mode, with `key=value` after all other words: step_seconds, planned_bytes, peak_bytes, rss_bytes. */
typedef ebb_status (*ebb_sweep_measure)(json_t **answer, int mode, const char *word, void *context);

typedef struct ebb_sweep {
  const ebb_flags   *flags;
  ebb_config        *config;   /* its network says what depth is    */
  const char        *title;
  const int         *modes;    /* ebb_policy, count                 */
  int                count;
  ebb_sweep_measure  measure;
  void              *context;
} ebb_sweep;

/* Measures and tells. flags->sweep is "depth=10,50", "size=32,64", "batch=1,2" or "KEY=VALUES". A point that has not got the memory it
 * plans is left empty. */
ebb_status ebb_sweep_run(const ebb_sweep *s);
