/* optimiser.c -- the update of the weights and the size of a gradient, over n consecutive values. Bound by memory. */
#include "kernels/lines.h"

#include <math.h>

void NAME(sgd)(float *w, float *m, const float *g, size_t n, double lr, double momentum, double decay, bool nesterov,
               bool first)
{
  lines l = lines_of(n, 1, true);
  float rate = (float)lr, mu = (float)momentum, lambda = (float)decay;
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t length = line_length(&l, i);
    size_t at = (size_t)i * LINE;
    FOR_VECTORS(j, k, length)
    {
      float *wj = w + at + j, *mj = m + at + j;
      vec    old = load_tail(wj, (int)k), d = load_tail(g + at + j, (int)k) + lambda * old;
      vec    v = first ? d : mu * load_tail(mj, (int)k) + d;
      vec    step = nesterov ? mu * v + d : v;
      store_tail(mj, v, (int)k);
      store_tail(wj, old - rate * step, (int)k);
    }
  }
}

/* As plain loops, which the compiler makes vectors of. */
void NAME(adam)(float *w, float *m, float *v, const float *g, size_t n, const ebbk_adam *a)
{
  lines l = lines_of(n, 1, true);
  float b1 = (float)a->beta1, b2 = (float)a->beta2, a1 = (float)(1 - a->beta1), a2 = (float)(1 - a->beta2), eps = (float)a->epsilon;
  float keep = a->decoupled ? (float)(1 - a->lr * a->decay) : 1, decay = a->decoupled ? 0 : (float)a->decay;
  float rate = (float)(a->lr / (1 - pow(a->beta1, (double)a->step)));
  float root = (float)(1 / sqrt(1 - pow(a->beta2, (double)a->step)));
  bool  largest = a->largest;
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t begin = (size_t)i * LINE, end = begin + line_length(&l, i);
    for (size_t j = begin; j < end; j++) {
      float old = w[j] * keep, d = g[j] + decay * old;
      float first = b1 * m[j] + a1 * d, size = fabsf(d) + eps, faded = b2 * v[j];
      float second = largest ? (faded > size ? faded : size) : faded + a2 * d * d;
      m[j] = first;
      v[j] = second;
      w[j] = old - rate * first / (largest ? second : sqrtf(second) * root + eps);
    }
  }
}

enum { CHUNKS = 64, CHUNK_LEAST = 16384 };

static double squares(const float *x, size_t n)
{
  halfd  sum[2] = {{0}};
  double total = 0;
  FOR_VECTORS(j, k, n)
  {
    vec   v = load_tail(x + j, (int)k);
    halfd low = widen(v, 0), high = widen(v, 1);
    sum[0] += low * low;
    sum[1] += high * high;
  }
  for (int i = 0; i < VL / 2; i++) total += sum[0][i] + sum[1][i];
  return total;
}

/* Sum of x^2, in double, over chunks that depend on n only. */
double NAME(sum_squares)(const float *x, size_t n)
{
  double partial[CHUNKS] = {0}, sum = 0;
  size_t chunk = (n + CHUNKS - 1) / CHUNKS;
  if (chunk < CHUNK_LEAST) chunk = CHUNK_LEAST;
#pragma omp parallel for if (n > PARALLEL_VALUES)
  for (int i = 0; i < CHUNKS; i++) {
    size_t begin = (size_t)i * chunk, end = begin + chunk < n ? begin + chunk : n;
    if (begin < end) partial[i] = squares(x + begin, end - begin);
  }
  for (int i = 0; i < CHUNKS; i++) sum += partial[i];
  return sum;
}

void NAME(scale)(float *x, float factor, size_t n)
{
  lines l = lines_of(n, 1, true);
  PARALLEL_LINES
  for (ptrdiff_t i = 0; i < l.count; i++) {
    size_t length = line_length(&l, i);
    float *p = x + (size_t)i * LINE;
    FOR_VECTORS(j, k, length) store_tail(p + j, load_tail(p + j, (int)k) * factor, (int)k);
  }
}
