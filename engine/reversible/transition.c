/* transition.c -- the F/G coupling where the shape changes: it has no inverse, but everything else of a coupling.
 * Owns: the order of the four paths.
 *   y1 = A(x1) + F(x2);  y2 = B(x2) + G(y1)
 * Source: Gomez et al. 2017, section 3.2 and the authors' code: the first unit of a stage. */
#include "kernels/kernels.h"
#include "layers/operands.h"
#include "reversible/reversible.h"

typedef struct transition {
  ebb_layer        base;
  const ebb_layer *a, *b, *f, *g; /* shortcuts of x1 and x2, and the residual paths */
} transition;

typedef struct halves { ebb_view one, two; } halves;

static halves split(ebb_view v)
{
  return (halves){ebb_view_channels(v, 0, v.s.c / 2), ebb_view_channels(v, v.s.c / 2, v.s.c / 2)};
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const transition *l = (const transition *)layer;
  ebb_shape         half = ebb_shape_channels(x, x.c / 2), y = ebb_layer_shape(l->f, half);
  bool              fits = x.c % 2 == 0 && ebb_shape_equal(ebb_layer_shape(l->a, half), y) &&
              ebb_shape_equal(ebb_layer_shape(l->b, half), y) && ebb_shape_equal(ebb_layer_shape(l->g, y), y);
  return fits && !x.stream ? ebb_shape_channels(y, 2 * y.c) : ebb_shape_none();
}

static void add(const ebb_run *r, ebb_view y, ebb_view x)
{
  if (!r->dry) ebbk->add(ebb_reals(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c);
}

/* y = shortcut(x) + path(p); only what the two keep if y is not wanted. */
static void step(ebb_run *r, const ebb_layer *shortcut, ebb_view x, const ebb_layer *path, ebb_view p, ebb_view y)
{
  ebb_mark high = ebb_arena_high_mark(r->arena);
  ebb_view t = y.p ? ebb_scratch_view(r, y.s) : y;
  ebb_forward_layer(shortcut, r, x, y);
  ebb_forward_layer(path, r, p, t);
  if (y.p) add(r, y, t);
  ebb_arena_high_release(r->arena, high);
}

/* y1 is G's input and stays for the way back: a copy, since whoever comes next may work in place on y. */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const transition *l = (const transition *)layer;
  halves            in = split(x), out = split(y);
  bool              keep = r->keep == EBB_KEEP_ALL;
  ebb_mark          low = ebb_arena_low_mark(r->arena);
  ebb_view          y1 = keep ? ebb_kept_view(r, out.one.s) : ebb_scratch_view(r, out.one.s);
  step(r, l->a, in.one, l->f, in.two, y1);
  if (out.one.p) ebb_copy(r, out.one, y1);
  step(r, l->b, in.two, l->g, y1, out.two);
  if (keep) ebb_kept_push(r, y1, low);
}

/* In the opposite order: dz1 = dy1 + G'^T dy2; dx2 = B'^T dy2 + F'^T dz1; dx1 = A'^T dz1. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  const transition *l = (const transition *)layer;
  halves            in = split(x), dout = split(dy), din = split(dx);
  ebb_kept          kept = ebb_kept_pop(r);
  ebb_view          dz1 = kept.view, t = din.two;
  ebb_backward_layer(l->g, r, kept.view, dout.two, dz1);
  add(r, dz1, dout.one);
  ebb_backward_layer(l->b, r, in.two, dout.two, din.two);
  if (dx.p) t = ebb_scratch_view(r, in.two.s);
  ebb_backward_layer(l->f, r, in.two, dz1, t);
  if (dx.p) add(r, din.two, t);
  ebb_backward_layer(l->a, r, in.one, dz1, din.one);
  ebb_arena_low_release(r->arena, kept.mark);
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  const transition *l = (const transition *)layer;
  const ebb_layer  *children[] = {l->f, l->g, l->a, l->b, NULL};
  return children[i];
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  int         half = x.c / 2;
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = ebb_conv(b, "f", (ebb_conv_options){.in = half, .out = half + 2, .kernel = 3, .pad = 1});
  ebb_layer  *g = ebb_conv(b, "g", (ebb_conv_options){.in = half + 2, .out = half + 2, .kernel = 3, .pad = 1});
  ebb_layer  *one = ebb_widen(b, "a", half, half + 2, 1), *two = ebb_widen(b, "b", half, half + 2, 1);
  b->scope = outer;
  return ebb_transition(b, name, one, two, f, g);
}

const ebb_layer_ops ebb_transition_ops = {
    .name = "transition",
    .formula = "y1 = A(x1) + F(x2); y2 = B(x2) + G(y1)",
    .source = "Gomez et al. 2017, section 3.2",
    .dx_place = EBB_DX_FRESH,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .child = child,
    .make = make,
};

ebb_layer *ebb_transition(ebb_builder *b, const char *name, const ebb_layer *a1, const ebb_layer *a2,
                          const ebb_layer *f, const ebb_layer *g)
{
  transition *l = (transition *)ebb_layer_new(b, &ebb_transition_ops, name, sizeof *l);
  l->a = a1;
  l->b = a2;
  l->f = f;
  l->g = g;
  return &l->base;
}
