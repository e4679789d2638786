/* model.h -- a model: layers, parameters and the shape of their input; and the two passes through it.
 * Owns: building, initial values, forward, backward. Must not know: losses, optimisers, files. */
#pragma once
#include "layers/layer.h"

typedef struct ebb_model {
  ebb_pool         pool;         /* layers, names, parameters                                       */
  const char      *name;         /* "revnet-110"                                                    */
  const ebb_layer *root;         /* a sequence                                                      */
  ebb_shape        in, out;      /* of one sample, n = 1                                            */
  bool             logdet;       /* some layers have a log|det|: they are undone but for rounding   */
  bool             conditional;  /* some layers look at samples' labels                             */
  bool             flow;         /* invertible from end to end: its loss is a likelihood, which looks at no labels */
  const ebb_param *params;       /* a list, in PyTorch's order                                      */
  int              layers;       /* number of layers, composites included; ids are 0 .. layers - 1  */
  size_t           weights;      /* trainable values: the parameter count                           */
  size_t           states;       /* values of running statistics                                    */
} ebb_model;

/* Begins a model for inputs like `in` (n is ignored). Build layers with `b`, then end it with the root. */
void ebb_model_begin(ebb_model *m, ebb_builder *b, const char *name, ebb_shape in);
/* EBB_CONFIG if the layers do not fit the input; the message names the layer and the shape. */
ebb_status ebb_model_end(ebb_model *m, const ebb_builder *b, ebb_layer *root);
void       ebb_model_destroy(ebb_model *m);

/* Draws initial weights and sets initial states, by (seed, parameter). */
void ebb_model_initialise(const ebb_model *m, ebb_real *weights, ebb_real *state, uint64_t seed);

/* Trainable values of a layer and of all layers inside it. */
size_t ebb_model_weights_of(const ebb_model *m, const ebb_layer *l);

/* Calls `visit` for every layer, parents first; depth 0 is the root. */
void ebb_model_walk(const ebb_model *m, void (*visit)(const ebb_layer *l, int depth, void *context), void *context);

/* One training or evaluation pass, by r->pass and r->policy: x -> *y, which lies in the run's arena until
 * ebb_backward, or ebb_release where there is none; x must stay as it is until then. A TRAIN pass counts r->step up. */
void ebb_forward(ebb_run *r, const ebb_model *m, ebb_view x, ebb_view *y);
/* Adds all parameters' gradients; dx.p may be NULL. Everything of the pass is released. */
void ebb_backward(ebb_run *r, const ebb_model *m, ebb_view x, ebb_view dy, ebb_view dx);
void ebb_release(ebb_run *r);
/* The other way through a flow (m->flow), in evaluation: of the *y of such a pass, in its place; or of z, which stays, into *x, which lies
 * in the run's arena until ebb_release. r->drawn says which of the two z is like. */
void ebb_invert(ebb_run *r, const ebb_model *m, ebb_view *y);
void ebb_inverse(ebb_run *r, const ebb_model *m, ebb_view z, ebb_view *x);
