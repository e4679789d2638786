/* spline_flow.c -- a normalizing flow for the rows of a table: couplings by rational-quadratic splines.
 * Owns: its options and the order of its layers. Each coupling stands behind an actnorm and an invertible linear map of all columns;
 * couplings transform the first columns and the last in turn, the smaller half of an odd number of columns first. What comes out has the
 * row's shape.
 * Source: Durkan et al. 2019, section 4.1, with the linear map as a full matrix in place of its LU factors, and an actnorm. */
#include <stddef.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "models/mlp.h"
#include "models/networks.h"
#include "reversible/reversible.h"

#define AT(field) offsetof(spline_flow_options, field)
const ebb_option spline_flow_option_table[] = {
    {"layers", EBB_OPTION_INT, AT(layers), "10", "couplings", "number of couplings", NULL, 1, 100000},
    {"bins", EBB_OPTION_INT, AT(bins), "16", "bins", "bins of each spline", NULL, 2, 32},
    {"bound", EBB_OPTION_REAL, AT(bound), "4", "deviations", "splines act on -bound .. bound, beyond that values stay as they are", NULL, 0.1, 1000},
    MODELS_MLP_OPTIONS(spline_flow_options),
    {0},
};

static void add_step(ebb_chain *c, ebb_builder *b, const spline_flow_options *o, int number, int columns)
{
  bool           second = number % 2;
  int            first = columns / 2, given = second ? first : columns - first;
  ebb_parts      halves = {.channels = columns, .first = first, .second = second};
  ebbk_bijection spline = ebb_spline(o->bins, o->bound);
  const char    *outer = ebb_scope_enter(b, "step%d", number);
  ebb_chain_add(c, ebb_actnorm(b, "norm", columns, true));
  ebb_chain_add(c, ebb_invertible_conv(b, "mix", columns));
  const char *inner = ebb_scope_enter(b, "net");
  ebb_layer  *net = models_mlp(b, given, spline.params * (columns - given), o->mlp);
  b->scope = inner;
  ebb_chain_add(c, ebb_flow_coupling(b, "coupling", halves, spline, net));
  b->scope = outer;
}

ebb_status spline_flow_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const spline_flow_options *o = options;
  (void)classes;
  EBB_TRY(models_columns(in));
  ebb_chain *c = ebb_chain_open(b, "chain", 3 * o->layers + 2);
  for (int i = 0; i < o->layers; i++) add_step(c, b, o, i, in.c);
  ebb_chain_add(c, ebb_actnorm(b, "norm", in.c, true));
  ebb_chain_add(c, ebb_invertible_conv(b, "mix", in.c));
  ebb_sequence *s = ebb_sequence_open(b, "net", 1);
  ebb_sequence_add(s, ebb_chain_close(c));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
