/* networks.h -- what the catalogue needs of each network's file. */
#pragma once
#include "models/models.h"

ebb_status revnet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);
ebb_status resnet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);

typedef struct stack_options { int depth, width, classes; } stack_options;
extern const ebb_option stack_option_table[];
ebb_status stack_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);
