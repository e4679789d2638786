/* patches.h -- patches of volumes as batches. */
#pragma once
#include "datasets/augment.h"
#include "datasets/volumes.h"
#include "train/batches.h"

/* A set that is ready: what patches of it need to be known. */
typedef struct ebb_patch_set {
  ebb_volumes volumes;
  ebb_label_map map;
  int classes;
  int patch[3];          /* D H W                                                   */
  int per_volume;        /* training: patches of each volume in an epoch            */
  double foreground;     /* training: share that is centred on the foreground       */
  ebb_augment augment;   /* training                                                */
} ebb_patch_set;

/* Training: per_volume patches of each volume, whole batches. Evaluation: all tiles. batch->index is the volume's number;
 * labels are (n, patch sites), -1 where a site does not count. The set must outlive the source. */
ebb_status ebb_patches_open(ebb_source **source, const ebb_patch_set *s, const char *name, int batch, bool training, uint64_t seed);
uint64_t   ebb_patches_count(const ebb_patch_set *s, bool training, int batch); /* samples of an epoch */
size_t     ebb_patches_bytes(const ebb_patch_set *s, int batch);
