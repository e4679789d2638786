/* revnet.c -- the reversible residual network (Gomez et al. 2017).
 * Owns: its stages. A stage is a chain of F/G couplings on one stream; where the shape changes, the stream is left:
 * the authors couple there too (transition), MemCNN has a plain residual unit of full width. */
#include <stdio.h>

#include "models/networks.h"
#include "models/residual.h"
#include "reversible/reversible.h"

/* Both halves of the first unit skip their first norm in MemCNN; with the authors only F does. */
static ebb_layer *coupling(ebb_builder *b, const char *name, const residual_options *o, int width, bool after_stem)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  int         half = width / 2;
  ebb_layer  *f = residual_path(b, "f", o, half, half, 1, !after_stem);
  ebb_layer  *g = residual_path(b, "g", o, half, half, 1, !after_stem || o->variant == VARIANT_AUTHORS);
  b->scope = outer;
  return ebb_coupling(b, name, width, half, f, g);
}

static ebb_layer *shortcut(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride)
{
  return o->bottleneck ? residual_projection(b, name, o, in, out, stride) : ebb_widen(b, name, in, out, stride);
}

static ebb_layer *transition(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride,
                             bool after_stem)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *one = shortcut(b, "a", o, in / 2, out / 2, stride), *two = shortcut(b, "b", o, in / 2, out / 2, stride);
  ebb_layer  *f = residual_path(b, "f", o, in / 2, out / 2, stride, !after_stem);
  ebb_layer  *g = residual_path(b, "g", o, out / 2, out / 2, 1, true);
  b->scope = outer;
  return ebb_transition(b, name, one, two, f, g);
}

static ebb_layer *full_width(ebb_builder *b, const char *name, const residual_options *o, int in, int out, int stride,
                             bool after_stem)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *a = residual_projection(b, "a", o, in, out, stride);
  ebb_layer  *f = residual_path(b, "f", o, in, out, stride, !after_stem);
  b->scope = outer;
  return ebb_sum(b, name, a, f);
}

static void add_stage(ebb_sequence *s, ebb_builder *b, const residual_options *o, int stage)
{
  int         in = o->widths.at[stage], out = o->widths.at[stage + 1], stride = residual_stride(stage);
  const char *outer = ebb_scope_enter(b, "stage%d", stage + 1);
  bool        changes = stride != 1 || in != out;
  if (changes) {
    ebb_layer *(*unit)(ebb_builder *, const char *, const residual_options *, int, int, int, bool) =
        o->variant == VARIANT_MEMCNN ? full_width : transition;
    if (stage > 0) ebb_sequence_add(s, ebb_dequantise(b, "leave"));
    ebb_sequence_add(s, unit(b, "0", o, in, out, stride, stage == 0));
  }
  if (changes || stage == 0) ebb_sequence_add(s, ebb_quantise(b, "enter"));
  for (int i = changes; i < o->units.at[stage]; i++) {
    char name[16];
    snprintf(name, sizeof name, "%d", i);
    ebb_sequence_add(s, coupling(b, name, o, out, stage == 0 && i == 0));
  }
  b->scope = outer;
}

static ebb_status check(const residual_options *o)
{
  EBB_TRY(residual_check(o));
  for (int i = 0; i < o->widths.count; i++)
    if (o->widths.at[i] % 2)
      return ebb_fail(EBB_CONFIG, "model.widths: the stream is split in halves, expected even widths, found %d",
                      o->widths.at[i]);
  for (int i = 1; i < o->widths.count && o->variant == VARIANT_AUTHORS && !o->bottleneck; i++)
    if (o->widths.at[i] < o->widths.at[i - 1] || (o->widths.at[i] - o->widths.at[i - 1]) % 4)
      return ebb_fail(EBB_CONFIG,
                      "model.widths: the authors' shortcut adds zero channels on both sides of both halves, expected a "
                      "growth by a multiple of 4, found %d to %d\nhint: or model.variant=memcnn",
                      o->widths.at[i - 1], o->widths.at[i]);
  return EBB_OK;
}

ebb_status revnet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const residual_options *o = options;
  EBB_TRY(check(o));
  int most = 4 + 3 * o->units.count;
  for (int i = 0; i < o->units.count; i++) most += o->units.at[i];
  ebb_sequence *s = ebb_sequence_open(b, "net", most);
  ebb_sequence_add(s, residual_stem(b, o, in.c));
  for (int stage = 0; stage < o->units.count; stage++) add_stage(s, b, o, stage);
  ebb_sequence_add(s, residual_head(b, o, classes, true));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
