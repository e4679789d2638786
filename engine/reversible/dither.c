/* dither.c -- whole numbers 0 .. levels - 1, such as grey levels, become real values that a density can be of:
 *   v = (x + u) / levels, u uniform in [0, 1), drawn anew in each pass;
 *   y = v - 1/2, or log(p / (1 - p)), p = a + (1 - 2 a) v, whose range is the whole line.
 * Owns: the noise. log|det| makes the likelihood that of x + u in its own units, which bounds that of x from below.
 * Its inverse takes u away, so that x comes back; of latent values that were drawn, where there is none, it rounds down, to
 * 0 .. levels - 1. In an evaluation u is that of the sample's place in its set: whenever it is made, in batches of any size, its numbers are the same.
 * Source: Theis et al. 2016, section 3.1 (dequantisation); Dinh et al. 2017, section 4.1 (logit, a = 0.05). */
#include <math.h>

#include "kernels/kernels.h"
#include "reversible/reversible.h"

typedef struct dither {
  ebb_layer      base;
  ebbk_bijection map;   /* its parameter is u */
} dither;

static const double edge = 0.05; /* a */

static double centred_forward(const ebbk_bijection *f, double x, const double *u, double *log_slope)
{
  *log_slope = -log(f->bound);
  return (x + u[0]) / f->bound - 0.5;
}

static double centred_inverse(const ebbk_bijection *f, double y, const double *u)
{
  return (y + 0.5) * f->bound - u[0];
}

static double centred_gradient(const ebbk_bijection *f, double *du, double x, const double *u, double dy, double dl)
{
  (void)x, (void)u, (void)dl;
  return du[0] = dy / f->bound;
}

static double share_of(const ebbk_bijection *f, double x, double u)
{
  return edge + (1 - 2 * edge) * (x + u) / f->bound;
}

static double logit_forward(const ebbk_bijection *f, double x, const double *u, double *log_slope)
{
  double p = share_of(f, x, u[0]);
  *log_slope = log((1 - 2 * edge) / f->bound) - log(p) - log1p(-p);
  return log(p) - log1p(-p);
}

static double logit_inverse(const ebbk_bijection *f, double y, const double *u)
{
  return (1 / (1 + exp(-y)) - edge) / (1 - 2 * edge) * f->bound - u[0];
}

static double logit_gradient(const ebbk_bijection *f, double *du, double x, const double *u, double dy, double dl)
{
  double p = share_of(f, x, u[0]), slope = (1 - 2 * edge) / f->bound;
  return du[0] = slope * (dy / (p * (1 - p)) + dl * (1 / (1 - p) - 1 / p));
}

static size_t scratch_bytes(const ebb_layer *layer, ebb_shape x)
{
  (void)layer;
  return ebb_align(ebb_bytes(x)) + (size_t)x.n * EBBK_PARTS * sizeof(double);
}

static ebb_view noise(const ebb_layer *l, const ebb_run *r, ebb_shape s, bool none, void *scratch)
{
  ebb_view u = ebb_view_of(scratch, s);
  ebb_rng  g = ebb_layer_rng(r, l->id);
  uint64_t first = 0;
  if (r->pass == EBB_EVAL) {
    g.time = 0;
    first = r->place * (ebb_count(s) / (size_t)s.n);
  }
  for (size_t i = 0; i < ebb_count(s); i++) ebb_reals(u)[i] = none ? 0 : (ebb_real)ebb_rng_uniform(g, first + i);
  return u;
}

static ebbk_board board_of(ebb_shape s)
{
  return (ebbk_board){.n = s.n, .size = {s.d, s.h, s.w}, .c = s.c, .colour = EBBK_ALL};
}

static void check(const dither *l, ebb_run *r, ebb_view x)
{
  for (size_t i = 0; i < ebb_sites(x.s); i++)
    for (int j = 0; j < x.s.c; j++) {
      double v = (double)ebb_reals(x)[i * (size_t)x.stride + (size_t)j];
      if (!(v >= 0 && v < l->map.bound && v == floor(v))) {
        ebb_note_not_whole(r, &l->base, v, (int)l->map.bound);
        return;
      }
    }
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)x;
  const dither *l = (const dither *)layer;
  ebb_view      u = noise(layer, r, y.s, false, scratch);
  ebbk_board    b = board_of(y.s);
  double       *parts = (double *)(void *)((char *)scratch + ebb_align(ebb_bytes(y.s)));
  check(l, r, y);
  ebbk_biject(ebb_reals(y), y.stride, ebb_logdet(r), ebb_reals(u), u.stride, &l->map, &b, parts);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  const dither *l = (const dither *)layer;
  EBB_ASSERT(dx.p == dy.p, "%s works in place", layer->name);
  ebb_view   u = noise(layer, r, x.s, false, scratch);
  ebbk_board b = board_of(x.s);
  ebbk_biject_grad(ebb_reals(dx), dx.stride, ebb_reals(u), u.stride, ebb_reals(x), x.stride, &l->map, &b, r->dlogdet);
}

/* NaN stays what it is. */
static void round_down(ebb_view x, double levels)
{
  for (size_t i = 0; i < ebb_sites(x.s); i++)
    for (int j = 0; j < x.s.c; j++) {
      ebb_real *v = ebb_reals(x) + i * (size_t)x.stride + j;
      if (!isnan(*v)) *v = (ebb_real)fmin(levels - 1, fmax(0, floor((double)*v)));
    }
}

static void inverse(const ebb_layer *layer, ebb_run *r, ebb_view y)
{
  const dither *l = (const dither *)layer;
  void         *scratch = ebb_arena_high(r->arena, scratch_bytes(layer, y.s));
  if (r->dry) return;
  bool       drawn = r->drawn && r->pass == EBB_EVAL;
  ebb_view   u = noise(layer, r, y.s, drawn, scratch);
  ebbk_board b = board_of(y.s);
  ebbk_unbiject(ebb_reals(y), y.stride, ebb_reals(u), u.stride, &l->map, &b);
  if (drawn) round_down(y, l->map.bound);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  return ebb_dither(b, name, 80, x.w % 2);
}

const ebb_layer_ops ebb_dither_ops = {
    .name = "dither",
    .formula = "y = v - 1/2 or logit(0.05 + 0.9 v), v = (x + u) / levels",
    .source = "Theis et al. 2016; Dinh et al. 2017, section 4.1",
    .in_place = true,
    .logdet = true,
    .shape = ebb_shape_same,
    .scratch = scratch_bytes,
    .forward = forward,
    .backward = backward,
    .inverse = inverse,
    .make = make,
};

ebb_layer *ebb_dither(ebb_builder *b, const char *name, int levels, bool logit)
{
  dither        *l = (dither *)ebb_layer_new(b, &ebb_dither_ops, name, sizeof *l);
  ebbk_bijection centred = {.params = 1, .bound = levels, .forward = centred_forward, .inverse = centred_inverse, .gradient = centred_gradient};
  ebbk_bijection stretched = {.params = 1, .bound = levels, .forward = logit_forward, .inverse = logit_inverse, .gradient = logit_gradient};
  l->map = logit ? stretched : centred;
  return &l->base;
}
