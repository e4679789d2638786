/* residual.c -- see residual.h. Sources: He et al. 2016 (pre-activation), Gomez et al. 2017 and the authors' code
 * (revnet-public), van de Leemput et al. 2019 (MemCNN). */
#include "models/residual.h"

#include <stddef.h>

#define AT(field) offsetof(residual_options, field)
const ebb_option residual_option_table[] = {
    {"variant", EBB_OPTION_CHOICE, AT(variant), "authors", "", "details as in the RevNet authors' code or in MemCNN",
     "authors|memcnn", 0, 0},
    {"units", EBB_OPTION_LIST, AT(units), "3,3,3", "", "residual units in each stage", NULL, 1, 10000},
    {"widths", EBB_OPTION_LIST, AT(widths), "32,32,64,112", "channels", "stem's width, then each stage's", NULL, 1, 65536},
    {"bottleneck", EBB_OPTION_BOOL, AT(bottleneck), "false", "", "units of 1x1, 3x3, 1x1 convolutions", NULL, 0, 0},
    {"dropout", EBB_OPTION_REAL, AT(dropout), "0", "", "dropout rate before each unit's last convolution", NULL, 0, 0.95},
    {"classes", EBB_OPTION_INT, AT(classes), "0", "", "outputs; 0: as many as the data has", NULL, 0, 1000000},
    {0},
};

ebb_status residual_check(const residual_options *o)
{
  if (o->widths.count != o->units.count + 1)
    return ebb_fail(EBB_CONFIG, "model.widths: expected the stem's width and one for each of the %d stages of model.units, "
                    "found %d\nhint: e.g. model.units=3,3,3 model.widths=32,32,64,112", o->units.count, o->widths.count);
  for (int i = 0; o->bottleneck && i < o->units.count; i++)
    if (o->widths.at[i + 1] % 8)
      return ebb_fail(EBB_CONFIG, "model.widths: a bottleneck's width is a multiple of 8, found %d", o->widths.at[i + 1]);
  return EBB_OK;
}

int residual_stride(int stage)
{
  return stage == 0 ? 1 : 2;
}

static ebb_norm_options norm_options(const residual_options *o, int channels)
{
  bool memcnn = o->variant == VARIANT_MEMCNN;
  return (ebb_norm_options){.channels = channels, .eps = memcnn ? 1e-5 : 1e-3, .momentum = memcnn ? 0.1 : 0.01};
}

static void add_norm_relu(ebb_sequence *s, ebb_builder *b, const char *name, const residual_options *o, int channels)
{
  ebb_sequence_add(s, ebb_batch_norm(b, name, norm_options(o, channels)));
  ebb_sequence_add(s, ebb_relu(b, "relu"));
}

static void add_conv(ebb_sequence *s, ebb_builder *b, const char *name, const residual_options *o, int in, int out,
                     int kernel, int stride)
{
  ebb_conv_options c = {.in = in, .out = out, .kernel = kernel, .stride = stride, .pad = kernel / 2,
                        .truncated = o->variant == VARIANT_AUTHORS};
  ebb_sequence_add(s, ebb_conv(b, name, c));
}

static void add_dropout(ebb_sequence *s, ebb_builder *b, const residual_options *o)
{
  if (o->dropout > 0) ebb_sequence_add(s, ebb_dropout(b, "dropout", o->dropout));
}

ebb_layer *residual_path(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride,
                         bool first_norm)
{
  ebb_sequence *s = ebb_sequence_open(b, name, 8);
  const char   *outer = ebb_scope_enter(b, "%s", name);
  int           inner = o->bottleneck ? out / 4 : out;
  bool          late = o->bottleneck && o->variant == VARIANT_MEMCNN;
  if (first_norm) add_norm_relu(s, b, "norm1", o, in);
  add_conv(s, b, "conv1", o, in, inner, o->bottleneck ? 1 : 3, late ? 1 : stride);
  add_norm_relu(s, b, "norm2", o, inner);
  if (o->bottleneck) {
    add_conv(s, b, "conv2", o, inner, inner, 3, late ? stride : 1);
    add_norm_relu(s, b, "norm3", o, inner);
  }
  add_dropout(s, b, o);
  add_conv(s, b, o->bottleneck ? "conv3" : "conv2", o, inner, out, o->bottleneck ? 1 : 3, 1);
  b->scope = outer;
  return ebb_sequence_close(s);
}

ebb_layer *residual_projection(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride)
{
  ebb_sequence *s = ebb_sequence_open(b, name, 2);
  const char   *outer = ebb_scope_enter(b, "%s", name);
  add_conv(s, b, "conv", o, in, out, 1, stride);
  if (o->variant == VARIANT_MEMCNN) ebb_sequence_add(s, ebb_batch_norm(b, "norm", norm_options(o, out)));
  b->scope = outer;
  return ebb_sequence_close(s);
}

ebb_layer *residual_stem(ebb_builder *b, const residual_options *o, int in)
{
  ebb_sequence *s = ebb_sequence_open(b, "stem", 3);
  const char   *outer = ebb_scope_enter(b, "stem");
  add_conv(s, b, "conv", o, in, o->widths.at[0], 3, 1);
  add_norm_relu(s, b, "norm", o, o->widths.at[0]);
  b->scope = outer;
  return ebb_sequence_close(s);
}

ebb_layer *residual_head(ebb_builder *b, const residual_options *o, int classes, bool from_stream)
{
  int           width = o->widths.at[o->widths.count - 1];
  ebb_sequence *s = ebb_sequence_open(b, "head", 5);
  const char   *outer = ebb_scope_enter(b, "head");
  if (from_stream) ebb_sequence_add(s, ebb_dequantise(b, "leave"));
  add_norm_relu(s, b, "norm", o, width);
  ebb_sequence_add(s, ebb_global_mean(b, "mean"));
  ebb_sequence_add(s, ebb_linear(b, "linear", width, o->classes ? o->classes : classes));
  b->scope = outer;
  return ebb_sequence_close(s);
}
