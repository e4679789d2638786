/* pool.c -- means and maxima of windows and their gradients, vectorised over channels.
 * Owns: the clipping of windows at the border. Outputs rows are shared by the threads; the gradients add to windows
 * that may overlap, so there a thread has whole samples of one vector of channels. Cost: one window an output. */
#include "kernels/fast.h"

enum { PARALLEL_VALUES = 1 << 15 };

/* The part of an output pixel's window that lies in the image, [begin, end) in each dimension. */
typedef struct window { int begin[3], end[3]; } window;

static window window_at(const ebbk_pool *g, int d, int h, int w)
{
  window win;
  int    q[3] = {d, h, w};
  for (int i = 0; i < 3; i++) {
    int begin = q[i] * g->stride[i] - g->pad[i], end = begin + g->kernel[i];
    win.begin[i] = begin < 0 ? 0 : begin;
    win.end[i] = end > g->in[i] ? g->in[i] : end;
  }
  return win;
}

static size_t pixel(const int size[3], int n, int d, int h, int w)
{
  return (((size_t)n * (size_t)size[0] + (size_t)d) * (size_t)size[1] + (size_t)h) * (size_t)size[2] + (size_t)w;
}

/* Runs the statement for each pixel `at` of the window `win` of sample n. */
#define FOR_WINDOW(at)                                                                                                 \
  for (int d_ = win.begin[0]; d_ < win.end[0]; d_++)                                                                   \
    for (int h_ = win.begin[1]; h_ < win.end[1]; h_++)                                                                 \
      for (size_t at = pixel(g->in, n, d_, h_, win.begin[2]), end_ = at + (size_t)(win.end[2] - win.begin[2]);         \
           at < end_; at++)

#define FOR_OUTPUTS                                            \
  for (int d = 0; d < g->out[0]; d++)                          \
    for (int h = 0; h < g->out[1]; h++)                        \
      for (int w = 0; w < g->out[2]; w++)

static float weight(const window *w)
{
  return 1 / (float)((w->end[0] - w->begin[0]) * (w->end[1] - w->begin[1]) * (w->end[2] - w->begin[2]));
}

static int lanes(const ebbk_pool *g, int v)
{
  return g->co - v < VL ? g->co - v : VL;
}

static bool parallel(const ebbk_pool *g)
{
  return (double)g->n * g->in[0] * g->in[1] * g->in[2] * g->ci > PARALLEL_VALUES;
}

void NAME(pool_mean)(float *y, int ys, const float *x, int xs, const ebbk_pool *g)
{
  int rows = g->n * g->out[0] * g->out[1];
#pragma omp parallel for if (parallel(g))
  for (int row = 0; row < rows; row++) {
    int n = row / (g->out[0] * g->out[1]), d = row / g->out[1] % g->out[0], h = row % g->out[1];
    for (int w = 0; w < g->out[2]; w++) {
      window win = window_at(g, d, h, w);
      float *to = y + pixel(g->out, n, d, h, w) * (size_t)ys;
      for (int v = 0; v < g->co; v += VL) {
        vec sum = {0};
        FOR_WINDOW(at) sum += load_tail(x + at * (size_t)xs + v, lanes(g, v));
        store_tail(to + v, sum * weight(&win), lanes(g, v));
      }
    }
  }
}

/* dx[i] = sum of dy[q] / size of q's window, over the windows that hold i */
void NAME(pool_mean_grad)(float *dx, int dxs, const float *dy, int dys, const ebbk_pool *g)
{
  int vectors = (g->co + VL - 1) / VL;
  NAME(fill)(dx, dxs, 0, (size_t)g->n * (size_t)g->in[0] * (size_t)g->in[1] * (size_t)g->in[2], g->ci);
#pragma omp parallel for if (parallel(g))
  for (int unit = 0; unit < g->n * vectors; unit++) {
    int n = unit / vectors, v = unit % vectors * VL, l = lanes(g, v);
    FOR_OUTPUTS
    {
      window win = window_at(g, d, h, w);
      vec    part = load_tail(dy + pixel(g->out, n, d, h, w) * (size_t)dys + v, l) * weight(&win);
      FOR_WINDOW(at)
      {
        float *to = dx + at * (size_t)dxs + v;
        store_tail(to, load_tail(to, l) + part, l);
      }
    }
  }
}

/* Lanes in which `a` takes the place of the maximum so far: larger, or the first NaN. */
INLINE veci wins(vec a, vec best)
{
  return (a > best) | ((a != a) & (best == best));
}

INLINE vec least_value(void)
{
  return broadcast(-__builtin_inff());
}

void NAME(pool_max)(float *y, int ys, const float *x, int xs, const ebbk_pool *g)
{
  int rows = g->n * g->out[0] * g->out[1];
#pragma omp parallel for if (parallel(g))
  for (int row = 0; row < rows; row++) {
    int n = row / (g->out[0] * g->out[1]), d = row / g->out[1] % g->out[0], h = row % g->out[1];
    for (int w = 0; w < g->out[2]; w++) {
      window win = window_at(g, d, h, w);
      float *to = y + pixel(g->out, n, d, h, w) * (size_t)ys;
      for (int v = 0; v < g->co; v += VL) {
        vec best = least_value();
        FOR_WINDOW(at)
        {
          vec a = load_tail(x + at * (size_t)xs + v, lanes(g, v));
          best = choose(wins(a, best), a, best);
        }
        store_tail(to + v, best, lanes(g, v));
      }
    }
  }
}

/* dx[i] = sum of dy[q] over the windows whose first maximum is at i */
void NAME(pool_max_grad)(float *dx, int dxs, const float *x, int xs, const float *dy, int dys, const ebbk_pool *g)
{
  int vectors = (g->co + VL - 1) / VL;
  NAME(fill)(dx, dxs, 0, (size_t)g->n * (size_t)g->in[0] * (size_t)g->in[1] * (size_t)g->in[2], g->ci);
#pragma omp parallel for if (parallel(g))
  for (int unit = 0; unit < g->n * vectors; unit++) {
    int n = unit / vectors, v = unit % vectors * VL, l = lanes(g, v);
    FOR_OUTPUTS
    {
      window win = window_at(g, d, h, w);
      vec    grad = load_tail(dy + pixel(g->out, n, d, h, w) * (size_t)dys + v, l), best = least_value();
      veci   winner = {0}; /* number of the first maximum in the window; all -inf: the first pixel */
      int    number = 0;
      FOR_WINDOW(at)
      {
        vec  a = load_tail(x + at * (size_t)xs + v, l);
        veci won = wins(a, best);
        best = choose(won, a, best);
        winner = (won & number) | (~won & winner);
        number++;
      }
      number = 0;
      FOR_WINDOW(at)
      {
        float *to = dx + at * (size_t)dxs + v;
        store_tail(to, load_tail(to, l) + choose(winner == number, grad, (vec){0}), l);
        number++;
      }
    }
  }
}
