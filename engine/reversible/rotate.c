/* rotate.c -- the last channels go to the front: y = [x2 | x1].
 * Owns: how many. i-UNets' couplings swap the halves of the stream; here an odd number of them ends in one rotation. */
#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct rotate {
  ebb_layer base;
  int       channels, count;
} rotate;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  return x.c == ((const rotate *)layer)->channels ? x : ebb_shape_none();
}

/* y[j] = x[(j + C - count) mod C], or the other way round. */
static void turn(const rotate *l, ebb_view v, bool undo)
{
  ebbk->rotate(v.p, v.stride, undo ? l->channels - l->count : l->count, ebb_sites(v.s), v.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)x, (void)scratch;
  turn((const rotate *)layer, y, false);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)x, (void)dx, (void)scratch;
  turn((const rotate *)layer, dy, true);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  if (!r->dry) turn((const rotate *)layer, y, true);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  inverse(layer, r, y);
  inverse(layer, r, dy);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_rotate(b, name, x.c, 1 + x.c / 4);
}

const ebb_layer_ops ebb_rotate_ops = {
    .name = "rotate",
    .formula = "y = [x2 | x1]",
    .source = "",
    .in_place = true,
    .ignores_x = true,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .make = make,
};

ebb_layer *ebb_rotate(ebb_builder *b, const char *name, int channels, int count)
{
  EBB_ASSERT(count > 0 && count < channels, "%d of %d channels", count, channels);
  rotate *l = (rotate *)ebb_layer_new(b, &ebb_rotate_ops, name, sizeof *l);
  l->channels = channels;
  l->count = count;
  return &l->base;
}
