/* stack.c -- couplings of one shape, as many as one likes: for sweeps over depth.
 * Owns: its options. conv3x3, then `depth` couplings whose F and G are norm-relu-conv3x3 on half the channels, then
 * norm-relu-mean-linear. */
#include <stddef.h>
#include <stdio.h>

#include "compose/sequence.h"
#include "models/networks.h"
#include "reversible/reversible.h"

#define AT(field) offsetof(stack_options, field)
const ebb_option stack_option_table[] = {
    {"depth", EBB_OPTION_INT, AT(depth), "10", "couplings", "number of couplings", NULL, 1, 1000000},
    {"width", EBB_OPTION_INT, AT(width), "64", "channels", "channels of the stream, even", NULL, 2, 65536},
    {"classes", EBB_OPTION_INT, AT(classes), "0", "", "outputs; 0: as many as the data has", NULL, 0, 1000000},
    {0},
};

static void add_norm_relu(ebb_sequence *s, ebb_builder *b, int channels)
{
  ebb_sequence_add(s, ebb_batch_norm(b, "norm", (ebb_norm_options){.channels = channels, .eps = 1e-5, .momentum = 0.1}));
  ebb_sequence_add(s, ebb_relu(b, "relu"));
}

static ebb_layer *path(ebb_builder *b, const char *name, int channels)
{
  ebb_sequence *s = ebb_sequence_open(b, name, 2);
  const char   *outer = ebb_scope_enter(b, "%s", name);
  add_norm_relu(s, b, channels);
  ebb_sequence_add(s, ebb_conv(b, "conv", (ebb_conv_options){.in = channels, .out = channels, .kernel = 3, .pad = 1}));
  b->scope = outer;
  return ebb_sequence_close(s);
}

static ebb_layer *coupling(ebb_builder *b, int number, int width)
{
  char name[24];
  snprintf(name, sizeof name, "block%d", number);
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = path(b, "f", width / 2), *g = path(b, "g", width / 2);
  b->scope = outer;
  return ebb_coupling(b, name, width, width / 2, f, g);
}

static ebb_layer *head(ebb_builder *b, int width, int classes)
{
  ebb_sequence *s = ebb_sequence_open(b, "head", 4);
  const char   *outer = ebb_scope_enter(b, "head");
  ebb_sequence_add(s, ebb_dequantise(b, "leave"));
  add_norm_relu(s, b, width);
  ebb_sequence_add(s, ebb_global_mean(b, "mean"));
  ebb_sequence_add(s, ebb_linear(b, "linear", width, classes));
  b->scope = outer;
  return ebb_sequence_close(s);
}

ebb_status stack_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const stack_options *o = options;
  if (o->width % 2)
    return ebb_fail(EBB_CONFIG, "model.width: the stream is split in halves, expected an even width, found %d", o->width);
  ebb_sequence *s = ebb_sequence_open(b, "net", o->depth + 3);
  ebb_sequence_add(s, ebb_conv(b, "stem", (ebb_conv_options){.in = in.c, .out = o->width, .kernel = 3, .pad = 1}));
  ebb_sequence_add(s, ebb_quantise(b, "enter"));
  for (int i = 0; i < o->depth; i++) ebb_sequence_add(s, coupling(b, i, o->width));
  ebb_sequence_add(s, head(b, o->width, o->classes ? o->classes : classes));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
