/* coupling.c -- additive coupling on the fixed-point stream, whole and half.
 * Owns: the order of the half steps. F and G are any layers; the coupling calls them only through layer.h.
 *
 *   forward   z1 = x1 + F(x2)        inverse   x2 = z2 - G(z1)
 *             z2 = x2 + G(z1)                  x1 = z1 - F(x2)
 *
 * F's output is rounded to the stream's grid and added as integers: the inverse is exact, bit for bit, whatever F is
 * (DESIGN: the stream is exact). Source: Gomez et al. 2017, "The Reversible Residual Network", Eq. 6-7, Algorithm 1;
 * here reverse evaluates F and G once each, serving both reconstruction and gradient: 4/3 of plain backprop, and less where
 * the run has room for what is inside them (plan.h). */
#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct coupling {
  ebb_layer        base;
  int              channels, first;
  ebb_layer       *f, *g;
} coupling;

typedef struct halves { ebb_view one, two; } halves;

static halves split(const coupling *l, ebb_view v)
{
  return (halves){ebb_view_channels(v, 0, l->first), ebb_view_channels(v, l->first, l->channels - l->first)};
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const coupling *l = (const coupling *)layer;
  if (!x.stream || x.c != l->channels) return ebb_shape_none();
  ebb_shape one = ebb_shape_real(ebb_shape_channels(x, l->first)), two = ebb_shape_real(ebb_shape_channels(x, l->channels - l->first));
  bool      fits = ebb_shape_equal(ebb_layer_shape(l->f, two), one) && ebb_shape_equal(ebb_layer_shape(l->g, one), two);
  return fits ? x : ebb_shape_none();
}

/* ---- the arithmetic of the stream ------------------------------------------------------------------------- */
static void to_real(const ebb_run *r, ebb_view y, ebb_view x)
{
  if (!r->dry) ebbk->real_from_fixed(ebb_reals(y), y.stride, ebb_fixeds(x), x.stride, ebb_sites(x.s), x.s.c);
}

static void add_real(const ebb_run *r, ebb_view y, ebb_view x)
{
  if (!r->dry) ebbk->add(ebb_reals(y), y.stride, ebb_reals(x), x.stride, ebb_sites(x.s), x.s.c);
}

/* ---- half steps: `to` += or -= F(`from`) ------------------------------------------------------------------ */
/* Will F's input still be on the stream when its gradient is asked for? Where F reads the stream itself, it is not copied. */
typedef enum input_life { PASSES, STANDS } input_life;

static ebb_view input_of(const ebb_layer *f, ebb_run *r, ebb_view from, input_life life)
{
  bool keep = r->keep == EBB_KEEP_ALL;
  if (ebb_from_stream(f) && !(keep && life == PASSES)) return from;
  ebb_view input = keep ? ebb_kept_view(r, ebb_shape_real(from.s)) : ebb_scratch_view(r, ebb_shape_real(from.s));
  to_real(r, input, from);
  return input;
}

/* With KEEP_INSIDE and KEEP_ALL, F's input and what F keeps stay in the arena, for half_undo and half_backward. */
static void half_step(const ebb_layer *f, ebb_run *r, ebb_view to, ebb_view from, ebb_sign sign)
{
  ebb_keep outer = r->keep;
  bool     keep = outer == EBB_KEEP_INSIDE || outer == EBB_KEEP_ALL;
  ebb_mark high = ebb_arena_high_mark(r->arena), low = ebb_arena_low_mark(r->arena);
  if (keep) r->keep = EBB_KEEP_ALL;
  ebb_view input = input_of(f, r, from, outer == EBB_KEEP_INSIDE ? STANDS : PASSES);
  ebb_update_layer(f, r, input, to, sign);
  ebb_arena_high_release(r->arena, high);
  if (keep) ebb_kept_push(r, input, low);
  r->keep = outer;
}

/* dfrom += F'^T dto for F's input x, and, unless it is NULL, `to` -= F(x). */
static void gradient_of(const ebb_layer *f, ebb_run *r, ebb_view x, const ebb_view *to, ebb_view dfrom, ebb_view dto)
{
  bool     adds = ebb_from_stream(f);
  ebb_view dx = adds ? dfrom : x;
  dx.add = adds;
  if (to) ebb_undo_layer(f, r, x, *to, dto, dx);
  else ebb_backward_layer(f, r, x, dto, dx);
  if (!adds) add_real(r, dfrom, dx);
}

/* With F's input and insides as half_step kept them. */
static void half_backward(const ebb_layer *f, ebb_run *r, ebb_view dfrom, ebb_view dto)
{
  ebb_kept kept = ebb_kept_pop(r);
  gradient_of(f, r, kept.view, NULL, dfrom, dto);
  ebb_arena_low_release(r->arena, kept.mark);
}

/* F's input and insides once more, as half_step keeps them; F's result is not wanted. */
static ebb_kept half_replay(const ebb_layer *f, ebb_run *r, ebb_view to, ebb_view from)
{
  ebb_kept kept = {.mark = ebb_arena_low_mark(r->arena)};
  kept.view = input_of(f, r, from, STANDS);
  ebb_forward_layer(f, r, kept.view, (ebb_view){.s = ebb_shape_real(to.s)});
  return kept;
}

/* A step back and its gradient at once. What F reads on the stream may lie elsewhere than when it was kept. */
static void half_undo(const ebb_layer *f, ebb_run *r, ebb_view to, ebb_view from, ebb_view dfrom, ebb_view dto)
{
  ebb_run outer = *r;
  r->keep = EBB_KEEP_ALL;
  r->pass = EBB_REPLAY;
  ebb_kept kept = outer.keep == EBB_KEEP_INSIDE ? ebb_kept_pop(r) : half_replay(f, r, to, from);
  gradient_of(f, r, ebb_from_stream(f) ? from : kept.view, &to, dfrom, dto);
  ebb_arena_low_release(r->arena, kept.mark);
  r->keep = outer.keep;
  r->pass = outer.pass;
}

/* ---- the layer ---------------------------------------------------------------------------------------------- */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch, (void)x;
  const coupling *l = (const coupling *)layer;
  halves          z = split(l, y);
  half_step(l->f, r, z.one, z.two, EBB_PLUS);
  half_step(l->g, r, z.two, z.one, EBB_PLUS);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const coupling *l = (const coupling *)layer;
  halves          z = split(l, y);
  ebb_run         outer = *r;
  r->keep = EBB_KEEP_NONE;
  if (r->pass == EBB_TRAIN) r->pass = EBB_REPLAY;
  half_step(l->g, r, z.two, z.one, EBB_MINUS);
  half_step(l->f, r, z.one, z.two, EBB_MINUS);
  r->keep = outer.keep;
  r->pass = outer.pass;
}

/* dz1 = dy1 + G'^T dy2;  dx2 = dy2 + F'^T dz1;  dx1 = dz1: in place on dy. */
static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch, (void)x;
  const coupling *l = (const coupling *)layer;
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  halves dz = split(l, dy);
  half_backward(l->g, r, dz.one, dz.two);
  half_backward(l->f, r, dz.two, dz.one);
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  const coupling *l = (const coupling *)layer;
  halves          z = split(l, y), dz = split(l, dy);
  half_undo(l->g, r, z.two, z.one, dz.one, dz.two);
  half_undo(l->f, r, z.one, z.two, dz.two, dz.one);
}

/* F reads the second half, which G writes. */
static ebb_layer *measures(ebb_layer *layer)
{
  ebb_layer *f = ((coupling *)layer)->f;
  return f->ops->measures ? f->ops->measures(f) : NULL;
}

static void precedes(ebb_layer *layer, const ebb_layer *norm)
{
  ebb_layer *g = ((coupling *)layer)->g;
  if (g->ops->precedes) g->ops->precedes(g, norm);
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  const coupling *l = (const coupling *)layer;
  return i == 0 ? l->f : i == 1 ? l->g : NULL;
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  int         first = x.c / 2, second = x.c - first;
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = ebb_conv(b, "f", (ebb_conv_options){.in = second, .out = first, .kernel = 3, .pad = 1});
  ebb_layer  *g = ebb_conv(b, "g", (ebb_conv_options){.in = first, .out = second, .kernel = 3, .pad = 1});
  b->scope = outer;
  return ebb_coupling(b, name, x.c, first, f, g);
}

const ebb_layer_ops ebb_coupling_ops = {
    .name = "coupling",
    .formula = "z1 = x1 + F(x2); z2 = x2 + G(z1)",
    .source = "Gomez et al. 2017, Eq. 6-7",
    .in_place = true,
    .ignores_x = true,
    .shape = shape,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .reverse = reverse,
    .measures = measures,
    .precedes = precedes,
    .child = child,
    .make = make,
};

ebb_layer *ebb_coupling(ebb_builder *b, const char *name, int channels, int first, ebb_layer *f, ebb_layer *g)
{
  EBB_ASSERT(first > 0 && first < channels, "%d of %d channels", first, channels);
  coupling *l = (coupling *)ebb_layer_new(b, &ebb_coupling_ops, name, sizeof *l);
  l->channels = channels;
  l->first = first;
  l->f = f;
  l->g = g;
  ebb_layers_join(f, g);
  return &l->base;
}

/* ---- half a coupling: z1 = x1 + F(x2), or z2 = x2 + F(x1) --------------------------------------------------------------- */
typedef struct half_coupling {
  coupling whole;        /* f is F either way, g unused */
  bool     second;
} half_coupling;

/* What F reads and what it is added to, as halves one and two of the whole coupling's law. */
static halves sides(const half_coupling *l, ebb_view v)
{
  halves h = split(&l->whole, v);
  return l->second ? (halves){h.two, h.one} : h;
}

static ebb_shape half_shape(const ebb_layer *layer, ebb_shape x)
{
  const half_coupling *l = (const half_coupling *)layer;
  if (!x.stream || x.c != l->whole.channels) return ebb_shape_none();
  halves h = sides(l, (ebb_view){.s = x, .stride = x.c});
  bool   fits = ebb_shape_equal(ebb_layer_shape(l->whole.f, ebb_shape_real(h.two.s)), ebb_shape_real(h.one.s));
  return fits ? x : ebb_shape_none();
}

static void half_forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch, (void)x;
  const half_coupling *l = (const half_coupling *)layer;
  halves               z = sides(l, y);
  half_step(l->whole.f, r, z.one, z.two, EBB_PLUS);
}

static void half_inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const half_coupling *l = (const half_coupling *)layer;
  halves               z = sides(l, y);
  ebb_run              outer = *r;
  r->keep = EBB_KEEP_NONE;
  if (r->pass == EBB_TRAIN) r->pass = EBB_REPLAY;
  half_step(l->whole.f, r, z.one, z.two, EBB_MINUS);
  r->keep = outer.keep;
  r->pass = outer.pass;
}

static void half_layer_backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch, (void)x;
  const half_coupling *l = (const half_coupling *)layer;
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  halves dz = sides(l, dy);
  half_backward(l->whole.f, r, dz.two, dz.one);
}

static void half_reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  const half_coupling *l = (const half_coupling *)layer;
  halves               z = sides(l, y), dz = sides(l, dy);
  half_undo(l->whole.f, r, z.one, z.two, dz.two, dz.one);
}

static const ebb_layer *half_child(const ebb_layer *layer, int i)
{
  return i == 0 ? ((const half_coupling *)layer)->whole.f : NULL;
}

static ebb_layer *half_make(ebb_builder *b, const char *name, ebb_shape x)
{
  int         first = x.c / 2, second = x.c - first;
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = ebb_conv(b, "f", (ebb_conv_options){.in = first, .out = second, .kernel = 3, .pad = 1});
  b->scope = outer;
  return ebb_half_coupling(b, name, x.c, first, true, f);
}

const ebb_layer_ops ebb_half_coupling_ops = {
    .name = "half_coupling",
    .formula = "z1 = x1 + F(x2), or z2 = x2 + F(x1)",
    .source = "Dinh et al. 2014 (NICE), section 3.2",
    .in_place = true,
    .ignores_x = true,
    .shape = half_shape,
    .forward = half_forward,
    .backward = half_layer_backward,
    .inverse = half_inverse,
    .reverse = half_reverse,
    .child = half_child,
    .make = half_make,
};

ebb_layer *ebb_half_coupling(ebb_builder *b, const char *name, int channels, int first, bool second, ebb_layer *f)
{
  EBB_ASSERT(first > 0 && first < channels, "%d of %d channels", first, channels);
  half_coupling *l = (half_coupling *)ebb_layer_new(b, &ebb_half_coupling_ops, name, sizeof *l);
  l->whole.channels = channels;
  l->whole.first = first;
  l->whole.f = f;
  l->second = second;
  return &l->whole.base;
}
