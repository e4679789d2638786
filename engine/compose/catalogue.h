/* catalogue.h -- all layers there are, by the rows of layers.def. */
#pragma once
#include "layers/layer.h"

#define ROW(name) extern const ebb_layer_ops ebb_##name##_ops;
#include "compose/layers.def"
#undef ROW

size_t               ebb_catalogue_count(void);
const ebb_layer_ops *ebb_catalogue_at(size_t i);
const ebb_layer_ops *ebb_catalogue_find(const char *name); /* NULL, with a message that names the nearest */
