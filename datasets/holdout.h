/* holdout.h -- a part of the training samples set aside for validation.
 * Owns: which. Samples of one group (tiles of one image, slices of one patient) stay on one side; the choice is the same in
 * every run, so that runs can be compared. */
#pragma once
#include "datasets/volumes.h"

/* Moves `share` of the groups from `train` to `held`. `group` names a dataset (N) beside the raw data, whose equal values are one
 * group; "": each sample is its own. EBB_CONFIG if a side would be empty, EBB_DATA if there is no such dataset. */
ebb_status ebb_volumes_hold_out(ebb_volumes *train, ebb_volumes *held, ebb_notes *notes, double share, const char *group);
