/* iunet.c -- the invertible U-Net (Etmann et al. 2020, "iUNets"; details as in its authors' code, iunets 0.1).
 * Owns: levels, channel numbers, padding to the strides' product.
 *
 * A level of C channels: couplings, orthogonal mixing; of the result the first `skip` channels stay, the rest is squeezed by the
 * stride, mixed (learned downsampling) and is the next level's; back, both are undone with parameters of their own; then a
 * coupling, mixing, and the other couplings. Stem and head are plain convolutions.
 *
 * The authors' coupling is y = [x2 | x1 + F(x2)], its halves change places. Here they stay, the sides alternate, and
 * mixing, or where there is none a rotation, puts them in order where somebody looks. */
#include <math.h>
#include <stddef.h>
#include <string.h>

#include "compose/catalogue.h"
#include "compose/chain.h"
#include "compose/sequence.h"
#include "models/networks.h"
#include "reversible/reversible.h"

enum { COUPLING_HALF, COUPLING_WHOLE };
enum { NORM_INSTANCE, NORM_GROUP, NORM_BATCH, NORM_NONE };
enum { RESAMPLE_CAYLEY, RESAMPLE_EXPONENTIAL, RESAMPLE_HOUSEHOLDER, RESAMPLE_HAAR, RESAMPLE_UNSHUFFLE, RESAMPLE_CHECKERBOARD };

#define AT(field) offsetof(iunet_options, field)
const ebb_option iunet_option_table[] = {
    {"channels", EBB_OPTION_LIST, AT(channels), "32,64,128,256", "channels", "wanted at each level; what divides best is taken", NULL, 2, 65536},
    {"blocks", EBB_OPTION_LIST, AT(blocks), "2,2,2,2", "couplings", "at each level, on the way down and again on the way up", NULL, 1, 10000},
    {"depth", EBB_OPTION_INT, AT(depth), "2", "convolutions", "of each coupling's F: convolution, norm, activation", NULL, 1, 100},
    {"stride", EBB_OPTION_LIST, AT(stride), "2", "", "of downsampling: one for all, one a step, or one a step and dimension (2,2,2,1,2,2)", NULL, 1, 16},
    {"coupling", EBB_OPTION_CHOICE, AT(coupling), "half", "", "half: x1 += F(x2), the sides alternate; whole: x2 += G(x1) as well", "half|whole", 0, 0},
    {"norm", EBB_OPTION_CHOICE, AT(norm), "instance", "", "behind each convolution of F", "instance|group|batch|none", 0, 0},
    {"groups", EBB_OPTION_INT, AT(groups), "8", "groups", "of norm=group", NULL, 1, 65536},
    {"activation", EBB_OPTION_TEXT, AT(activation), "leaky_relu", "", "relu, leaky_relu or softplus", NULL, 0, 0},
    {"resample", EBB_OPTION_CHOICE, AT(resample), "cayley", "",
     "learned orthogonal matrices by one of three parametrisations; or fixed: Haar wavelet, pixel unshuffle, checkerboard squeeze",
     "cayley|exponential|householder|haar|unshuffle|checkerboard", 0, 0},
    {"init", EBB_OPTION_CHOICE, AT(init), "haar", "", "what learned resampling begins with", "unshuffle|haar|random", 0, 0},
    {"shared", EBB_OPTION_BOOL, AT(shared), "false", "", "one resampling matrix for all channels of a step", NULL, 0, 0},
    {"mixing", EBB_OPTION_BOOL, AT(mixing), "true", "", "learned orthogonal mixing of channels at each level but the last", NULL, 0, 0},
    {"bias", EBB_OPTION_BOOL, AT(bias), "true", "", "of stem and head", NULL, 0, 0},
    {"classes", EBB_OPTION_INT, AT(classes), "0", "", "outputs; 0: as many as the data has", NULL, 0, 1000000},
    {0},
};

typedef struct plan {            /* of one network */
  const iunet_options *o;
  int                  rank, levels;
  int                  stride[EBB_LIST_MOST][3];   /* D H W of each step down           */
  int                  channels[EBB_LIST_MOST], skip[EBB_LIST_MOST];
} plan;

/* ---- sizes --------------------------------------------------------------------------------------------------------------- */
static int patch(const int stride[3])
{
  return stride[0] * stride[1] * stride[2];
}

static ebb_status read_strides(plan *p)
{
  const ebb_ints *s = &p->o->stride;
  int             steps = p->levels - 1;
  bool            each = s->count == steps * p->rank && s->count != steps;
  if (s->count != 1 && s->count != steps && !each)
    return ebb_fail(EBB_CONFIG, "model.stride: expected 1, %d or %d numbers for %d levels of %d-D data, found %d", steps,
                    steps * p->rank, p->levels, p->rank, s->count);
  for (int i = 0; i < steps; i++)
    for (int d = 0; d < 3; d++) {
      int at = s->count == 1 ? 0 : each ? i * p->rank + d - (3 - p->rank) : i;
      p->stride[i][d] = d < 3 - p->rank ? 1 : s->at[at];
    }
  return EBB_OK;
}

/* C_{i+1} = sigma down_i, where skip_i = C_i - down_i makes it the nearest to what is wanted: the authors' rule. */
static ebb_status choose_channels(plan *p)
{
  p->channels[0] = p->o->channels.at[0];
  for (int i = 0; i + 1 < p->levels; i++) {
    double sigma = patch(p->stride[i]), c = p->channels[i], factor = p->o->channels.at[i + 1] / c;
    int    skip = (int)nearbyint(c * (sigma - factor) / sigma);
    p->skip[i] = skip > 1 ? skip : 1;
    if (p->skip[i] >= p->channels[i] || patch(p->stride[i]) == 1)
      return ebb_fail(EBB_CONFIG, "model.channels: expected level %d to have at least one channel to downsample, found %d channels "
                      "wanted below %d with stride %d in all\nhint: more channels there, or a smaller stride", i,
                      p->o->channels.at[i + 1], p->channels[i], patch(p->stride[i]));
    p->channels[i + 1] = patch(p->stride[i]) * (p->channels[i] - p->skip[i]);
  }
  return EBB_OK;
}

static ebb_status check(plan *p)
{
  const iunet_options *o = p->o;
  if (o->blocks.count != o->channels.count)
    return ebb_fail(EBB_CONFIG, "model.blocks: expected one number for each of the %d levels of model.channels, found %d",
                    o->channels.count, o->blocks.count);
  EBB_TRY(read_strides(p));
  EBB_TRY(choose_channels(p));
  const ebb_layer_ops *act = ebb_catalogue_find(o->activation);
  if (!act || !act->in_place || act->child || act->before)
    return ebb_fail(EBB_CONFIG, "model.activation: expected relu, leaky_relu or softplus, found '%s'", o->activation);
  for (int i = 0; i < p->levels && o->norm == NORM_GROUP; i++)
    if (p->channels[i] / 2 % o->groups || (p->channels[i] + 1) / 2 % o->groups)
      return ebb_fail(EBB_CONFIG, "model.groups: expected a divisor of level %d's halves of %d and %d channels, found %d", i,
                      p->channels[i] / 2, (p->channels[i] + 1) / 2, o->groups);
  return EBB_OK;
}

/* ---- F ----------------------------------------------------------------------------------------------------------------------- */
static void add_norm(ebb_sequence *s, ebb_builder *b, const iunet_options *o, const char *name, int channels)
{
  ebb_norm_options n = {.channels = channels, .groups = o->groups, .eps = 1e-5, .momentum = 0.1};
  switch (o->norm) {
  case NORM_INSTANCE: ebb_sequence_add(s, ebb_instance_norm(b, name, n)); break;
  case NORM_GROUP: ebb_sequence_add(s, ebb_group_norm(b, name, n)); break;
  case NORM_BATCH: ebb_sequence_add(s, ebb_batch_norm(b, name, n)); break;
  default: break;
  }
}

static ebb_layer *path(ebb_builder *b, const char *name, const iunet_options *o, int in, int out)
{
  int           hidden = in > out ? in : out;
  ebb_sequence *s = ebb_sequence_open(b, name, 3 * o->depth);
  const char   *outer = ebb_scope_enter(b, "%s", name);
  for (int i = 0; i < o->depth; i++) {
    int       ci = i == 0 ? in : hidden, co = i + 1 == o->depth ? out : hidden;
    ebb_shape y = {.rank = b->rank, .n = 1, .d = 1, .h = 1, .w = 1, .c = co};
    ebb_conv_options c = {.in = ci, .out = co, .kernel = 3, .pad = 1, .uniform = true};
    ebb_sequence_add(s, ebb_conv(b, ebb_pool_text(b->pool, "conv%d", i), c));
    add_norm(s, b, o, ebb_pool_text(b->pool, "norm%d", i), co);
    ebb_sequence_add(s, ebb_catalogue_find(o->activation)->make(b, ebb_pool_text(b->pool, "act%d", i), y));
  }
  b->scope = outer;
  return ebb_sequence_close(s);
}

/* ---- a level ------------------------------------------------------------------------------------------------------------------ */
/* Layers on their way into a chain. The stream is [A | B] in memory; `swapped`: for the authors it is [B | A]. */
typedef struct flow {
  ebb_chain   *chain;
  ebb_builder *b;
  const plan  *p;
  int          channels, first;  /* first: channels of A */
  bool         swapped;
} flow;

/* A's and B's places as the authors' code has them. */
static void put_in_order(flow *f)
{
  if (f->swapped) ebb_chain_add(f->chain, ebb_rotate(f->b, "rotate", f->channels, f->channels - f->first));
  f->swapped = false;
}

/* Of half couplings that change places: the channels of coupling j's first part, to which F is added. */
static int first_part(const flow *f, int j)
{
  return j % 2 ? (f->channels + 1) / 2 : f->channels / 2;
}

static void add_half(flow *f, const char *name, int j)
{
  int out = first_part(f, j);
  if (!f->swapped) f->first = out;
  const char *outer = ebb_scope_enter(f->b, "%s", name);
  ebb_layer  *path_f = path(f->b, "f", f->p->o, f->channels - out, out);
  f->b->scope = outer;
  ebb_chain_add(f->chain, ebb_half_coupling(f->b, name, f->channels, f->first, f->swapped, path_f));
  f->swapped = !f->swapped;
}

static void add_whole(flow *f, const char *name)
{
  int         first = f->channels / 2, second = f->channels - first;
  const char *outer = ebb_scope_enter(f->b, "%s", name);
  ebb_layer  *path_f = path(f->b, "f", f->p->o, second, first), *path_g = path(f->b, "g", f->p->o, first, second);
  f->b->scope = outer;
  ebb_chain_add(f->chain, ebb_coupling(f->b, name, f->channels, first, path_f, path_g));
}

/* Mixing in front of coupling j, of which `left` remain. It reads the parts wherever they are, and writes them so that all is in
 * order behind the last coupling: no rotation is needed. */
static void add_mixing(flow *f, int j, int left)
{
  ebb_mixing_options m = {.channels = f->channels, .kind = EBB_CAYLEY, .init = EBB_MIX_IDENTITY};
  if (f->swapped) m.turn_in = f->channels - f->first;
  f->swapped = f->p->o->coupling == COUPLING_HALF && left % 2;
  if (f->swapped) m.turn_out = f->first = f->channels - first_part(f, j);
  ebb_chain_add(f->chain, ebb_mixing(f->b, "mixing", m));
}

/* Couplings j = 0 ..; mixing stands behind the last on the way down, behind the first on the way up. */
static void add_couplings(flow *f, const char *way, int level, bool up)
{
  int         count = f->p->o->blocks.at[level];
  bool        mixing = f->p->o->mixing && level + 1 < f->p->levels;
  const char *outer = ebb_scope_enter(f->b, "%s%d", way, level);
  for (int j = 0; j < count; j++) {
    const char *name = ebb_pool_text(f->b->pool, "%d", j);
    if (f->p->o->coupling == COUPLING_WHOLE) add_whole(f, name);
    else add_half(f, name, j);
    if (mixing && j == (up ? 0 : count - 1)) add_mixing(f, j + 1, count - j - 1);
  }
  put_in_order(f);
  f->b->scope = outer;
}

/* The resampling's matrices of a level of `channels` squeezed ones; NULL: it is the squeeze alone. */
static ebb_layer *resampling(ebb_builder *b, const char *name, const plan *p, int level, int channels, bool transposed)
{
  static const ebb_orthogonal kinds[] = {EBB_CAYLEY, EBB_EXPONENTIAL, EBB_HOUSEHOLDER, EBB_CAYLEY};
  static const ebb_mixing_init inits[] = {EBB_MIX_IDENTITY, EBB_MIX_HAAR, EBB_MIX_RANDOM};
  const iunet_options *o = p->o;
  const int           *s = p->stride[level];
  if (o->resample >= RESAMPLE_UNSHUFFLE) return NULL;
  bool fixed = o->resample == RESAMPLE_HAAR;
  return ebb_mixing(b, name, (ebb_mixing_options){.channels = channels, .group = patch(s), .kind = kinds[o->resample],
                                                  .init = fixed ? EBB_MIX_HAAR : inits[o->init], .stride = {s[0], s[1], s[2]},
                                                  .shared = o->shared, .transposed = transposed, .fixed = fixed});
}

static int room(const plan *p, int level)
{
  return 4 * p->o->blocks.at[level] + 12;
}

static void add_level(flow *f, int level);

/* What happens to the part that goes down: squeezed, mixed, the next level, and back. */
static ebb_layer *below(ebb_builder *b, const plan *p, int level)
{
  bool       checkerboard = p->o->resample == RESAMPLE_CHECKERBOARD;
  int        channels = p->channels[level + 1];
  flow       f = {.chain = ebb_chain_open(b, ebb_pool_text(b->pool, "level%d", level + 1), room(p, level + 1)), .b = b, .p = p,
                  .channels = channels};
  ebb_layer *down = resampling(b, ebb_pool_text(b->pool, "down%d.resample", level), p, level, channels, false);
  ebb_chain_add(f.chain, ebb_squeeze(b, ebb_pool_text(b->pool, "down%d.squeeze", level), p->stride[level], checkerboard));
  if (down) ebb_chain_add(f.chain, down);
  add_level(&f, level + 1);
  ebb_layer *up = resampling(b, ebb_pool_text(b->pool, "up%d.resample", level), p, level, channels, true);
  if (up) ebb_chain_add(f.chain, up);
  ebb_chain_add(f.chain, ebb_unsqueeze(b, ebb_pool_text(b->pool, "up%d.squeeze", level), p->stride[level], checkerboard));
  return ebb_chain_close(f.chain);
}

static void add_level(flow *f, int level)
{
  add_couplings(f, "encoder", level, false);
  if (level + 1 < f->p->levels)
    ebb_chain_add(f->chain, ebb_split(f->b, ebb_pool_text(f->b->pool, "split%d", level), f->channels, f->p->skip[level],
                                      below(f->b, f->p, level)));
  add_couplings(f, "decoder", level, true);
}

static ebb_layer *body(ebb_builder *b, const plan *p)
{
  flow f = {.chain = ebb_chain_open(b, "body", room(p, 0)), .b = b, .p = p, .channels = p->channels[0]};
  const char *outer = ebb_scope_enter(b, "body");
  add_level(&f, 0);
  b->scope = outer;
  return ebb_chain_close(f.chain);
}

/* ---- the network ---------------------------------------------------------------------------------------------------------------- */
/* To the next multiple of the strides' product, the smaller half in front. */
static bool padding(const plan *p, ebb_shape in, int before[3], int after[3])
{
  int  size[3] = {in.d, in.h, in.w};
  bool any = false;
  for (int i = 0; i < 3; i++) {
    int factor = 1;
    for (int level = 0; level + 1 < p->levels; level++) factor *= p->stride[level][i];
    int missing = (factor - size[i] % factor) % factor;
    before[i] = missing / 2;
    after[i] = missing - before[i];
    any |= missing > 0;
  }
  return any;
}

ebb_status iunet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  plan p = {.o = options, .rank = in.rank, .levels = ((const iunet_options *)options)->channels.count};
  int  before[3], after[3], outputs = p.o->classes ? p.o->classes : classes;
  EBB_TRY(check(&p));
  bool          padded = padding(&p, in, before, after);
  ebb_sequence *s = ebb_sequence_open(b, "net", 7);
  if (padded) ebb_sequence_add(s, ebb_pad(b, "pad", before, after));
  ebb_sequence_add(s, ebb_conv(b, "stem", (ebb_conv_options){.in = in.c, .out = p.channels[0], .kernel = 3, .pad = 1,
                                                             .bias = p.o->bias, .uniform = true}));
  ebb_sequence_add(s, ebb_quantise(b, "enter"));
  ebb_sequence_add(s, body(b, &p));
  ebb_sequence_add(s, ebb_dequantise(b, "leave"));
  ebb_sequence_add(s, ebb_conv(b, "head", (ebb_conv_options){.in = p.channels[0], .out = outputs, .kernel = 1, .bias = p.o->bias,
                                                             .uniform = true}));
  if (padded) ebb_sequence_add(s, ebb_crop(b, "crop", before, after));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
