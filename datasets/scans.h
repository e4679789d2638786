/* scans.h -- whole volumes and images, one after the other: what prediction and its evaluation read.
 * Owns: the list, and reading boxes of it. Must not know: windows, networks. */
#pragma once
#include "datasets/datasets.h"

typedef struct ebb_scan {
  const char *file;
  const char *name;              /* of the file, without folder and ending; with the sample's number where there are many */
  const char *axes;              /* of the image in the file, "nchw"                                       */
  uint32_t    sample;            /* along n                                                                */
  int         size[3];           /* D H W                                                                  */
  double      spacing[3];        /* mm; 1 where the file does not say                                      */
  bool        spaced;            /* the file does say                                                      */
  bool        labelled;
} ebb_scan;

typedef struct ebb_scans {
  int               count, channels;
  int               classes;
  const ebb_scan   *at;          /* (count) those of a file follow each other                              */
  const char *const *notes;
  int               note_count;
} ebb_scans;

/* Of `places` (FILE, FILE:GROUP, FOLDER, pattern, each with a range behind it) for a network whose input is `x`; labels may be
 * missing. Reads all once, for mean and standard deviation. Of the options: raw, label, axes, classes, label_map. */
ebb_status ebb_scans_open(ebb_scans **s, const char *const *places, int count, const ebb_data_options *o, ebb_shape x);
/* Of a set of label maps that is open, and stays so. */
void ebb_scans_of(ebb_scans **s, const ebb_data *data, ebb_split split);
void       ebb_scans_close(ebb_scans *s); /* NULL is allowed */

/* Room for boxes of at most so many sites; and the bytes it takes, with libhdf5's own. Before the first box is read. */
ebb_status ebb_scans_prepare(ebb_scans *s, size_t sites);
size_t     ebb_scans_bytes(const ebb_scans *s, size_t sites);

/* The box start .. start + size - 1 of scan i: normalised by its own mean and standard deviation, (size, channels); and its
 * labels as classes, -1: none. */
ebb_status ebb_scans_image(ebb_scans *s, ebb_real *x, int i, const int start[3], const int size[3]);
ebb_status ebb_scans_labels(ebb_scans *s, int32_t *labels, int i, const int start[3], const int size[3]);

/* The value in files that stands for a class. */
int64_t ebb_scans_value(const ebb_scans *s, int class);
