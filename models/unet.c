/* unet.c -- the standard U-Net (Ronneberger et al. 2015), the i-UNet's irreversible twin, as iunets' baseline has it: max pool 2,
 * transposed convolution 2, concatenation; each level two convolutions with norm and activation.
 * Owns: its levels, and padding to the pools' product. */
#include <stddef.h>

#include "compose/sequence.h"
#include "layers/layers.h"
#include "models/networks.h"

#define AT(field) offsetof(unet_options, field)
const ebb_option unet_option_table[] = {
    {"channels", EBB_OPTION_LIST, AT(channels), "32,64,128,256", "channels", "at each level", NULL, 1, 65536},
    {"depth", EBB_OPTION_INT, AT(depth), "2", "convolutions", "at each level, on the way down and again on the way up", NULL, 1, 100},
    {"norm", EBB_OPTION_CHOICE, AT(norm), "instance", "", "behind each convolution", "instance|batch", 0, 0},
    {"classes", EBB_OPTION_INT, AT(classes), "0", "", "outputs; 0: as many as the data has", NULL, 0, 1000000},
    {0},
};

/* `depth` times convolution, norm, leaky ReLU. */
static void add_block(ebb_sequence *s, ebb_builder *b, const unet_options *o, const char *name, int in, int out)
{
  ebb_norm_options n = {.channels = out, .eps = 1e-5, .momentum = 0.1};
  const char      *outer = ebb_scope_enter(b, "%s", name);
  for (int i = 0; i < o->depth; i++) {
    ebb_conv_options c = {.in = i ? out : in, .out = out, .kernel = 3, .pad = 1, .uniform = true};
    ebb_sequence_add(s, ebb_conv(b, ebb_pool_text(b->pool, "conv%d", i), c));
    const char *norm = ebb_pool_text(b->pool, "norm%d", i);
    ebb_sequence_add(s, o->norm ? ebb_batch_norm(b, norm, n) : ebb_instance_norm(b, norm, n));
    ebb_sequence_add(s, ebb_leaky_relu(b, ebb_pool_text(b->pool, "act%d", i), 0.01));
  }
  b->scope = outer;
}

static void add_level(ebb_sequence *s, ebb_builder *b, const unet_options *o, int level, int in);

/* Pool, the next level, and up again to this level's channels. */
static ebb_layer *below(ebb_builder *b, const unet_options *o, int level)
{
  int           here = o->channels.at[level], next = o->channels.at[level + 1];
  ebb_sequence *s = ebb_sequence_open(b, ebb_pool_text(b->pool, "below%d", level), 6 * o->depth + 5);
  const int     two[] = {b->rank == 3 ? 2 : 1, b->rank >= 2 ? 2 : 1, 2};
  ebb_sequence_add(s, ebb_max_pool(b, ebb_pool_text(b->pool, "down%d", level), 2));
  add_level(s, b, o, level + 1, here);
  ebb_sequence_add(s, ebb_conv_transpose(b, ebb_pool_text(b->pool, "up%d", level), next, here, two));
  return ebb_sequence_close(s);
}

static void add_level(ebb_sequence *s, ebb_builder *b, const unet_options *o, int level, int in)
{
  int here = o->channels.at[level];
  add_block(s, b, o, ebb_pool_text(b->pool, "encoder%d", level), in, here);
  if (level + 1 == o->channels.count) return;
  ebb_sequence_add(s, ebb_concat(b, ebb_pool_text(b->pool, "skip%d", level), below(b, o, level)));
  add_block(s, b, o, ebb_pool_text(b->pool, "decoder%d", level), 2 * here, here);
}

ebb_status unet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const unet_options *o = options;
  int                 before[3], after[3];
  bool                padded = models_padding(in, 1 << (o->channels.count - 1), before, after);
  ebb_sequence *s = ebb_sequence_open(b, "net", 6 * o->depth + 5);
  if (padded) ebb_sequence_add(s, ebb_pad(b, "pad", before, after));
  add_level(s, b, o, 0, in.c);
  ebb_sequence_add(s, ebb_conv(b, "head", (ebb_conv_options){.in = o->channels.at[0], .out = o->classes ? o->classes : classes,
                                                             .kernel = 1, .bias = true, .uniform = true}));
  if (padded) ebb_sequence_add(s, ebb_crop(b, "crop", before, after));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
