/* vary.h -- depth, size, batch or any key, and its value, as one more word of a configuration.
 * Owns: which key a name stands for. */
#pragma once
#include "config.h"

/* "train.batch=4" of "batch" and "4", "data.shape=32x32x3" of "size" and "32", "model.depth=8" of "depth" and "8"; of another name "name=value".
 * In the configuration's pool. EBB_USAGE: its network has no depth, or it has no data.shape. */
ebb_status ebb_vary(const char **word, ebb_config *c, const char *name, const char *value);
