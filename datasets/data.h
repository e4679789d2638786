/* data.h -- sets of samples as the files of this room see them; users see ebb_data.
 * Owns: what is known of a set once its file was described and its labels read. Must not know: batches. */
#pragma once
#include "datasets/labels.h"
#include "datasets/layout.h"
#include "datasets/patches.h"
#include "datasets/sample.h"

typedef struct ebb_set {
  ebb_split             split;
  const char           *file, *group;
  const char           *name;         /* "FILE:/train/images"; NULL: there is no such set */
  const ebb_h5_dataset *images, *label_data; /* label_data: NULL of a density */
  ebb_axes              axes;
  ebb_labels            encoding;
  uint32_t              samples;
  int32_t              *label;        /* (samples); NULL of a density                     */
  ebb_arena             memory;       /* of the labels                                    */
} ebb_set;

typedef struct ebb_data_parts {
  ebb_data         shown; /* first: an ebb_data is one of these */
  ebb_data_options options;
  ebb_pool         pool;
  ebb_notes        notes;
  ebb_set          set[EBB_SPLITS];
  ebb_norm        *norm;  /* (c)                                */
  ebb_patch_set    maps[EBB_SPLITS]; /* instead of all that where labels are maps */
} ebb_data_parts;

static inline const ebb_data_parts *ebb_data_inside(const ebb_data *data)
{
  return (const ebb_data_parts *)data;
}

/* data_maps.c: opens sets whose labels are maps. */
ebb_status ebb_data_open_maps(ebb_data_parts *p);

/* "FILE" or "FILE:GROUP". */
void ebb_set_place(const char **file, const char **group, const char *text, ebb_pool *pool);

/* Finds the datasets of a set in an open file; all that can be said without reading values. */
ebb_status ebb_set_describe(ebb_set *s, ebb_notes *notes, const ebb_h5 *f, const char *group, ebb_split split,
                            const ebb_data_options *options);

/* Reads and checks the labels. */
ebb_status ebb_set_read_labels(ebb_set *s, ebb_h5 *f, int classes);

/* The largest label + 1. */
int ebb_set_classes(const ebb_set *s);
