/* realnvp.c -- RealNVP for images: affine couplings at several scales.
 * Owns: its options and couplings' networks. At each scale three couplings by the colours of a chessboard, a squeeze, three by
 * halves of the channels; then the squeeze is undone and done again with the diagonals of patches together, half of the channels
 * stay as they are, and the other half is the next scale. The last scale has four couplings by colours. What comes out has the
 * image's shape.
 * Before each coupling an actnorm stands where the paper's has a batch norm behind it: it does not depend on other samples. The batch
 * norm is there for the asking. Couplings' networks are plainer than the authors': no weight normalisation, no norm and no -x or mask beside the
 * input, and no 1x1 convolution from each block to the head.
 * Source: Dinh et al. 2017, sections 3.4 to 3.6 and 4.1. */
#include <stddef.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "models/networks.h"
#include "reversible/reversible.h"

enum { ACTNORM, BATCH };

#define AT(field) offsetof(realnvp_options, field)
const ebb_option realnvp_option_table[] = {
    {"levels", EBB_OPTION_INT, AT(levels), "2", "scales", "number of scales", NULL, 1, 8},
    {"width", EBB_OPTION_INT, AT(width), "32", "channels", "width of couplings' networks at the first scale, twice that at each next", NULL, 1, 4096},
    {"blocks", EBB_OPTION_INT, AT(blocks), "2", "blocks", "residual blocks in each coupling's network", NULL, 0, 1000},
    {"norm", EBB_OPTION_CHOICE, AT(norm), "actnorm", "", "before each coupling an actnorm, or behind it a batch norm", "actnorm|batch", 0, 0},
    {"grey_levels", EBB_OPTION_INT, AT(grey_levels), "256", "", "values are whole numbers 0 to this - 1", NULL, 2, 65536},
    {0},
};

static void add_norm_relu(ebb_sequence *s, ebb_builder *b, const char *norm, int channels)
{
  ebb_sequence_add(s, ebb_batch_norm(b, norm, (ebb_norm_options){.channels = channels, .eps = 1e-5, .momentum = 0.1}));
  ebb_sequence_add(s, ebb_relu(b, "relu"));
}

static void add_conv(ebb_sequence *s, ebb_builder *b, const char *name, int in, int out)
{
  ebb_sequence_add(s, ebb_conv(b, name, (ebb_conv_options){.in = in, .out = out, .kernel = 3, .pad = 1}));
}

static ebb_layer *residual(ebb_builder *b, int number, int width)
{
  const char   *outer = ebb_scope_enter(b, "block%d", number);
  ebb_sequence *s = ebb_sequence_open(b, "f", 6);
  add_norm_relu(s, b, "norm1", width);
  add_conv(s, b, "conv1", width, width);
  add_norm_relu(s, b, "norm2", width);
  add_conv(s, b, "conv2", width, width);
  ebb_layer *l = ebb_residual(b, "sum", ebb_sequence_close(s));
  b->scope = outer;
  return l;
}

/* s and t for `out` channels; both begin at 0. */
static ebb_layer *network(ebb_builder *b, const realnvp_options *o, int in, int out, int width)
{
  const char   *outer = ebb_scope_enter(b, "net");
  ebb_sequence *s = ebb_sequence_open(b, "f", o->blocks + 5);
  add_conv(s, b, "stem", in, width);
  for (int i = 0; i < o->blocks; i++) ebb_sequence_add(s, residual(b, i, width));
  add_norm_relu(s, b, "norm", width);
  ebb_sequence_add(s, ebb_conv(b, "head", (ebb_conv_options){.in = width, .out = 2 * out, .kernel = 1, .bias = true, .zero = true}));
  ebb_sequence_add(s, ebb_limit(b, "limit", 2 * out, EBB_LIMIT_TANH));
  b->scope = outer;
  return ebb_sequence_close(s);
}

static void add_coupling(ebb_chain *c, ebb_builder *b, const realnvp_options *o, int number, ebb_parts parts, int width)
{
  bool        board = parts.colour != EBBK_ALL;
  int         out = board ? parts.channels : parts.channels / 2;
  const char *outer = ebb_scope_enter(b, "step%d", number);
  if (o->norm == ACTNORM) ebb_chain_add(c, ebb_actnorm(b, "norm", parts.channels, true));
  ebb_chain_add(c, ebb_flow_coupling(b, "coupling", parts, ebb_affine(), network(b, o, out, out, width)));
  if (o->norm == BATCH) ebb_chain_add(c, ebb_flow_norm(b, "norm", parts.channels));
  b->scope = outer;
}

static void add_boards(ebb_chain *c, ebb_builder *b, const realnvp_options *o, int first, int count, int channels, int width)
{
  for (int i = 0; i < count; i++)
    add_coupling(c, b, o, first + i, (ebb_parts){.channels = channels, .colour = i % 2 ? EBBK_WHITE : EBBK_BLACK}, width);
}

static ebb_layer *scale(ebb_builder *b, const realnvp_options *o, int level, int channels)
{
  const int   two[3] = {b->rank > 2 ? 2 : 1, b->rank > 1 ? 2 : 1, 2}, patch = two[0] * two[1] * two[2];
  int         width = o->width << level, wide = channels * patch;
  const char *outer = ebb_scope_enter(b, "level%d", level);
  ebb_chain  *c = ebb_chain_open(b, "chain", 20);
  bool        last = level + 1 == o->levels;
  add_boards(c, b, o, 0, last ? 4 : 3, channels, width);
  if (!last) {
    ebb_chain_add(c, ebb_squeeze(b, "squeeze", two, false));
    for (int i = 0; i < 3; i++) {
      ebb_parts halves = {.channels = wide, .first = wide / 2, .second = i % 2 == 0};
      add_coupling(c, b, o, 3 + i, halves, 2 * width);
    }
    ebb_chain_add(c, ebb_unsqueeze(b, "unsqueeze", two, false));
    ebb_chain_add(c, ebb_squeeze(b, "order", two, patch == 4));
    ebb_chain_add(c, ebb_split(b, "split", wide, wide / 2, scale(b, o, level + 1, wide / 2)));
    ebb_chain_add(c, ebb_unsqueeze(b, "restore", two, patch == 4));
  }
  b->scope = outer;
  return ebb_chain_close(c);
}

ebb_status realnvp_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const realnvp_options *o = options;
  (void)classes;
  EBB_TRY(models_images(in));
  EBB_TRY(models_halves(in, o->levels - 1, 0));
  ebb_sequence *s = ebb_sequence_open(b, "net", 2);
  ebb_sequence_add(s, ebb_dither(b, "dither", o->grey_levels, true));
  ebb_sequence_add(s, scale(b, o, 0, in.c));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
