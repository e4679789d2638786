/* bench_reference.c -- single entries of a convolution's three products, summed in double, and the error against them.
 * Owns: the sums. Must not know: how the kernels compute them. */
#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "bench_conv.h"

enum { VALUES_TRIED = 2000, WEIGHTS_TRIED = 200 };

typedef struct place { int n, at[3]; } place;

static place place_of(size_t pixel, const int size[3])
{
  place p;
  for (int i = 2; i >= 0; i--) {
    p.at[i] = (int)(pixel % (size_t)size[i]);
    pixel /= (size_t)size[i];
  }
  p.n = (int)pixel;
  return p;
}

static size_t pixel_of(const place *p, const int size[3])
{
  size_t pixel = (size_t)p->n;
  for (int i = 0; i < 3; i++) pixel = pixel * (size_t)size[i] + (size_t)p->at[i];
  return pixel;
}

/* The input pixel that a tap connects with the output pixel: i = q stride + k - pad; false: it is outside. */
static bool input_of(place *in, const ebbk_conv *g, const place *q, const place *tap)
{
  in->n = q->n;
  for (int i = 0; i < 3; i++) {
    in->at[i] = q->at[i] * g->stride[i] + tap->at[i] - g->pad[i];
    if (in->at[i] < 0 || in->at[i] >= g->in[i]) return false;
  }
  return true;
}

/* ... and the output pixel that it connects with an input pixel. */
static bool output_of(place *q, const ebbk_conv *g, const place *in, const place *tap)
{
  q->n = in->n;
  for (int i = 0; i < 3; i++) {
    int at = in->at[i] + g->pad[i] - tap->at[i];
    if (at < 0 || at % g->stride[i] != 0 || at / g->stride[i] >= g->out[i]) return false;
    q->at[i] = at / g->stride[i];
  }
  return true;
}

static size_t volume(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

static double dot(const ebb_real *a, size_t a_step, const ebb_real *b, size_t b_step, int count)
{
  double sum = 0;
  for (int i = 0; i < count; i++) sum += (double)a[(size_t)i * a_step] * (double)b[(size_t)i * b_step];
  return sum;
}

/* y[q, o] = sum over taps, i of x[q stride + tap - pad, i] w[tap, i, o] */
static double forward_entry(const ebb_bench_conv *c, size_t entry)
{
  const ebbk_conv *g = &c->g;
  size_t           ci = (size_t)g->ci, co = (size_t)g->co;
  place            q = place_of(entry / co, g->out), in;
  double           sum = 0;
  for (size_t t = 0; t < volume(g->kernel); t++) {
    place tap = place_of(t, g->kernel);
    if (input_of(&in, g, &q, &tap)) sum += dot(c->x + pixel_of(&in, g->in) * ci, 1, c->w + t * ci * co + entry % co, co, g->ci);
  }
  return sum;
}

/* dx[p, i] = sum over taps, o of dy[q, o] w[tap, i, o], p = q stride + tap - pad */
static double grad_data_entry(const ebb_bench_conv *c, size_t entry)
{
  const ebbk_conv *g = &c->g;
  size_t           ci = (size_t)g->ci, co = (size_t)g->co;
  place            in = place_of(entry / ci, g->in), q;
  double           sum = 0;
  for (size_t t = 0; t < volume(g->kernel); t++) {
    place tap = place_of(t, g->kernel);
    if (output_of(&q, g, &in, &tap)) sum += dot(c->dy + pixel_of(&q, g->out) * co, 1, c->w + (t * ci + entry % ci) * co, 1, g->co);
  }
  return sum;
}

/* dw[tap, i, o] = sum over q of x[q stride + tap - pad, i] dy[q, o] */
static double grad_weight_entry(const ebb_bench_conv *c, size_t entry)
{
  const ebbk_conv *g = &c->g;
  size_t           ci = (size_t)g->ci, co = (size_t)g->co, o = entry % co, i = entry / co % ci;
  place            tap = place_of(entry / co / ci, g->kernel), in;
  double           sum = 0;
  for (size_t pixel = 0; pixel < (size_t)g->n * volume(g->out); pixel++) {
    place q = place_of(pixel, g->out);
    if (input_of(&in, g, &q, &tap)) sum += (double)c->x[pixel_of(&in, g->in) * ci + i] * (double)c->dy[pixel * co + o];
  }
  return sum;
}

static double entry_of(const ebb_bench_conv *c, ebbk_product what, size_t entry)
{
  if (what == EBBK_FORWARD) return forward_entry(c, entry);
  return what == EBBK_GRAD_DATA ? grad_data_entry(c, entry) : grad_weight_entry(c, entry);
}

static size_t entries_of(const ebbk_conv *g, ebbk_product what)
{
  if (what == EBBK_FORWARD) return ebb_bench_conv_outputs(g);
  return what == EBBK_GRAD_DATA ? ebb_bench_conv_inputs(g) : ebb_bench_conv_weights(g);
}

double ebb_bench_conv_error(ebb_bench_conv *c, ebbk_product what, ebbk_algorithm way)
{
  size_t   count = entries_of(&c->g, what);
  double   worst = 0, largest = 0;
  uint64_t tried = what == EBBK_GRAD_WEIGHT ? WEIGHTS_TRIED : VALUES_TRIED;
  memset(c->result, 0, count * sizeof *c->result); /* dw is added to */
  ebb_bench_conv_run(c, what, way);
  for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs((double)c->result[i]));
  for (uint64_t k = 0; k < tried; k++) {
    size_t entry = (size_t)ebb_rng_below((ebb_rng){1, EBB_RNG_TEST, 3}, k, count);
    worst = fmax(worst, fabs((double)c->result[entry] - entry_of(c, what, entry)));
  }
  return worst / largest;
}
