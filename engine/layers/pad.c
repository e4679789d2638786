/* pad.c -- zeros around the sites, and their removal.
 * Owns: how many on each side. Networks that halve sizes pad their input to a multiple and crop what they predict. */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct pad {
  ebb_layer base;
  int       before[3], after[3]; /* D H W */
} pad;

static ebb_shape resized(ebb_shape x, const pad *l, int sign)
{
  int *size[] = {&x.d, &x.h, &x.w};
  if (x.stream) return ebb_shape_none();
  for (int i = 0; i < 3; i++) {
    *size[i] += sign * (l->before[i] + l->after[i]);
    if (*size[i] <= 0) return ebb_shape_none();
  }
  return x;
}

static ebb_shape pad_shape(const ebb_layer *l, ebb_shape x)
{
  return resized(x, (const pad *)l, 1);
}

static ebb_shape crop_shape(const ebb_layer *l, ebb_shape x)
{
  return resized(x, (const pad *)l, -1);
}

static size_t row_of(ebb_shape s, int n, int d, int h)
{
  return (((size_t)n * (size_t)s.d + (size_t)d) * (size_t)s.h + (size_t)h) * (size_t)s.w;
}

/* Between `wide` and the part of it that lies `before` from its edges: one row of sites at a time. */
static void exchange(ebb_view wide, ebb_view narrow, const int before[3], bool to_wide)
{
  ebb_shape s = narrow.s;
  for (int n = 0; n < s.n; n++)
    for (int d = 0; d < s.d; d++)
      for (int h = 0; h < s.h; h++) {
        size_t    out = row_of(wide.s, n, d + before[0], h + before[1]) + (size_t)before[2];
        ebb_real *w = ebb_reals(wide) + out * (size_t)wide.stride;
        ebb_real *v = ebb_reals(narrow) + row_of(s, n, d, h) * (size_t)narrow.stride;
        if (to_wide) ebbk->copy(w, wide.stride, v, narrow.stride, (size_t)s.w, s.c);
        else ebbk->copy(v, narrow.stride, w, wide.stride, (size_t)s.w, s.c);
      }
}

static void widen(ebb_view wide, ebb_view narrow, const int before[3])
{
  ebbk->fill(ebb_reals(wide), wide.stride, 0, ebb_sites(wide.s), wide.s.c);
  exchange(wide, narrow, before, true);
}

static void pad_forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)scratch;
  widen(y, x, ((const pad *)l)->before);
}

static void crop_forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)scratch;
  exchange(x, y, ((const pad *)l)->before, false);
}

/* The zeros' gradient is nobody's. */
static void pad_backward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)x, (void)scratch;
  if (dx.p) exchange(dy, dx, ((const pad *)l)->before, false);
}

static void crop_backward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)x, (void)scratch;
  if (dx.p) widen(dx, dy, ((const pad *)l)->before);
}

static void one_each(int sides[3], ebb_shape x)
{
  for (int i = 0; i < 3; i++) sides[i] = i >= 3 - x.rank;
}

static ebb_layer *make_pad(ebb_builder *b, const char *name, ebb_shape x)
{
  int sides[3];
  one_each(sides, x);
  return ebb_pad(b, name, sides, (int[3]){0, 0, 2});
}

static ebb_layer *make_crop(ebb_builder *b, const char *name, ebb_shape x)
{
  int sides[3];
  one_each(sides, x);
  return ebb_crop(b, name, sides, (int[3]){0, 0, 1});
}

const ebb_layer_ops ebb_pad_ops = {
    .name = "pad", .formula = "y = x with zeros around", .source = "", .ignores_x = true,
    .shape = pad_shape, .forward = pad_forward, .backward = pad_backward, .make = make_pad,
};

const ebb_layer_ops ebb_crop_ops = {
    .name = "crop", .formula = "y = the inner part of x", .source = "", .ignores_x = true,
    .shape = crop_shape, .forward = crop_forward, .backward = crop_backward, .make = make_crop,
};

static ebb_layer *pad_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, const int before[3], const int after[3])
{
  pad *l = (pad *)ebb_layer_new(b, ops, name, sizeof *l);
  for (int i = 0; i < 3; i++) {
    l->before[i] = before[i];
    l->after[i] = after[i];
  }
  return &l->base;
}

ebb_layer *ebb_pad(ebb_builder *b, const char *name, const int before[3], const int after[3])
{
  return pad_new(b, &ebb_pad_ops, name, before, after);
}

ebb_layer *ebb_crop(ebb_builder *b, const char *name, const int before[3], const int after[3])
{
  return pad_new(b, &ebb_crop_ops, name, before, after);
}
