/* glow.c -- Glow for images: levels of steps, each an actnorm, an invertible 1x1 convolution or another permutation of the channels,
 * and a coupling.
 * Owns: its options and couplings' networks. Each level begins with a squeeze, which is undone in the end, so that what comes out
 * has the image's shape; between two levels half of the channels become
 * N(m, e^2s) with m and s made of the other half, by a coupling of their own, and stay as they are; m and s of what is left at the
 * end are made of nothing but the place, and of the class if that is wanted.
 * Scales of affine couplings are bounded by default, so that reversal loses few digits; the paper's sigmoid(s + 2) is there for the asking.
 * Source: Kingma and Dhariwal 2018, section 3; from their code the zero convolutions' scales, and that convolutions see where
 * the image ends (layers/border.c). */
#include <stddef.h>

#include "compose/chain.h"
#include "compose/sequence.h"
#include "models/networks.h"
#include "reversible/reversible.h"

enum { AFFINE, ADDITIVE };
enum { CLAMP, SIGMOID };
enum { CONV, PLU, ORTHOGONAL, RANDOM, REVERSE };
enum { NONE, PRIOR, ALL };

#define AT(field) offsetof(glow_options, field)
const ebb_option glow_option_table[] = {
    {"levels", EBB_OPTION_INT, AT(levels), "2", "levels", "number of levels", NULL, 1, 8},
    {"steps", EBB_OPTION_INT, AT(steps), "8", "steps", "steps in each level", NULL, 1, 100000},
    {"width", EBB_OPTION_INT, AT(width), "128", "channels", "width of couplings' networks", NULL, 1, 4096},
    {"coupling", EBB_OPTION_CHOICE, AT(coupling), "affine", "", "what is done to half of the channels", "affine|additive", 0, 0},
    {"scale", EBB_OPTION_CHOICE, AT(scale), "clamp", "", "bounds of an affine coupling's scale: e^-2 to e^2, or the paper's 0 to 1, whose inverse can lose all digits", "clamp|sigmoid", 0, 0},
    {"permutation", EBB_OPTION_CHOICE, AT(permutation), "conv", "", "how channels are mixed before a coupling", "conv|plu|orthogonal|random|reverse", 0, 0},
    {"condition", EBB_OPTION_CHOICE, AT(condition), "none", "", "what sees a sample's label, so that the density is that of its class: nothing, the priors' networks, or those of couplings, too", "none|prior|all", 0, 0},
    {"grey_levels", EBB_OPTION_INT, AT(grey_levels), "256", "", "values are whole numbers 0 to this - 1", NULL, 2, 65536},
    {0},
};

enum { EDGE = 3 }; /* kernels that see where the image ends */

static void add_conv(ebb_sequence *s, ebb_builder *b, int number, int in, int out, int kernel)
{
  const char *name = ebb_pool_text(b->pool, "conv%d", number), *norm = ebb_pool_text(b->pool, "norm%d", number);
  ebb_sequence_add(s, ebb_conv(b, name, (ebb_conv_options){.in = in, .out = out, .kernel = kernel, .pad = kernel / 2, .spread = 0.05}));
  if (kernel == EDGE) ebb_sequence_add(s, ebb_border(b, ebb_pool_text(b->pool, "edge%d", number), out, EDGE, 0.05));
  ebb_sequence_add(s, ebb_actnorm(b, norm, out, true));
  ebb_sequence_add(s, ebb_relu(b, "relu"));
}

/* A convolution that begins at 0, with a scale and shift of each channel that learn fast. */
static void add_zero_conv(ebb_sequence *s, ebb_builder *b, int in, int out)
{
  ebb_sequence_add(s, ebb_conv(b, "zero", (ebb_conv_options){.in = in, .out = out, .kernel = EDGE, .pad = 1, .zero = true}));
  ebb_sequence_add(s, ebb_border(b, "edge", out, EDGE, 0));
  ebb_sequence_add(s, ebb_actnorm(b, "scale", out, false));
}

/* Options, and the classes there are. */
typedef struct glow { glow_options o; int classes; } glow;

/* Channels of what a network reads of `in` channels, behind it if it is told the class. */
static int tell_class(ebb_sequence *s, ebb_builder *b, const glow *g, int least, int in)
{
  if (g->o.condition < least) return in;
  ebb_sequence_add(s, ebb_class_planes(b, "class", g->classes));
  return in + g->classes;
}

static ebb_layer *network(ebb_builder *b, const glow *g, int in, int out)
{
  const glow_options *o = &g->o;
  bool          affine = o->coupling == AFFINE;
  int           params = affine ? 2 * out : out;
  const char   *outer = ebb_scope_enter(b, "net");
  ebb_sequence *s = ebb_sequence_open(b, "f", 12);
  in = tell_class(s, b, g, ALL, in);
  add_conv(s, b, 1, in, o->width, EDGE);
  add_conv(s, b, 2, o->width, o->width, 1);
  add_zero_conv(s, b, o->width, params);
  if (affine) ebb_sequence_add(s, ebb_limit(b, "limit", params, o->scale == SIGMOID ? EBB_LIMIT_SIGMOID : EBB_LIMIT_CLAMP));
  b->scope = outer;
  return ebb_sequence_close(s);
}

static ebb_layer *permutation(ebb_builder *b, int kind, int channels)
{
  switch (kind) {
  case PLU: return ebb_plu_conv(b, "mix", channels);
  case ORTHOGONAL: return ebb_orthogonal_conv(b, "mix", channels);
  case RANDOM: return ebb_permute(b, "mix", channels, NULL);
  case REVERSE: return ebb_flip(b, "mix", channels);
  default: return ebb_invertible_conv(b, "mix", channels);
  }
}

static void add_step(ebb_chain *c, ebb_builder *b, const glow *g, int number, int channels)
{
  const glow_options *o = &g->o;
  ebb_parts      halves = {.channels = channels, .first = channels / 2, .second = true};
  ebbk_bijection map = o->coupling == AFFINE ? ebb_affine() : ebb_shift();
  const char    *outer = ebb_scope_enter(b, "step%d", number);
  ebb_chain_add(c, ebb_actnorm(b, "norm", channels, true));
  ebb_chain_add(c, permutation(b, o->permutation, channels));
  ebb_chain_add(c, ebb_flow_coupling(b, "coupling", halves, map, network(b, g, channels / 2, channels - channels / 2)));
  b->scope = outer;
}

/* What is transformed becomes what the rest does not tell of it. */
static void add_prior(ebb_chain *c, ebb_builder *b, const glow *g, ebb_parts parts, int in, int out)
{
  const char   *outer = ebb_scope_enter(b, "prior");
  ebb_sequence *s = ebb_sequence_open(b, "net", 4);
  in = tell_class(s, b, g, PRIOR, in);
  add_zero_conv(s, b, in, 2 * out);
  ebb_chain_add(c, ebb_flow_coupling(b, "coupling", parts, ebb_affine(), ebb_sequence_close(s)));
  b->scope = outer;
}

static ebb_layer *level(ebb_builder *b, const glow *g, int number, int channels)
{
  const glow_options *o = &g->o;
  const int   two[3] = {b->rank > 2 ? 2 : 1, b->rank > 1 ? 2 : 1, 2};
  int         wide = channels * two[0] * two[1] * two[2];
  const char *outer = ebb_scope_enter(b, "level%d", number);
  ebb_chain  *c = ebb_chain_open(b, "chain", 3 * o->steps + 5);
  ebb_chain_add(c, ebb_squeeze(b, "squeeze", two, false));
  for (int i = 0; i < o->steps; i++) add_step(c, b, g, i, wide);
  if (number + 1 < o->levels) {
    add_prior(c, b, g, (ebb_parts){.channels = wide, .first = wide / 2}, wide / 2, wide / 2);
    ebb_chain_add(c, ebb_split(b, "split", wide, wide / 2, level(b, g, number + 1, wide / 2)));
  } else add_prior(c, b, g, (ebb_parts){.channels = wide, .second = true}, wide, wide);
  ebb_chain_add(c, ebb_unsqueeze(b, "unsqueeze", two, false));
  b->scope = outer;
  return ebb_chain_close(c);
}

ebb_status glow_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  glow g = {*(const glow_options *)options, classes};
  EBB_TRY(models_images(in));
  EBB_TRY(models_halves(in, g.o.levels, 1));
  ebb_sequence *s = ebb_sequence_open(b, "net", 2);
  ebb_sequence_add(s, ebb_dither(b, "dither", g.o.grey_levels, false));
  ebb_sequence_add(s, level(b, &g, 0, in.c));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
