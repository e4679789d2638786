/* flow_coupling.c -- coupling layers of normalizing flows, on real values: one part of the input, transformed value by value
 * with parameters that a network makes of the other part.
 * Owns: which part is which, the order of the steps. F is any layer; which bijections there are is in bijections.c.
 *
 *   forward   y1 = x1                   inverse   x1 = y1                  log|det| = sum of log f'
 *             y2 = f(x2; F(x1))                   x2 = f^-1(y2; F(y1))
 *
 * Parts are two ranges of channels, or the two colours of a chessboard; or everything is transformed, with parameters that depend on
 * the place only: F reads zeros. F is evaluated once forward and once on the way back,
 * for reconstruction and gradient together. Reconstruction is off by the rounding of what is stored, about 1e-7 of x2 in float
 * times what f^-1 stretches.
 * Source: Dinh et al. 2017 (RealNVP), Eq. 4-8; Durkan et al. 2019 (splines). */
#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct flow_coupling {
  ebb_layer      base;
  ebb_parts      parts;
  ebbk_bijection map;
  ebb_layer     *f;
} flow_coupling;

/* ---- the two parts -------------------------------------------------------------------------------------------------- */
static bool by_channels(const flow_coupling *l)
{
  return l->parts.colour == EBBK_ALL;
}

static bool alone(const flow_coupling *l)
{
  return by_channels(l) && l->parts.first == 0;
}

static ebb_view side(const flow_coupling *l, ebb_view v, bool second)
{
  if (!by_channels(l)) return v;
  return second ? ebb_view_channels(v, l->parts.first, l->parts.channels - l->parts.first) : ebb_view_channels(v, 0, l->parts.first);
}

/* What F reads, before masking, and what is transformed. */
static ebb_view passive(const flow_coupling *l, ebb_view v)
{
  return side(l, v, !l->parts.second);
}

static ebb_view active(const flow_coupling *l, ebb_view v)
{
  return side(l, v, l->parts.second);
}

static ebbk_board board_of(const flow_coupling *l, ebb_shape s)
{
  return (ebbk_board){.n = s.n, .size = {s.d, s.h, s.w}, .c = active(l, (ebb_view){.s = s, .stride = s.c}).s.c,
                      .colour = l->parts.colour};
}

static ebb_shape input_shape(const flow_coupling *l, ebb_shape x)
{
  return alone(l) ? x : passive(l, (ebb_view){.s = x, .stride = x.c}).s;
}

static ebb_shape params_shape(const flow_coupling *l, ebb_shape x)
{
  return ebb_shape_channels(x, l->map.params * board_of(l, x).c);
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const flow_coupling *l = (const flow_coupling *)layer;
  if (x.stream || x.c != l->parts.channels) return ebb_shape_none();
  return ebb_shape_equal(ebb_layer_shape(l->f, input_shape(l, x)), params_shape(l, x)) ? x : ebb_shape_none();
}

/* F's input: a view of x, or a copy in which what is transformed is 0. */
static ebb_view input_of(const flow_coupling *l, ebb_run *r, ebb_view x)
{
  if (by_channels(l) && !alone(l)) return passive(l, x);
  ebb_view   masked = ebb_scratch_view(r, x.s);
  ebbk_board b = board_of(l, x.s);
  if (!r->dry && alone(l)) ebbk->fill(ebb_reals(masked), masked.stride, 0, ebb_sites(x.s), x.s.c);
  else if (!r->dry) ebbk_mask(ebb_reals(masked), masked.stride, ebb_reals(x), x.stride, &b);
  return masked;
}

/* F and its gradient; what inside F has a log|det| of its own is no part of the flow. */
static void evaluate(const flow_coupling *l, ebb_run *r, ebb_view input, ebb_view params)
{
  double *logdet = r->logdet;
  r->logdet = NULL;
  ebb_forward_layer(l->f, r, input, params);
  r->logdet = logdet;
}

static void evaluate_back(const flow_coupling *l, ebb_run *r, ebb_view input, ebb_view dparams, ebb_view dinput)
{
  double dlogdet = r->dlogdet;
  r->dlogdet = 0;
  ebb_backward_layer(l->f, r, input, dparams, dinput);
  r->dlogdet = dlogdet;
}

/* ---- the steps ------------------------------------------------------------------------------------------------------ */
static void transform(const flow_coupling *l, ebb_run *r, ebb_view x, ebb_view params)
{
  ebbk_board b = board_of(l, x.s);
  ebb_view   to = active(l, x);
  ebb_mark   mark = ebb_arena_high_mark(r->arena);
  double    *parts = ebb_arena_high(r->arena, (size_t)b.n * EBBK_PARTS * sizeof *parts);
  if (!r->dry)
    ebbk_biject(ebb_reals(to), to.stride, ebb_logdet(r), ebb_reals(params), params.stride, &l->map, &b, parts);
  ebb_arena_high_release(r->arena, mark);
}

static void undo(const flow_coupling *l, const ebb_run *r, ebb_view y, ebb_view params)
{
  ebbk_board b = board_of(l, y.s);
  ebb_view   to = active(l, y);
  if (!r->dry) ebbk_unbiject(ebb_reals(to), to.stride, ebb_reals(params), params.stride, &l->map, &b);
}

/* dy to dx in place. Parameters become their gradients. */
static void gradient(const flow_coupling *l, ebb_run *r, ebb_view x, ebb_view d, ebb_view params)
{
  ebbk_board b = board_of(l, x.s);
  ebb_view   from = active(l, x), to = active(l, d), input = input_of(l, r, x), dinput = {0};
  if (!r->dry)
    ebbk_biject_grad(ebb_reals(to), to.stride, ebb_reals(params), params.stride, ebb_reals(from), from.stride, &l->map, &b,
                     r->dlogdet);
  if (by_channels(l)) {
    if (!alone(l)) dinput = passive(l, d), dinput.add = true;
    evaluate_back(l, r, input, params, dinput);
    return;
  }
  ebb_view masked = ebb_scratch_view(r, d.s);
  evaluate_back(l, r, input, params, masked);
  if (r->dry) return;
  ebbk_mask(ebb_reals(masked), masked.stride, ebb_reals(masked), masked.stride, &b);
  ebbk->add(ebb_reals(d), d.stride, ebb_reals(masked), masked.stride, ebb_sites(d.s), d.s.c);
}

/* ---- the layer ------------------------------------------------------------------------------------------------------ */
/* y.p == NULL: x stays as it is. With KEEP_INSIDE and KEEP_ALL the parameters and what F keeps stay in the arena. */
static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  const flow_coupling *l = (const flow_coupling *)layer;
  ebb_keep             outer = r->keep;
  bool                 keep = outer == EBB_KEEP_INSIDE || outer == EBB_KEEP_ALL;
  ebb_mark             low = ebb_arena_low_mark(r->arena);
  ebb_view             params = keep ? ebb_kept_view(r, params_shape(l, x.s)) : ebb_scratch_view(r, params_shape(l, x.s));
  if (keep) r->keep = EBB_KEEP_ALL;
  evaluate(l, r, input_of(l, r, x), params);
  r->keep = outer;
  if (y.p) transform(l, r, x, params);
  if (keep) ebb_kept_push(r, params, low);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  const flow_coupling *l = (const flow_coupling *)layer;
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  ebb_kept kept = ebb_kept_pop(r);
  gradient(l, r, x, dy, kept.view);
  ebb_arena_low_release(r->arena, kept.mark);
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const flow_coupling *l = (const flow_coupling *)layer;
  ebb_run              outer = *r;
  ebb_view             params = ebb_scratch_view(r, params_shape(l, y.s));
  r->keep = EBB_KEEP_NONE;
  if (r->pass == EBB_TRAIN) r->pass = EBB_REPLAY;
  evaluate(l, r, input_of(l, r, y), params);
  undo(l, r, y, params);
  r->keep = outer.keep;
  r->pass = outer.pass;
}

static void reverse(const ebb_layer *layer, ebb_run *r, ebb_view y, ebb_view dy)
{
  const flow_coupling *l = (const flow_coupling *)layer;
  ebb_run              outer = *r;
  r->pass = EBB_REPLAY;
  if (outer.keep != EBB_KEEP_INSIDE) {
    r->keep = EBB_KEEP_ALL;
    forward(layer, r, y, (ebb_view){.s = y.s}, NULL);
  }
  ebb_kept kept = ebb_kept_pop(r);
  undo(l, r, y, kept.view);
  r->keep = EBB_KEEP_ALL;
  gradient(l, r, y, dy, kept.view);
  ebb_arena_low_release(r->arena, kept.mark);
  r->keep = outer.keep;
  r->pass = outer.pass;
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  return i == 0 ? ((const flow_coupling *)layer)->f : NULL;
}

/* ---- catalogue ------------------------------------------------------------------------------------------------------ */
static ebb_layer *make_parts(ebb_builder *b, const char *name, ebb_parts parts, ebbk_bijection map)
{
  bool        split = parts.colour == EBBK_ALL;
  int         rest = parts.channels - parts.first, in = split ? (parts.second ? parts.first : rest) : parts.channels;
  int         out = map.params * (split ? parts.channels - in : parts.channels);
  const char *outer = ebb_scope_enter(b, "%s", name);
  ebb_layer  *f = ebb_conv(b, "f", (ebb_conv_options){.in = in, .out = out, .kernel = 3, .pad = 1});
  b->scope = outer;
  return ebb_flow_coupling(b, name, parts, map, f);
}

static ebb_layer *make_additive(ebb_builder *b, const char *name, ebb_shape x)
{
  ebb_parts board = {.channels = x.c, .colour = EBBK_WHITE}, halves = {.channels = x.c, .first = x.c / 2};
  return make_parts(b, name, x.w % 2 && x.w > 1 ? board : halves, ebb_shift());
}

static ebb_layer *make_affine(ebb_builder *b, const char *name, ebb_shape x)
{
  ebb_parts board = {.channels = x.c, .colour = EBBK_BLACK}, halves = {.channels = x.c, .first = x.c / 2, .second = true};
  return make_parts(b, name, x.w % 2 && x.w > 1 ? board : halves, ebb_affine());
}

static ebb_layer *make_spline(ebb_builder *b, const char *name, ebb_shape x)
{
  return make_parts(b, name, (ebb_parts){.channels = x.c, .first = x.c / 2}, ebb_spline(5, 3));
}

#define FLOW_COUPLING(label, law, paper, maker)                                                                        \
  {                                                                                                                    \
    .name = label, .formula = law, .source = paper, .in_place = true, .logdet = true, .shape = shape,                  \
    .forward = forward, .backward = backward, .inverse = inverse, .reverse = reverse, .child = child, .make = maker,   \
  }

const ebb_layer_ops ebb_additive_coupling_ops =
    FLOW_COUPLING("additive_coupling", "z1 = x1; z2 = x2 + F(x1), on real values", "Dinh et al. 2014 (NICE), section 3.2", make_additive);
const ebb_layer_ops ebb_affine_coupling_ops =
    FLOW_COUPLING("affine_coupling", "z1 = x1; z2 = (x2 + t) e^s, (s, t) = F(x1)", "Dinh et al. 2017, Eq. 4-8", make_affine);
const ebb_layer_ops ebb_spline_coupling_ops =
    FLOW_COUPLING("spline_coupling", "z1 = x1; z2 = spline(x2; F(x1))", "Durkan et al. 2019", make_spline);

ebb_layer *ebb_flow_coupling(ebb_builder *b, const char *name, ebb_parts parts, ebbk_bijection map, ebb_layer *f)
{
  bool split = parts.colour == EBBK_ALL;
  EBB_ASSERT(!split || (parts.first < parts.channels && (parts.first > 0 || parts.second)), "%d of %d channels", parts.first, parts.channels);
  const ebb_layer_ops *ops = map.bins ? &ebb_spline_coupling_ops : map.params == 1 ? &ebb_additive_coupling_ops : &ebb_affine_coupling_ops;
  flow_coupling       *l = (flow_coupling *)ebb_layer_new(b, ops, name, sizeof *l);
  l->parts = parts;
  l->map = map;
  l->f = f;
  return &l->base;
}
