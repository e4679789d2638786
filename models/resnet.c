/* resnet.c -- the pre-activation residual network (He et al. 2016), RevNet's irreversible twin.
 * Owns: its stages. Units are residual; where the shape changes, a shortcut stands in: the authors' widen (or
 * projection in bottlenecks), MemCNN's projection with batch norm. */
#include <stdio.h>

#include "models/networks.h"
#include "models/residual.h"

static ebb_layer *unit(ebb_builder *b, int number, const residual_options *o, int in, int out, int stride, bool after_stem)
{
  char name[16];
  snprintf(name, sizeof name, "%d", number);
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *a = NULL;
  if (stride != 1 || in != out)
    a = o->bottleneck || o->variant == VARIANT_MEMCNN ? residual_projection(b, "a", o, in, out, stride)
                                                      : ebb_widen(b, "a", in, out, stride);
  ebb_layer *f = residual_path(b, "f", o, in, out, stride, !after_stem);
  b->scope = outer;
  return a ? ebb_sum(b, name, a, f) : ebb_residual(b, name, f);
}

static ebb_status check(const residual_options *o)
{
  EBB_TRY(residual_check(o));
  for (int i = 1; i < o->widths.count && o->variant == VARIANT_AUTHORS && !o->bottleneck; i++)
    if (o->widths.at[i] < o->widths.at[i - 1] || (o->widths.at[i] - o->widths.at[i - 1]) % 2)
      return ebb_fail(EBB_CONFIG,
                      "model.widths: the authors' shortcut adds zero channels on both sides, expected a growth by an even "
                      "number, found %d to %d\nhint: or model.variant=memcnn",
                      o->widths.at[i - 1], o->widths.at[i]);
  return EBB_OK;
}

ebb_status resnet_build(ebb_builder *b, const void *options, ebb_shape in, int classes, ebb_layer **root)
{
  const residual_options *o = options;
  EBB_TRY(check(o));
  int most = 2;
  for (int i = 0; i < o->units.count; i++) most += o->units.at[i];
  ebb_sequence *s = ebb_sequence_open(b, "net", most);
  ebb_sequence_add(s, residual_stem(b, o, in.c));
  for (int stage = 0; stage < o->units.count; stage++) {
    const char *outer = ebb_scope_enter(b, "stage%d", stage + 1);
    for (int i = 0; i < o->units.at[stage]; i++) {
      int width = i == 0 ? o->widths.at[stage] : o->widths.at[stage + 1];
      ebb_sequence_add(s, unit(b, i, o, width, o->widths.at[stage + 1], i == 0 ? residual_stride(stage) : 1,
                               stage == 0 && i == 0));
    }
    b->scope = outer;
  }
  ebb_sequence_add(s, residual_head(b, o, classes, false));
  *root = ebb_sequence_close(s);
  return EBB_OK;
}
