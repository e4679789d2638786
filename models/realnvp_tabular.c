/* realnvp_tabular.c -- RealNVP for the rows of a table: affine couplings of halves of the columns, in turn.
 * Owns: its options and the order of its layers. Scales are limited by tanh; before each coupling an actnorm stands where the paper's
 * has a batch norm behind it: it does not depend on other rows. What comes out has the row's shape.
 * Source: Dinh et al. 2017; on tables as in Papamakarios et al. 2017, section 4. */
#include <stddef.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "layers/layers.h"
#include "models/mlp.h"
#include "models/networks.h"
#include "reversible/reversible.h"

#define AT(field) offsetof(realnvp_tabular_options, field)
const ebb_option realnvp_tabular_option_table[] = {
    {"layers", EBB_OPTION_INT, AT(layers), "10", "couplings", "number of couplings", NULL, 1, 100000},
    MODELS_MLP_OPTIONS(realnvp_tabular_options),
    {0},
};

static ebb_layer *network(ebb_builder *b, const realnvp_tabular_options *o, int in, int out)
{
  const char   *outer = ebb_scope_enter(b, "net");
  ebb_sequence *s = ebb_sequence_open(b, "limited", 2);
  ebb_sequence_add(s, models_mlp(b, in, 2 * out, o->mlp));
  ebb_sequence_add(s, ebb_limit(b, "limit", 2 * out, EBB_LIMIT_TANH));
  b->scope = outer;
  return ebb_sequence_close(s);
}

static void add_step(ebb_chain *c, ebb_builder *b, const realnvp_tabular_options *o, int number, int columns)
{
  bool        second = number % 2;
  int         first = columns / 2, given = second ? first : columns - first;
  ebb_parts   halves = {.channels = columns, .first = first, .second = second};
  const char *outer = ebb_scope_enter(b, "step%d", number);
  ebb_chain_add(c, ebb_actnorm(b, "norm", columns, true));
  ebb_chain_add(c, ebb_flow_coupling(b, "coupling", halves, ebb_affine(), network(b, o, given, columns - given)));
  b->scope = outer;
}

ebb_status realnvp_tabular_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const realnvp_tabular_options *o = options;
  (void)classes;
  EBB_TRY(models_columns(in));
  ebb_chain *c = ebb_chain_open(b, "chain", 2 * o->layers + 1);
  for (int i = 0; i < o->layers; i++) add_step(c, b, o, i, in.c);
  ebb_chain_add(c, ebb_actnorm(b, "norm", in.c, true));
  ebb_sequence *s = ebb_sequence_open(b, "net", 1);
  ebb_sequence_add(s, ebb_chain_close(c));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
