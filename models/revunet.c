/* revunet.c -- the partially reversible U-Net (Brügger, Baumgartner, Konukoglu 2019; details as in its authors' code).
 * Owns: its levels, and padding to the pools' product.
 *
 * Each level is a chain of F/G couplings, F and G: group norm, leaky ReLU, 3^d convolution on half of the channels. Between levels
 * activations are stored: down by a max pool of 2 and a 1^d convolution, up by a 1^d convolution and linear interpolation,
 * the skip is a sum. */
#include <stddef.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "models/networks.h"
#include "reversible/reversible.h"

#define AT(field) offsetof(revunet_options, field)
const ebb_option revunet_option_table[] = {
    {"channels", EBB_OPTION_LIST, AT(channels), "60,120,240,360,480", "channels", "at each level, even", NULL, 2, 65536},
    {"blocks", EBB_OPTION_INT, AT(blocks), "1", "couplings", "at each level, on the way down and again on the way up", NULL, 1, 10000},
    {"groups", EBB_OPTION_INT, AT(groups), "30", "groups", "of group norm; divides half of the channels of each level", NULL, 1, 65536},
    {"classes", EBB_OPTION_INT, AT(classes), "0", "", "outputs; 0: as many as the data has", NULL, 0, 1000000},
    {0},
};

static ebb_layer *path(ebb_builder *b, const char *name, const revunet_options *o, int channels)
{
  ebb_sequence    *s = ebb_sequence_open(b, name, 3);
  ebb_norm_options n = {.channels = channels, .groups = o->groups, .eps = 1e-5};
  const char      *outer = ebb_scope_enter(b, "%s", name);
  ebb_sequence_add(s, ebb_group_norm(b, "norm", n));
  ebb_sequence_add(s, ebb_leaky_relu(b, "act", 0.01));
  ebb_sequence_add(s, ebb_conv(b, "conv", (ebb_conv_options){.in = channels, .out = channels, .kernel = 3, .pad = 1, .uniform = true}));
  b->scope = outer;
  return ebb_sequence_close(s);
}

/* A chain of couplings, from real values to real values. */
static void add_blocks(ebb_sequence *s, ebb_builder *b, const revunet_options *o, const char *name, int channels)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_sequence_add(s, ebb_quantise(b, "enter"));
  for (int i = 0; i < o->blocks; i++) {
    const char *inner = ebb_scope_enter(b, "%d", i);
    ebb_layer  *f = path(b, "f", o, channels / 2), *g = path(b, "g", o, channels / 2);
    b->scope = inner;
    ebb_sequence_add(s, ebb_coupling(b, ebb_pool_text(b->pool, "%d", i), channels, channels / 2, f, g));
  }
  ebb_sequence_add(s, ebb_dequantise(b, "leave"));
  b->scope = outer;
}

static ebb_layer *one_by_one(ebb_builder *b, const char *name, int in, int out, bool bias)
{
  return ebb_conv(b, name, (ebb_conv_options){.in = in, .out = out, .kernel = 1, .bias = bias, .uniform = true});
}

static int room(const revunet_options *o)
{
  return 2 * o->blocks + 12;
}

static void add_level(ebb_sequence *s, ebb_builder *b, const revunet_options *o, int level);

static ebb_layer *below(ebb_builder *b, const revunet_options *o, int level)
{
  int           here = o->channels.at[level], next = o->channels.at[level + 1];
  ebb_sequence *s = ebb_sequence_open(b, ebb_pool_text(b->pool, "below%d", level), room(o));
  ebb_sequence_add(s, ebb_max_pool(b, ebb_pool_text(b->pool, "pool%d", level), 2));
  ebb_sequence_add(s, one_by_one(b, ebb_pool_text(b->pool, "down%d", level), here, next, true));
  add_level(s, b, o, level + 1);
  ebb_sequence_add(s, one_by_one(b, ebb_pool_text(b->pool, "up%d", level), next, here, true));
  ebb_sequence_add(s, ebb_upsample(b, ebb_pool_text(b->pool, "upsample%d", level)));
  return ebb_sequence_close(s);
}

static void add_level(ebb_sequence *s, ebb_builder *b, const revunet_options *o, int level)
{
  int here = o->channels.at[level];
  add_blocks(s, b, o, ebb_pool_text(b->pool, "encoder%d", level), here);
  if (level + 1 < o->channels.count) {
    ebb_sequence_add(s, ebb_residual(b, ebb_pool_text(b->pool, "skip%d", level), below(b, o, level)));
    add_blocks(s, b, o, ebb_pool_text(b->pool, "decoder%d", level), here);
  }
}

static ebb_status check(const revunet_options *o)
{
  for (int i = 0; i < o->channels.count; i++)
    if (o->channels.at[i] % 2 || o->channels.at[i] / 2 % o->groups)
      return ebb_fail(EBB_CONFIG, "model.groups: expected a divisor of half of level %d's %d channels, found %d\nhint: for channels 32,64,128: "
                      "model.groups=8", i, o->channels.at[i], o->groups);
  return EBB_OK;
}

ebb_status revunet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const revunet_options *o = options;
  int before[3], after[3];
  EBB_TRY(check(o));
  bool          padded = models_padding(in, 1 << (o->channels.count - 1), before, after);
  ebb_sequence *s = ebb_sequence_open(b, "net", 2 * room(o));
  if (padded) ebb_sequence_add(s, ebb_pad(b, "pad", before, after));
  ebb_sequence_add(s, ebb_conv(b, "stem", (ebb_conv_options){.in = in.c, .out = o->channels.at[0], .kernel = 3, .pad = 1, .uniform = true}));
  add_level(s, b, o, 0);
  ebb_sequence_add(s, one_by_one(b, "head", o->channels.at[0], o->classes ? o->classes : classes, true));
  if (padded) ebb_sequence_add(s, ebb_crop(b, "crop", before, after));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
