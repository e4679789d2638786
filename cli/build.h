/* build.h -- from a configuration to a model, with data or without.
 * Owns: the shape of a sample and the number of classes. Must not know: training. */
#pragma once
#include "config.h"

/* Shape and classes from data.shape and data.classes (10 if not given), else by opening data.train or data.val. */
ebb_status ebb_build_shape(ebb_shape *shape, int *classes, const ebb_config *c);

/* The network of the configuration. */
ebb_status ebb_build_model(ebb_model *m, const ebb_config *c, ebb_shape shape, int classes);

/* `shape` with `n` samples. */
ebb_shape ebb_build_batch(ebb_shape shape, int n);

/* EBB_CONFIG if the network has fewer outputs than the data has classes. */
ebb_status ebb_build_fits(const ebb_model *m, const ebb_data *data);
