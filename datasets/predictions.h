/* predictions.h -- files of predictions, in the convention of pytorch-3dunet: NAME_predictions.h5 with a dataset `predictions`.
 * Owns: names, shapes, types. Must not know: who predicts.
 *
 *   labels         (Z, Y, X) or (Y, X): the values that labels have in the training's files, uint8 or uint16 (int32 if they need it)
 *   probabilities  (C, Z, Y, X) or (C, Y, X) float32
 *
 * with N in front where the images' file has samples; element_size_um is kept. */
#pragma once
#include "datasets/scans.h"

typedef struct ebb_predictions ebb_predictions;

/* For `samples` scans of one file, of which `scan` is one. outputs 0: labels, else probabilities of so many classes. EBB_CANTCREAT. */
ebb_status ebb_predictions_open(ebb_predictions **p, const char *path, const ebb_scans *scans, const ebb_scan *scan, int samples, int outputs);

/* Plane `at` across the first axis of more than one site, of sample 0 .. samples - 1, dense. */
ebb_status ebb_predictions_labels(ebb_predictions *p, int sample, int at, const uint16_t *classes);
ebb_status ebb_predictions_probabilities(ebb_predictions *p, int sample, int at, const float *q); /* (plane, outputs) */

ebb_status ebb_predictions_commit(ebb_predictions *p);
void       ebb_predictions_close(ebb_predictions *p); /* without a commit: there is no file. NULL is allowed */

/* "FOLDER/NAME_predictions.h5" of a scan's file. */
const char *ebb_predictions_path(const char *folder, const ebb_scan *scan, ebb_pool *pool);
