/* sequence.h -- layers one after the other. */
#pragma once
#include "layers/layer.h"

/* Open a sequence, add layers in order, close it; an activation right behind a norm becomes part of it. At most
 * `most` layers. The sequence is a layer itself. */
typedef struct ebb_sequence ebb_sequence;
ebb_sequence *ebb_sequence_open(ebb_builder *b, const char *name, int most);
void          ebb_sequence_add(ebb_sequence *s, ebb_layer *l);
ebb_layer    *ebb_sequence_close(ebb_sequence *s);
