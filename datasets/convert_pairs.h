/* convert_pairs.h -- pairs of an image and a label map, in files or folders, to HDF5.
 * Owns: which files belong together, what is written. Must not know: the formats, which hand in a reader. */
#pragma once
#include "base/arena.h"
#include "datasets/write.h"

/* What a file holds, C order: [channels,] [d,] h, w. */
typedef struct ebb_array {
  ebb_write_type type;
  int            rank;
  uint64_t       dims[4];
  bool           channels;        /* the first axis is channels                                            */
  double         um[3];           /* size of an element along D H W; 0: not known                          */
  double         grid[16];        /* where the sites are in space, row by row; all 0: not known            */
  void          *values;          /* of `memory`                                                           */
  ebb_arena      memory;
} ebb_array;

typedef struct ebb_pair_format {
  const char *const *endings;     /* ".nii.gz", ...; NULL ends the list                                    */
  ebb_status (*read)(ebb_array *a, const char *path, bool label);
} ebb_pair_format;

/* in: IMAGE [LABEL], and out is FILE.h5; or two folders (or one) whose files are paired by name (a label may lack nnU-Net's _0000),
 * and out is a folder, which gets one NAME.h5 a pair, or FILE.h5, which gets all as one stack and needs equal sizes.
 * Written are `raw` and `label`, with element_size_um. EBB_NOINPUT, EBB_DATA (a pair that does not fit), EBB_CANTCREAT. */
ebb_status ebb_convert_pairs(const char *out, const char *const *in, int count, const ebb_pair_format *format);

size_t ebb_array_bytes(const ebb_array *a);
