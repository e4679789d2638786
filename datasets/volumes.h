/* volumes.h -- samples with a label at every site: volumes and images, one a file or many in one dataset.
 * Owns: what is known of each before training: where it is, its size, its statistics, where its foreground is; the classes.
 * Must not know: patches, batches. */
#pragma once
#include "datasets/hdf5.h"
#include "datasets/labels.h"
#include "datasets/notes.h"
#include "datasets/datasets.h"

enum { EBB_VOLUME_POINTS = 256, EBB_VALUES_MOST = 256, EBB_LABEL_PAIRS = 64, EBB_CHANNELS_MOST = 64 };

/* A pair of datasets of one file. */
typedef struct ebb_stack {
  const char *file;
  const ebb_h5_dataset *raw, *label; /* label: NULL where there is none, in images to be predicted */
  char raw_axes[EBB_H5_RANK + 1];   /* "cdhw", "nchw"                                            */
  char label_axes[EBB_H5_RANK + 1]; /* "dhw", "nhw"; "cdhw" where each class has a mask          */
  bool grey;                        /* raw is colours of which the network takes the brightness  */
  int masks;                        /* of these, how many; 0: labels are numbers                 */
  bool soft;                        /* they hold probabilities, each of a class; or of class 1   */
} ebb_stack;

typedef struct ebb_volume {
  const ebb_stack *stack;
  uint32_t sample;                  /* along n; 0 where there is no such axis                    */
  int size[3];                      /* D H W                                                     */
  double spacing[3];                /* of sites, in mm; 1 if the file does not say               */
  double *mean, *std;               /* (channels) of its own values                              */
  uint32_t *foreground;             /* (foreground_count) sites (d H + h) W + w whose label is not 0, spread evenly */
  int foreground_count;
} ebb_volume;

/* How values in files become classes. */
typedef struct ebb_label_map {
  int count;                        /* 0: a value is its class                                   */
  bool one_hot;                     /* of masks, one of which is the background's                */
  bool soft;                        /* values are probabilities: see ebb_soft_values             */
  int64_t low[EBB_LABEL_PAIRS], high[EBB_LABEL_PAIRS]; /* values low .. high are of the class    */
  int class[EBB_LABEL_PAIRS];
} ebb_label_map;

typedef struct ebb_volumes {
  int count, rank, channels;
  ebb_volume *at;                   /* (count) in the order of files and samples                 */
  int largest[3];                   /* D H W                                                     */
  int box_channels;                 /* the most that a box of raw data or labels has of them     */
  size_t working_bytes;             /* libhdf5's own, at most, for one of them                   */
  size_t value_bytes;               /* of raw, at most                                           */
} ebb_volumes;

/* Is the set that `text` names one of volumes: a folder, a pattern, or a file whose labels are maps? */
ebb_status ebb_volumes_meant(bool *meant, const char *text, const ebb_data_options *o, ebb_pool *pool);

/* Finds and reads all of a set once: sizes, finite values, statistics, labels. `classes` 0 and map->count 0 in the training set
 * are settled here; in another set values must be known. Everything lives in the pool. Errors: EBB_NOINPUT, EBB_DATA with file,
 * dataset, voxel, value and, for labels, a histogram and the data.label_map to write. */
ebb_status ebb_volumes_open(ebb_volumes *v, ebb_notes *notes, int *classes, ebb_label_map *map, const char *text,
                            const ebb_data_options *o, bool training);

/* The same of images to be predicted by a network whose input is `x`, which tells what axes are; labels may be missing. */
ebb_status ebb_volumes_open_images(ebb_volumes *v, ebb_notes *notes, int classes, ebb_label_map *map, const char *text,
                                   const ebb_data_options *o, ebb_shape x);

/* The class of a value; -1: none. */
int ebb_label_class(const ebb_label_map *map, int classes, double value);

/* "0:0,255:1", "0:0,1-90:1", "one-hot", "soft" */
ebb_status ebb_label_map_read(ebb_label_map *map, const char *text);

/* A box of one volume in a dataset: read into `numbers` (which has room), then walked by steps. */
typedef struct ebb_box {
  int start[3], size[3];            /* D H W                                                     */
  ptrdiff_t d, h, w, c;             /* steps between neighbours in `numbers`, in values          */
} ebb_box;
ebb_status ebb_box_read(ebb_box *box, void *numbers, ebb_h5 *f, const ebb_h5_dataset *d, const char *axes, uint32_t sample);

/* The value of a channel at a site of a box that was read. */
double ebb_raw_value(const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x, int channel);

/* The label of a site of a box that was read: of masks 1 + the number of the one that holds it, 0 if none does, NaN if several do; of
 * probabilities the most probable class. */
double ebb_label_value(const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x);

/* Classes of soft labels: one a mask, or 2 where there is class 1's probability only; 0: labels are hard. */
int ebb_soft_classes(const ebb_stack *s);

/* Their probabilities at a site, t: (ebb_soft_classes). */
void ebb_soft_values(double *t, const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x);

/* Opens the stack's file again and checks that both datasets are what they were. */
ebb_status ebb_stack_reopen(ebb_h5 **f, const ebb_stack *s, ebb_pool *pool);
