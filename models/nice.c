/* nice.c -- NICE for images: additive couplings of the pixels, even and odd ones in turn, and a scale of each at the end.
 * Owns: its options, the order of the pixels, couplings' networks. The pixels become channels of a single site. The couplings work on
 * the fixed-point stream, so that they are undone exactly, and what reversal trains is what kept activations train; the scale stands
 * behind the stream. What comes out has the image's shape.
 * The prior is the normal distribution, as of all flows here; the paper's for most of its figures is the logistic one.
 * Source: Dinh et al. 2014, sections 3 and 5.1: four couplings, each with five hidden layers of 1000 rectified units (MNIST). */
#include <stddef.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "models/networks.h"
#include "reversible/reversible.h"

#define AT(field) offsetof(nice_options, field)
const ebb_option nice_option_table[] = {
    {"couplings", EBB_OPTION_INT, AT(couplings), "4", "couplings", "number of couplings", NULL, 1, 1000},
    {"hidden", EBB_OPTION_INT, AT(hidden), "5", "layers", "hidden layers in each coupling's network", NULL, 1, 1000},
    {"width", EBB_OPTION_INT, AT(width), "1000", "units", "units in each hidden layer", NULL, 1, 65536},
    {"grey_levels", EBB_OPTION_INT, AT(grey_levels), "256", "", "values are whole numbers 0 to this - 1", NULL, 2, 4096}, /* the stream tells 2^20 */
    {0},
};

static ebb_layer *network(ebb_builder *b, const nice_options *o, int in, int out)
{
  const char   *outer = ebb_scope_enter(b, "net");
  ebb_sequence *s = ebb_sequence_open(b, "f", 2 * o->hidden + 1);
  for (int i = 0; i < o->hidden; i++) {
    ebb_sequence_add(s, ebb_linear(b, ebb_pool_text(b->pool, "linear%d", i), i ? o->width : in, o->width));
    ebb_sequence_add(s, ebb_relu(b, "relu"));
  }
  ebb_sequence_add(s, ebb_linear(b, "head", o->width, out));
  b->scope = outer;
  return ebb_sequence_close(s);
}

static ebb_layer *coupling(ebb_builder *b, const nice_options *o, int number, int values)
{
  bool        second = number % 2 == 0; /* the odd pixels move first */
  int         first = (values + 1) / 2, in = second ? first : values - first;
  const char *outer = ebb_scope_enter(b, "step%d", number);
  ebb_layer  *l = ebb_half_coupling(b, "coupling", values, first, second, network(b, o, in, values - in));
  b->scope = outer;
  return l;
}

/* The even ones, then the odd ones; and back. */
static ebb_layer *order(ebb_builder *b, const char *name, int values, bool back)
{
  double *from = ebb_pool_take(b->pool, (size_t)values * sizeof *from);
  int     evens = (values + 1) / 2;
  for (int j = 0; j < values; j++) {
    int pixel = j < evens ? 2 * j : 2 * (j - evens) + 1;
    from[back ? pixel : j] = back ? j : pixel;
  }
  return ebb_permute(b, name, values, from);
}

ebb_status nice_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const nice_options *o = options;
  const int           all[3] = {in.d, in.h, in.w};
  int                 values = in.d * in.h * in.w * in.c;
  (void)classes;
  EBB_TRY(models_images(in));
  ebb_sequence *s = ebb_sequence_open(b, "net", o->couplings + 8);
  ebb_sequence_add(s, ebb_dither(b, "dither", o->grey_levels, false));
  ebb_sequence_add(s, ebb_squeeze(b, "flatten", all, false));
  ebb_sequence_add(s, order(b, "part", values, false));
  ebb_sequence_add(s, ebb_quantise(b, "in"));
  for (int i = 0; i < o->couplings; i++) ebb_sequence_add(s, coupling(b, o, i, values));
  ebb_sequence_add(s, ebb_dequantise(b, "out"));
  ebb_sequence_add(s, ebb_scale(b, "scale", values));
  ebb_sequence_add(s, order(b, "join", values, true));
  ebb_sequence_add(s, ebb_unsqueeze(b, "unflatten", all, false));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
