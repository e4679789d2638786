/* squeeze.c -- sites become channels, and channels sites: a permutation, its own exact inverse the other way round.
 * Owns: the two directions. The order of channels is the kernel's (kernels.h). Source: Dinh et al. 2017 (RealNVP), section
 * 3.6; Jacobsen et al. 2018 (i-RevNet). */
#include "kernels/kernels.h"
#include "base/threads.h"
#include "reversible/reversible.h"

typedef struct squeeze {
  ebb_layer base;
  int       stride[3];
  bool      checkerboard;
} squeeze;

static int patch(const squeeze *l)
{
  return l->stride[0] * l->stride[1] * l->stride[2];
}

static ebb_shape squeezed(const ebb_layer *layer, ebb_shape x)
{
  const squeeze *l = (const squeeze *)layer;
  if (x.d % l->stride[0] || x.h % l->stride[1] || x.w % l->stride[2]) return ebb_shape_none();
  x.d /= l->stride[0], x.h /= l->stride[1], x.w /= l->stride[2];
  x.c *= patch(l);
  return x;
}

static ebb_shape unsqueezed(const ebb_layer *layer, ebb_shape x)
{
  const squeeze *l = (const squeeze *)layer;
  if (x.c % patch(l)) return ebb_shape_none();
  x.d *= l->stride[0], x.h *= l->stride[1], x.w *= l->stride[2];
  x.c /= patch(l);
  return x;
}

/* `wide`: the shape with more sites. */
static ebbk_squeeze geometry(const squeeze *l, ebb_shape wide)
{
  return (ebbk_squeeze){.n = wide.n, .in = {wide.d, wide.h, wide.w}, .c = wide.c, .checkerboard = l->checkerboard,
                        .stride = {l->stride[0], l->stride[1], l->stride[2]}};
}

/* ---- the permutation, of the stream or of its gradient ------------------------------------------------------------------ */
static void permute(const squeeze *l, const ebb_run *r, ebb_view v, ebb_shape wide, bool undo)
{
  ebbk_squeeze g = geometry(l, wide);
  void        *scratch = ebb_arena_high(r->arena, ebbk->squeeze_scratch(&g, ebb_threads()));
  EBB_ASSERT(v.stride == v.s.c, "%s works on dense tensors", l->base.name);
  if (!r->dry) ebbk->squeeze(v.p, &g, undo, scratch);
}

static size_t scratch_down(const ebb_layer *layer, ebb_shape x)
{
  ebbk_squeeze g = geometry((const squeeze *)layer, x);
  return ebbk->squeeze_scratch(&g, ebb_threads());
}

static size_t scratch_up(const ebb_layer *layer, ebb_shape x)
{
  return scratch_down(layer, unsqueezed(layer, x));
}

static void forward_down(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)y;
  ebbk_squeeze g = geometry((const squeeze *)layer, x.s);
  ebbk->squeeze(x.p, &g, false, scratch);
}

static void forward_up(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)r, (void)x;
  ebbk_squeeze g = geometry((const squeeze *)layer, y.s);
  ebbk->squeeze(y.p, &g, true, scratch);
}

static void backward_down(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)dy;
  ebbk_squeeze g = geometry((const squeeze *)layer, x.s);
  ebbk->squeeze(dx.p, &g, true, scratch);
}

static void backward_up(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)r, (void)x, (void)dx;
  ebbk_squeeze g = geometry((const squeeze *)layer, dy.s);
  ebbk->squeeze(dy.p, &g, false, scratch);
}

static void inverse_down(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  permute((const squeeze *)layer, r, y, unsqueezed(layer, y.s), true);
}

static void inverse_up(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  permute((const squeeze *)layer, r, y, y.s, false);
}

static void reverse_down(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  inverse_down(layer, r, y);
  ebb_arena_high_release(r->arena, mark);
  inverse_down(layer, r, dy);
}

static void reverse_up(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  inverse_up(layer, r, y);
  ebb_arena_high_release(r->arena, mark);
  inverse_up(layer, r, dy);
}

/* By 2 or 3 where they divide, else by 1; never by 1 everywhere. */
static void usual_stride(int stride[3], ebb_shape x)
{
  const int size[3] = {x.d, x.h, x.w};
  for (int i = 0; i < 3; i++) stride[i] = i < 3 - x.rank ? 1 : size[i] % 2 == 0 ? 2 : size[i] % 3 == 0 ? 3 : 1;
  if (stride[0] * stride[1] * stride[2] == 1) stride[2] = 2;
}

static ebb_layer *make_down(ebb_builder *b, const char *name, ebb_shape x)
{
  int stride[3];
  usual_stride(stride, x);
  return ebb_squeeze(b, name, stride, false);
}

static ebb_layer *make_up(ebb_builder *b, const char *name, ebb_shape x)
{
  (void)x;
  return ebb_unsqueeze(b, name, (int[3]){1, 1, 2}, false);
}

#define SQUEEZE_OPS(label, text, shape_, before_, direction)                                                              \
  {                                                                                                                       \
    .name = label, .formula = text, .source = "Dinh et al. 2017, section 3.6", .in_place = true, .ignores_x = true,       \
    .shape = shape_, .before = before_, .scratch = scratch_##direction, .forward = forward_##direction,                   \
    .backward = backward_##direction, .inverse = inverse_##direction, .reverse = reverse_##direction,                     \
    .make = make_##direction                                                                                              \
  }

const ebb_layer_ops ebb_squeeze_ops =
    SQUEEZE_OPS("squeeze", "y[q, c s + k] = x[q stride + k, c]", squeezed, unsqueezed, down);
const ebb_layer_ops ebb_unsqueeze_ops =
    SQUEEZE_OPS("unsqueeze", "y[q stride + k, c] = x[q, c s + k]", unsqueezed, squeezed, up);

static ebb_layer *squeeze_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, const int stride[3], bool checkerboard)
{
  squeeze *l = (squeeze *)ebb_layer_new(b, ops, name, sizeof *l);
  for (int i = 0; i < 3; i++) l->stride[i] = stride[i];
  l->checkerboard = checkerboard;
  return &l->base;
}

ebb_layer *ebb_squeeze(ebb_builder *b, const char *name, const int stride[3], bool checkerboard)
{
  return squeeze_new(b, &ebb_squeeze_ops, name, stride, checkerboard);
}

ebb_layer *ebb_unsqueeze(ebb_builder *b, const char *name, const int stride[3], bool checkerboard)
{
  return squeeze_new(b, &ebb_unsqueeze_ops, name, stride, checkerboard);
}
