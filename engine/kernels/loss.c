/* loss.c -- softmax and cross-entropy. In double, a row at a time: a few values a row, exp is the cost.
 *
 *   t_j = smoothing/c + (j == label)(1 - smoothing),  p = softmax(x),  loss = -sum t_j log p_j,  dx = weight (p - t) */
#include "kernels/fast.h"

#include <math.h>

enum { CHUNKS = 64, CHUNK_LEAST = 256 };

static double row_loss(float *dx, const float *x, int label, double smoothing, double weight, int c)
{
  double top = (double)x[0], sum = 0, all = 0, at_label = (double)x[label];
  for (int j = 1; j < c; j++) top = fmax(top, (double)x[j]);
  for (int j = 0; j < c; j++) {
    double e = exp((double)x[j] - top);
    sum += e;
    all += (double)x[j] - top;
    dx[j] = (float)e;
  }
  for (int j = 0; j < c; j++)
    dx[j] = (float)(weight * ((double)dx[j] / sum - smoothing / c - (j == label ? 1 - smoothing : 0)));
  double loss = log(sum) - (1 - smoothing) * (at_label - top);
  return smoothing != 0 ? loss - smoothing / c * all : loss;
}

double NAME(softmax_xent)(float *dx, int dxs, const float *x, int xs, const int32_t *label, double smoothing,
                          double weight, size_t rows, int c)
{
  double partial[CHUNKS] = {0}, loss = 0;
  size_t chunk = (rows + CHUNKS - 1) / CHUNKS;
  if (chunk < CHUNK_LEAST) chunk = CHUNK_LEAST;
#pragma omp parallel for if (rows > CHUNK_LEAST)
  for (int i = 0; i < CHUNKS; i++)
    for (size_t r = (size_t)i * chunk; r < rows && r < ((size_t)i + 1) * chunk; r++) {
      float *to = dx + r * (size_t)dxs;
      if (label[r] < 0) memset(to, 0, sizeof *to * (size_t)c);
      else partial[i] += row_loss(to, x + r * (size_t)xs, label[r], smoothing, weight, c);
    }
  for (int i = 0; i < CHUNKS; i++) loss += partial[i];
  return loss;
}
