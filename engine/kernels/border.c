/* border.c -- what a convolution would add if a channel behind the others were 1 on the padding and 0 on the image: at each
 * site the sum of that channel's weights over the taps that lie outside.
 * Owns: the walk over sites near the border. Must not know: the convolution.
 * Sums over sites run in their order, each tap by one thread: bits do not depend on threads. */
#include "kernels/kernels.h"

enum { CHANNELS_AT_ONCE = 64 };

/* Coordinates D H W of the tap that has `number`, from the kernel's middle. */
static void tap_at(int at[3], const ebbk_border *g, int number)
{
  const int *k = g->kernel;
  at[0] = number / (k[1] * k[2]) - k[0] / 2, at[1] = number / k[2] % k[1] - k[1] / 2, at[2] = number % k[2] - k[2] / 2;
}

static bool outside(const ebbk_border *g, const int site[3], const int tap[3])
{
  for (int i = 0; i < 3; i++)
    if (site[i] + tap[i] < 0 || site[i] + tap[i] >= g->size[i]) return true;
  return false;
}

/* Steps to the next site in memory's order; false behind a sample's last. */
static bool next_site(const ebbk_border *g, int site[3])
{
  for (int i = 2; i >= 0; i--) {
    if (++site[i] < g->size[i]) return true;
    site[i] = 0;
  }
  return false;
}

static int taps_of(const ebbk_border *g)
{
  return g->kernel[0] * g->kernel[1] * g->kernel[2];
}

static size_t sites_of(const ebbk_border *g)
{
  return (size_t)g->size[0] * (size_t)g->size[1] * (size_t)g->size[2];
}

void ebbk_border_add(ebb_real *y, int ys, const ebb_real *w, const ebbk_border *g)
{
#pragma omp parallel for
  for (int n = 0; n < g->n; n++) {
    ebb_real *to = y + (size_t)n * sites_of(g) * (size_t)ys;
    int       site[3] = {0}, tap[3];
    do {
      for (int t = 0; t < taps_of(g); t++) {
        tap_at(tap, g, t);
        if (!outside(g, site, tap)) continue;
        for (int j = 0; j < g->c; j++) to[j] += w[t * g->c + j];
      }
      to += ys;
    } while (next_site(g, site));
  }
}

/* Channels [first, first + count) of tap t. */
static void add_tap(ebb_real *dw, const ebb_real *dy, int dys, const ebbk_border *g, int t, int first, int count)
{
  double sum[CHANNELS_AT_ONCE] = {0};
  int    tap[3], site[3] = {0};
  tap_at(tap, g, t);
  dy += first;
  for (int n = 0; n < g->n; n++) {
    do {
      if (outside(g, site, tap))
        for (int j = 0; j < count; j++) sum[j] += (double)dy[j];
      dy += dys;
    } while (next_site(g, site));
  }
  for (int j = 0; j < count; j++) dw[t * g->c + first + j] += (ebb_real)sum[j];
}

void ebbk_border_grad(ebb_real *dw, const ebb_real *dy, int dys, const ebbk_border *g)
{
  int pieces = (g->c + CHANNELS_AT_ONCE - 1) / CHANNELS_AT_ONCE;
#pragma omp parallel for
  for (int k = 0; k < taps_of(g) * pieces; k++) {
    int first = k % pieces * CHANNELS_AT_ONCE;
    add_tap(dw, dy, dys, g, k / pieces, first, g->c - first < CHANNELS_AT_ONCE ? g->c - first : CHANNELS_AT_ONCE);
  }
}
