/* upsample.c -- linear interpolation to twice the size, and its adjoint; vectorised over channels.
 * Owns: the taps. y[2i] = 3/4 x[i] + 1/4 x[i - 1], y[2i + 1] = 3/4 x[i] + 1/4 x[i + 1] along each axis of factor 2, the border repeated:
 * PyTorch's interpolate(scale_factor=2, align_corners=False). Cost: 2^axes reads an output, 4^axes an input's gradient. */
#include "kernels/fast.h"

enum { PARALLEL_VALUES = 1 << 15, TAPS = 4 };

typedef struct taps { int count, at[TAPS]; float weight[TAPS]; } taps;

static int inside(int at, int size)
{
  return at < 0 ? 0 : at >= size ? size - 1 : at;
}

/* Sites of x behind site o of y. */
static taps taps_of(int o, int size, int factor)
{
  int i = o / factor;
  if (factor == 1) return (taps){1, {o}, {1}};
  return (taps){2, {i, inside(o % 2 ? i + 1 : i - 1, size)}, {0.75F, 0.25F}};
}

/* Sites of y in which site i of x has a part: the same, turned round. */
static taps taps_back(int i, int size, int factor)
{
  if (factor == 1) return (taps){1, {i}, {1}};
  taps t = {2, {2 * i, 2 * i + 1}, {i == 0 ? 1 : 0.75F, i == size - 1 ? 1 : 0.75F}};
  if (i > 0) t.at[t.count] = 2 * i - 1, t.weight[t.count++] = 0.25F;
  if (i < size - 1) t.at[t.count] = 2 * i + 2, t.weight[t.count++] = 0.25F;
  return t;
}

/* to[site] = sum over taps of from, for all sites of a box `size` of n samples; `other`: the box of `from`. */
static void gather(float *to, int ts, const float *from, int fs, const int size[3], const int other[3], const ebbk_pool *g,
                   taps (*find)(int at, int size, int factor))
{
  int rows = g->n * size[0] * size[1];
#pragma omp parallel for if ((double)rows * size[2] * g->ci > PARALLEL_VALUES)
  for (int row = 0; row < rows; row++) {
    int  n = row / (size[0] * size[1]), d = row / size[1] % size[0], h = row % size[1];
    taps td = find(d, g->in[0], g->stride[0]), th = find(h, g->in[1], g->stride[1]);
    for (int w = 0; w < size[2]; w++) {
      taps   tw = find(w, g->in[2], g->stride[2]);
      float *out = to + ((size_t)row * (size_t)size[2] + (size_t)w) * (size_t)ts;
      for (int v = 0; v < g->ci; v += VL) {
        int lanes = g->ci - v < VL ? g->ci - v : VL;
        vec sum = {0};
        for (int a = 0; a < td.count; a++)
          for (int b = 0; b < th.count; b++) {
            size_t line = (((size_t)n * (size_t)other[0] + (size_t)td.at[a]) * (size_t)other[1] + (size_t)th.at[b]) * (size_t)other[2];
            for (int c = 0; c < tw.count; c++)
              sum += td.weight[a] * th.weight[b] * tw.weight[c] * load_tail(from + (line + (size_t)tw.at[c]) * (size_t)fs + v, lanes);
          }
        store_tail(out + v, sum, lanes);
      }
    }
  }
}

void NAME(upsample)(float *y, int ys, const float *x, int xs, const ebbk_pool *g)
{
  gather(y, ys, x, xs, g->out, g->in, g, taps_of);
}

void NAME(upsample_grad)(float *dx, int dxs, const float *dy, int dys, const ebbk_pool *g)
{
  gather(dx, dxs, dy, dys, g->in, g->out, g, taps_back);
}
