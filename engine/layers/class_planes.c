/* class_planes.c -- what is to depend on a sample's class sees it: a plane of each class behind the channels, 1 in that of the sample's
 * label, else 0; of a sample without a label all are 0.
 * Owns: the number of classes. Labels are the run's. Source: Kingma and Dhariwal 2018, authors' code (class conditions). */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct class_planes {
  ebb_layer base;
  int       classes;
} class_planes;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const class_planes *l = (const class_planes *)layer;
  return x.stream ? ebb_shape_none() : ebb_shape_channels(x, x.c + l->classes);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const class_planes *l = (const class_planes *)layer;
  size_t              sites = ebb_sites(x.s) / (size_t)x.s.n;
  ebb_real           *planes = ebb_reals(y) + x.s.c;
  ebbk->copy(ebb_reals(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c);
  ebbk->fill(planes, y.stride, 0, ebb_sites(x.s), l->classes);
  for (int i = 0; r->labels && i < x.s.n; i++)
    if (r->labels[i] >= 0 && r->labels[i] < l->classes)
      ebbk->fill(planes + (size_t)i * sites * (size_t)y.stride + r->labels[i], y.stride, 1, sites, 1);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)layer, (void)r, (void)scratch;
  if (dx.p) ebbk->copy(ebb_reals(dx), dx.stride, ebb_reals(dy), dy.stride, ebb_sites(x.s), x.s.c);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_class_planes(b, name, 3);
}

const ebb_layer_ops ebb_class_planes_ops = {
    .name = "class_planes", .formula = "y = [x | 1 in the plane of the sample's class, else 0]",
    .source = "Kingma and Dhariwal 2018, authors' code", .ignores_x = true, .conditional = true,
    .shape = shape, .forward = forward, .backward = backward, .make = make,
};

ebb_layer *ebb_class_planes(ebb_builder *b, const char *name, int classes)
{
  EBB_ASSERT(classes > 0, "%d classes", classes);
  class_planes *l = (class_planes *)ebb_layer_new(b, &ebb_class_planes_ops, name, sizeof *l);
  l->classes = classes;
  return &l->base;
}
