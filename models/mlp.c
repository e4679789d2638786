/* mlp.c -- see mlp.h. */
#include "models/mlp.h"

#include "compose/sequence.h"
#include "layers/layers.h"

static void add_relu_linear(ebb_sequence *s, ebb_builder *b, const char *name, int in, int out)
{
  ebb_sequence_add(s, ebb_relu(b, "relu"));
  ebb_sequence_add(s, ebb_linear(b, name, in, out));
}

static ebb_layer *block(ebb_builder *b, int number, int width, double dropout)
{
  const char   *outer = ebb_scope_enter(b, "block%d", number);
  ebb_sequence *s = ebb_sequence_open(b, "f", 5);
  add_relu_linear(s, b, "linear1", width, width);
  if (dropout > 0) ebb_sequence_add(s, ebb_dropout(b, "dropout", dropout));
  add_relu_linear(s, b, "linear2", width, width);
  ebb_layer *l = ebb_residual(b, "sum", ebb_sequence_close(s));
  b->scope = outer;
  return l;
}

ebb_layer *models_mlp(ebb_builder *b, int in, int out, models_mlp_options o)
{
  ebb_sequence *s = ebb_sequence_open(b, "f", o.blocks + 3);
  ebb_sequence_add(s, ebb_linear(b, "stem", in, o.width));
  for (int i = 0; i < o.blocks; i++) ebb_sequence_add(s, block(b, i, o.width, o.dropout));
  add_relu_linear(s, b, "head", o.width, out);
  return ebb_sequence_close(s);
}
