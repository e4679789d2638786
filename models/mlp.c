/* mlp.c -- see mlp.h. */
#include "models/mlp.h"

#include "compose/sequence.h"
#include "layers/layers.h"

static void add_relu_linear(ebb_sequence *s, ebb_builder *b, const char *name, int in, int out)
{
  ebb_sequence_add(s, ebb_relu(b, "relu"));
  ebb_sequence_add(s, ebb_linear(b, name, in, out));
}

static ebb_layer *block(ebb_builder *b, int number, int width)
{
  const char   *outer = ebb_scope_enter(b, "block%d", number);
  ebb_sequence *s = ebb_sequence_open(b, "f", 4);
  add_relu_linear(s, b, "linear1", width, width);
  add_relu_linear(s, b, "linear2", width, width);
  ebb_layer *l = ebb_residual(b, "sum", ebb_sequence_close(s));
  b->scope = outer;
  return l;
}

ebb_layer *models_mlp(ebb_builder *b, int in, int out, int width, int blocks)
{
  ebb_sequence *s = ebb_sequence_open(b, "f", blocks + 3);
  ebb_sequence_add(s, ebb_linear(b, "stem", in, width));
  for (int i = 0; i < blocks; i++) ebb_sequence_add(s, block(b, i, width));
  add_relu_linear(s, b, "head", width, out);
  return ebb_sequence_close(s);
}
