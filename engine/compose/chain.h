/* chain.h -- reversible layers one after the other, and one that acts on a part of the channels. */
#pragma once
#include "layers/layer.h"

/* A chain is open, gets its layers in order (at most `most`), is closed, and is then a reversible layer itself. */
typedef struct ebb_chain ebb_chain;
ebb_chain *ebb_chain_open(ebb_builder *b, const char *name, int most);
void       ebb_chain_add(ebb_chain *s, ebb_layer *l); /* l has an inverse */
ebb_layer *ebb_chain_close(ebb_chain *s);

/* split.c -- y = [x1 | L(x2)]: x1 has the first `first` of `channels`; L is reversible and keeps x2's shape. */
ebb_layer *ebb_split(ebb_builder *b, const char *name, int channels, int first, const ebb_layer *inner);
