/* volumes_parts.h -- what the files volumes*.c share. */
#pragma once
#include "datasets/layout.h"
#include "datasets/volumes.h"

/* Sets the axes of s->raw and s->label, both found. */
ebb_status ebb_volumes_axes(ebb_stack *s, ebb_notes *notes, const ebb_h5 *f, const char *wanted, bool many);

/* The same for images to be predicted: the axes follow from the network's input. Labels that do not fit are left aside, unless
 * they are needed. */
ebb_status ebb_volumes_axes_for(ebb_stack *s, ebb_notes *notes, const ebb_h5 *f, const char *wanted, ebb_shape x, bool needed);

/* Values of labels, as far as they are few: how often, and one place of each. */
typedef struct ebb_census {
  int      count;                   /* at most EBB_VALUES_MOST; `more` beyond                    */
  bool     more;
  int      masks;                   /* the most of a file, 0: labels are numbers                 */
  int      soft;                    /* classes of soft labels, 0: they are hard                  */
  double   value[EBB_VALUES_MOST];
  uint64_t times[EBB_VALUES_MOST];
  const ebb_volume *where[EBB_VALUES_MOST];
  uint64_t site[EBB_VALUES_MOST];
} ebb_census;

void ebb_census_add(ebb_census *c, double value, const ebb_volume *v, uint64_t site);

/* From all values of a training set: the map, where it is not given, and the classes; or checks another set. */
ebb_status ebb_census_settle(const ebb_census *c, ebb_notes *notes, int *classes, ebb_label_map *map, bool training);
