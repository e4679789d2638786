/* places.h -- where volumes are: what data.train and data.val name when labels are maps.
 * Owns: FILE, FILE:GROUP, FOLDER, patterns such as 'scans/s*.h5', and a range of these behind it, '[0:160]'. Must not know:
 * what is in the files. */
#pragma once
#include <stdint.h>

#include "base/arena.h"

typedef struct ebb_places {
  const char *const *file;  /* (count) sorted by name                                            */
  int count;
  const char *group;        /* of FILE:GROUP, else ""                                            */
  bool single;              /* one file was named: a range counts its samples                    */
  int64_t first, last;      /* the range; last = INT64_MAX: to the end. Of files it is applied    */
} ebb_places;

/* EBB_NOINPUT: nothing there, with what was looked for. EBB_CONFIG: a range that cannot be read or is empty. */
ebb_status ebb_places_find(ebb_places *p, const char *text, ebb_pool *pool);
