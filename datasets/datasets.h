/* datasets.h -- data that users have, as batches.
 * Owns: the options of section data.*, opening sets, their batches, checking files, converting files.
 * Must not know: models, trainers, the command line. Files of users are read, never written.
 *
 *   ebb_data_init();                                       once, first thing in main()
 *   ebb_data_open(&data, &options);                        describes, reads labels, measures mean and std
 *   ebb_data_train(&source, data, batch, seed);            shuffled, augmented, whole batches only
 *   ebb_data_eval(&other, data, EBB_VAL_SET, batch);           the file's order, the last batch may be smaller
 *   ... source->ops->next(source, &b) ...                  see train/batches.h
 *   source->ops->close(source); other->ops->close(other);
 *   ebb_data_close(data);                                  after its sources
 */
#pragma once
#include <jansson.h>
#include <stdio.h>

#include "base/option.h"
#include "datasets/augment.h"
#include "train/batches.h"

/* Section data.* of a configuration. Texts are never NULL; "" is "not given". */
typedef struct ebb_data_options {
  const char *train, *val;   /* FILE.h5, FILE.h5:GROUP or FILE.h5:DATASET                       */
  const char *raw, *label;   /* datasets                                                        */
  const char *axes;          /* "nhwc"                                                          */
  int         classes;       /* 0: the largest training label + 1                               */
  ebb_numbers mean, std;     /* in the file's units; one a channel, or one for all; none: measure */
  int         pad;
  bool        flip;
  size_t      window;        /* bytes of a file's own numbers                                   */
  const char *patch;         /* "64x64x64": where labels are maps                               */
  int         per_volume;
  double      foreground;
  const char *label_map;     /* "0:0,255:1"                                                     */
  ebb_augment augment;
  double      holdout;
  const char *group;         /* dataset of groups that are not parted by holdout                */
  const char *shape;         /* "32x32x3": without data, for plan, profile, audit               */
  bool        density;       /* for a network that learns a density: labels do not count, and two axes are a table of rows.
                                No key of a configuration: false, until the network says so */
} ebb_data_options;

extern const ebb_option ebb_data_option_table[];

typedef enum ebb_split { EBB_TRAIN_SET, EBB_VAL_SET, EBB_SPLITS } ebb_split;

/* What is known of the data before a batch is read. */
typedef struct ebb_data {
  ebb_shape   shape;               /* of one sample: n = 1                                            */
  int         classes;
  bool        maps;                /* a label at every site: samples are patches, mean and std are each volume's own unless given */
  const char *label_map;           /* in use, as an option is written; "" if a value is its class         */
  ebb_numbers mean, std;           /* in use: given or measured; keep them in a checkpoint, and give them back
                                      as options to evaluate with the numbers of the training             */
  bool        measured;            /* mean and std come from the training set                         */
  uint64_t    samples[EBB_SPLITS]; /* 0: there is no such set                                         */
  const char *name[EBB_SPLITS];    /* "FILE:/train/images"; "" if there is no such set                */
  const char *const *notes;        /* each decision taken, one a line; some begin with "warning: "    */
  int         note_count;
} ebb_data;

/* Keeps plugins and other files out of libhdf5. First thing in main(), before threads and before any HDF5 call. */
void ebb_data_init(void);

/* Opens what the options name: `train`, `val` or both (a file with a group train/ and one of val/ or test/ holds
 * both). Without `train`, mean and std must be given. Everything training could trip over, except NaN or Inf in images
 * that have not been read yet, is an error here. */
ebb_status ebb_data_open(ebb_data **data, const ebb_data_options *options);
void       ebb_data_close(ebb_data *data); /* NULL is allowed */

/* Batches of one set. A source has its own buffers and reads ahead on a thread of its own; two sources of one set are
 * independent. The training order is a function of (seed, epoch), augmentation of (seed, epoch, sample). */
ebb_status ebb_data_train(ebb_source **source, const ebb_data *data, int batch, uint64_t seed);
ebb_status ebb_data_eval(ebb_source **source, const ebb_data *data, ebb_split split, int batch);

/* The bytes such a source will say it has taken, before it is opened. */
size_t ebb_data_train_bytes(const ebb_data *data, int batch);
size_t ebb_data_eval_bytes(const ebb_data *data, ebb_split split, int batch);

/* The bytes of the two batches alone, `labels` in each; what plan and profile count when they have a shape and no data. */
size_t ebb_data_batch_bytes(ebb_shape batch, size_t labels);

/* "32x32x3", "64x64x64x1", "128x2" -> a shape of rank 2, 3, 1 with n = 1. EBB_CONFIG if it is none. */
ebb_status ebb_data_shape_read(ebb_shape *shape, const char *text);

/* "64x64x32" -> D H W, as many sizes as the data has dimensions, or one for all of them, each at least `least`, which also stands for
 * the dimensions that are not there. EBB_CONFIG in the name of the option. */
ebb_status ebb_data_sizes_read(int size[3], const char *text, int rank, int least, const char *option);

/* What a file holds and what training on it would trip over, as text and as JSON (either may be NULL; the caller
 * owns the reference of *report). Of the options, raw, label, axes, classes and window count; `batch` is for the
 * estimate of memory. Returns EBB_OK if nothing stands in the way of training, else the status of the first trouble,
 * which is also the message. The report is complete either way; it is NULL only if the file is not readable HDF5. */
ebb_status ebb_data_check(json_t **report, FILE *text, const char *path, const ebb_data_options *options, int batch);

/* Converters. `out` appears whole or not at all, in place of an older file of that name.
 * A single pair becomes /images and /labels, two pairs /train/images, /train/labels, /test/images, /test/labels. */

/* in: IMAGES LABELS [TEST-IMAGES TEST-LABELS], each plain or .gz: the format of MNIST, Fashion-MNIST, EMNIST ... */
ebb_status ebb_convert_idx(const char *out, const char *const *in, int count);

/* in: the files of "CIFAR-10/100 binary version": data_batch_1.bin ... and test_batch.bin, or train.bin and test.bin.
 * Files whose name begins with "test" become /test. CIFAR-100's coarse labels go to `coarse_labels`. */
ebb_status ebb_convert_cifar(const char *out, const char *const *in, int count);

/* in: IMAGE [LABEL], or two folders of files of the same names: see convert_pairs.h. NIfTI (.nii, .nii.gz), 2-D to 4-D: axes (channels,) z, y,
 * x, values scaled as the header says, element_size_um from its spacing; image and label must be on one grid. */
ebb_status ebb_convert_nifti(const char *out, const char *const *in, int count);

/* The same of PNG: images grey or colour, 8 or 16 bit, without alpha; labels are the numbers of grey or palette. */
ebb_status ebb_convert_png(const char *out, const char *const *in, int count);

/* in: FILE.csv, plain or .gz, with names in the first line. Rows with missing values are left out, the others shuffled by the seed and
 * parted 8 : 1 : 1 into /train/data, /val/data and /test/data, of float64 (rows, columns), with an attribute columns, "SST,SLP". */
typedef struct ebb_table_counts {
  uint64_t rows[3], missing;  /* train, val, test; left out */
  int      columns;
} ebb_table_counts;
ebb_status ebb_convert_table(ebb_table_counts *counts, const char *out, const char *const *in, int count, uint64_t seed);
