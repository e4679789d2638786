/* sum.c -- two paths added: a residual block, y = x + F(x), and one whose shortcut changes the shape, y = A(x) + F(x).
 * Owns: the paths' order. F is forward last and so backward first: what it kept is given back before A's gradient
 * needs memory. Source: He et al. 2016 (residual networks). */
#include "kernels/kernels.h"
#include "layers/layers.h"

typedef struct sum {
  ebb_layer        base;
  const ebb_layer *f, *a; /* a: NULL is the identity */
} sum;

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const sum *l = (const sum *)layer;
  ebb_shape  f = ebb_layer_shape(l->f, x);
  ebb_shape  a = l->a ? ebb_layer_shape(l->a, x) : x;
  return ebb_shape_equal(a, f) && !x.stream ? f : ebb_shape_none();
}

static void add(const ebb_run *r, ebb_view y, ebb_view x)
{
  if (!r->dry) ebbk->add(ebb_reals(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const sum *l = (const sum *)layer;
  ebb_view   f = y;
  if (l->a) ebb_forward_layer(l->a, r, x, y);
  if (l->a && y.p) f = ebb_scratch_view(r, y.s);
  ebb_forward_layer(l->f, r, x, f);
  if (y.p) add(r, y, l->a ? f : x);
}

/* dx = dy + F'(x)^T dy */
static void backward_residual(const sum *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx)
{
  ebb_backward_layer(l->f, r, x, dy, dx);
  if (dx.p) add(r, dx, dy);
}

/* dx = A'(x)^T dy + F'(x)^T dy. Where dx lies over x, F's part waits in scratch until A has read x. */
static void backward_sum(const sum *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx)
{
  bool     wanted = dx.p != NULL, over = dx.p == x.p;
  ebb_view first = dx, second = dx;
  if (wanted && over) first = ebb_scratch_view(r, x.s);
  ebb_backward_layer(l->f, r, x, dy, first);
  if (wanted && !over) second = ebb_scratch_view(r, x.s);
  ebb_backward_layer(l->a, r, x, dy, second);
  if (wanted) add(r, dx, over ? first : second);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  const sum *l = (const sum *)layer;
  (l->a ? backward_sum : backward_residual)(l, r, x, dy, dx);
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  const sum *l = (const sum *)layer;
  return i == 0 ? l->f : i == 1 ? l->a : NULL;
}

static ebb_layer *small_conv(ebb_builder *b, const char *name, const char *part, ebb_shape x, int kernel)
{
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *l = ebb_conv(b, part, (ebb_conv_options){.in = x.c, .out = x.c, .kernel = kernel, .pad = kernel / 2});
  b->scope = outer;
  return l;
}

static ebb_layer *make_residual(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_residual(b, name, small_conv(b, name, "f", x, 3));
}

static ebb_layer *make_sum(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_sum(b, name, small_conv(b, name, "a", x, 1), small_conv(b, name, "f", x, 3));
}

const ebb_layer_ops ebb_residual_ops = {
    .name = "residual", .formula = "y = x + F(x)", .source = "He et al. 2016, Eq. 1",
    .shape = shape, .forward = forward, .backward = backward, .child = child, .make = make_residual,
};

const ebb_layer_ops ebb_sum_ops = {
    .name = "sum", .formula = "y = A(x) + F(x)", .source = "He et al. 2016, Eq. 2",
    .shape = shape, .forward = forward, .backward = backward, .child = child, .make = make_sum,
};

static ebb_layer *sum_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, const ebb_layer *a,
                          const ebb_layer *f)
{
  sum *l = (sum *)ebb_layer_new(b, ops, name, sizeof *l);
  l->a = a;
  l->f = f;
  return &l->base;
}

ebb_layer *ebb_residual(ebb_builder *b, const char *name, const ebb_layer *f)
{
  return sum_new(b, &ebb_residual_ops, name, NULL, f);
}

ebb_layer *ebb_sum(ebb_builder *b, const char *name, const ebb_layer *a, const ebb_layer *f)
{
  return sum_new(b, &ebb_sum_ops, name, a, f);
}
