/* models.h -- the catalogue of networks.
 * Owns: one row a network. Must not know: datasets, training. To add a network: one file, its
 * line in networks.h and in meson.build, one row in models.c. */
#pragma once
#include "base/option.h"
#include "compose/model.h"

/* A flow learns a density: labels do not count, unless it is one of each class (ebb_network_conditional). That of levels is one of whole numbers, such as grey levels, which it takes as they
 * are and not standardised. */
typedef enum ebb_network_flow { EBB_NO_FLOW, EBB_FLOW, EBB_FLOW_OF_LEVELS } ebb_network_flow;

typedef struct ebb_network {
  const char       *name;        /* "revnet-110": what model.name says                              */
  const char       *summary;     /* one line                                                        */
  const char       *source;      /* paper                                                           */
  const ebb_option *options;     /* model.* besides model.name; the same table may serve a family   */
  size_t            options_size;
  /* defaults that differ from the table's: "units=3,3,3 widths=32,32,64,112", space-separated key=value; or NULL */
  const char       *preset;
  ebb_network_flow  flow;
  /* Builds layers for inputs like `in` and `classes` outputs; EBB_CONFIG with the reason if the options do not go
   * together. */
  ebb_status (*build)(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root);
} ebb_network;

extern const ebb_network ebb_networks[]; /* ends with name == NULL */

const ebb_network *ebb_network_find(const char *name); /* NULL with a message (nearest name) if there is none */

/* Sets the network's options: its table's defaults, its preset, then `words`, "variant=memcnn classes=100" or "". Texts live
 * in the pool. EBB_CONFIG for a word that the table does not know. */
ebb_status ebb_network_options(const ebb_network *network, void *options, const char *words, ebb_pool *pool);

/* What section train says of it unless somebody says otherwise, "lr=0.001 ...", or "": flows diverge by the standard step. */
const char *ebb_network_training(const ebb_network *network);

/* Do options say that a flow learns the density of each class? Then labels count. */
bool ebb_network_conditional(const ebb_network *network, const void *options);

/* A model of the catalogue: options is a struct of network->options_size bytes, set by its table. */
ebb_status ebb_network_model(ebb_model *m, const ebb_network *network, const void *options, ebb_shape in, int classes);
