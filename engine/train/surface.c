/* surface.c -- see surface.h. */
#include "train/surface.h"

#include <math.h>
#include <stdlib.h>

#include "base/arena.h"

/* The smallest box that holds both sets, and what is computed in it. */
typedef struct box {
  const uint16_t *set[2];
  int             class, volume[3], low[3], size[3];
  float          *squared;   /* (size) squared distance to the surface of one set */
  unsigned char  *surface;   /* (size) bit k: of the surface of set k             */
  float          *distance;  /* (surface sites of both) */
  size_t          count[2];
  double         *line;      /* scratch of a line: values, places of parabolas, where each begins */
  int            *vertex;
  double         *bound;
} box;

static size_t site(const int size[3], int d, int h, int w)
{
  return ((size_t)d * (size_t)size[1] + (size_t)h) * (size_t)size[2] + (size_t)w;
}

static bool in_set(const box *b, int k, const int at[3])
{
  for (int i = 0; i < 3; i++)
    if (at[i] < 0 || at[i] >= b->volume[i]) return false;
  return b->set[k][site(b->volume, at[0], at[1], at[2])] == b->class;
}

/* False if either set is empty. */
static bool find_box(box *b)
{
  int  high[3] = {-1, -1, -1};
  bool any[2] = {false, false};
  for (int i = 0; i < 3; i++) b->low[i] = b->volume[i];
  size_t n = 0;
  for (int d = 0; d < b->volume[0]; d++)
    for (int h = 0; h < b->volume[1]; h++)
      for (int w = 0; w < b->volume[2]; w++, n++) {
        bool is[2] = {b->set[0][n] == b->class, b->set[1][n] == b->class};
        if (!is[0] && !is[1]) continue;
        int at[3] = {d, h, w};
        for (int i = 0; i < 3; i++) {
          if (at[i] < b->low[i]) b->low[i] = at[i];
          if (at[i] > high[i]) high[i] = at[i];
        }
        for (int k = 0; k < 2; k++) any[k] |= is[k];
      }
  for (int i = 0; i < 3; i++) b->size[i] = high[i] - b->low[i] + 1;
  return any[0] && any[1];
}

static bool on_surface(const box *b, int k, const int at[3])
{
  if (!in_set(b, k, at)) return false;
  for (int i = 0; i < 3; i++) {
    if (b->volume[i] == 1) continue;
    for (int step = -1; step <= 1; step += 2) {
      int near[3] = {at[0], at[1], at[2]};
      near[i] += step;
      if (!in_set(b, k, near)) return true;
    }
  }
  return false;
}

static void find_surfaces(box *b)
{
  size_t n = 0;
  for (int d = 0; d < b->size[0]; d++)
    for (int h = 0; h < b->size[1]; h++)
      for (int w = 0; w < b->size[2]; w++, n++) {
        int at[3] = {d + b->low[0], h + b->low[1], w + b->low[2]};
        b->surface[n] = 0;
        for (int k = 0; k < 2; k++) {
          bool is = on_surface(b, k, at);
          b->surface[n] |= (unsigned char)(is << k);
          b->count[k] += is;
        }
      }
}

/* Where the parabola from vertex q falls below that from p < q, in sites. */
static double crossing(const double *f, double s2, int p, int q)
{
  return ((f[q] + s2 * q * q) - (f[p] + s2 * p * p)) / (2 * s2 * (q - p));
}

/* line(p) becomes min over q of (spacing (p - q))^2 + line(q): the lower envelope of parabolas, algorithm 1. */
static void transform_line(float *f, size_t step, int n, double spacing, box *b)
{
  double s2 = spacing * spacing;
  int    k = -1;
  for (int q = 0; q < n; q++) {
    b->line[q] = (double)f[(size_t)q * step];
    if (isinf(b->line[q])) continue;
    while (k >= 0 && crossing(b->line, s2, b->vertex[k], q) <= b->bound[k]) k--;
    k++;
    b->vertex[k] = q;
    b->bound[k] = k ? crossing(b->line, s2, b->vertex[k - 1], q) : -INFINITY;
  }
  if (k < 0) return;
  for (int p = 0, j = 0; p < n; p++) {
    while (j < k && b->bound[j + 1] < p) j++;
    double away = p - b->vertex[j];
    f[(size_t)p * step] = (float)(s2 * away * away + b->line[b->vertex[j]]);
  }
}

static void transform(box *b, int k, const double spacing[3])
{
  const int *n = b->size;
  size_t sites = (size_t)n[0] * (size_t)n[1] * (size_t)n[2], plane = (size_t)n[1] * (size_t)n[2];
  for (size_t i = 0; i < sites; i++) b->squared[i] = b->surface[i] >> k & 1 ? 0 : INFINITY;
  for (int d = 0; d < n[0]; d++)
    for (int h = 0; h < n[1]; h++) transform_line(b->squared + site(n, d, h, 0), 1, n[2], spacing[2], b);
  for (int d = 0; d < n[0]; d++)
    for (int w = 0; w < n[2]; w++) transform_line(b->squared + site(n, d, 0, w), (size_t)n[2], n[1], spacing[1], b);
  for (size_t i = 0; i < plane; i++) transform_line(b->squared + i, plane, n[0], spacing[0], b);
}

/* Distances from the surface of set k to that of the other, from `to` on; returns their mean. */
static double collect(box *b, int k, float *to, const double spacing[3])
{
  size_t sites = (size_t)b->size[0] * (size_t)b->size[1] * (size_t)b->size[2], n = 0;
  double sum = 0;
  transform(b, !k, spacing);
  for (size_t i = 0; i < sites; i++) {
    if (!(b->surface[i] >> k & 1)) continue;
    to[n] = sqrtf(b->squared[i]);
    sum += (double)to[n++];
  }
  return sum / (double)n;
}

static int by_value(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* Linear between the two nearest ranks, as numpy's percentile. */
static double percentile(float *values, size_t count, double share)
{
  qsort(values, count, sizeof *values, by_value);
  double at = share * (double)(count - 1);
  size_t low = (size_t)at, high = low + 1 < count ? low + 1 : low;
  return (double)values[low] + (at - (double)low) * ((double)values[high] - (double)values[low]);
}

static ebb_status take_memory(box *b, ebb_arena *memory)
{
  size_t sites = (size_t)b->size[0] * (size_t)b->size[1] * (size_t)b->size[2];
  size_t longest = (size_t)(b->size[0] > b->size[1] ? b->size[0] : b->size[1]);
  if ((size_t)b->size[2] > longest) longest = (size_t)b->size[2];
  EBB_TRY(ebb_arena_create(memory, "surface", 3 * ebb_align(sites * sizeof(float)) + ebb_align(sites) + 3 * ebb_align((longest + 1) * sizeof(double))));
  b->squared = ebb_arena_low(memory, sites * sizeof(float), EBB_USE_KEPT);
  b->distance = ebb_arena_low(memory, 2 * sites * sizeof(float), EBB_USE_KEPT);
  b->surface = ebb_arena_low(memory, sites, EBB_USE_KEPT);
  b->line = ebb_arena_low(memory, longest * sizeof(double), EBB_USE_KEPT);
  b->vertex = ebb_arena_low(memory, longest * sizeof(int), EBB_USE_KEPT);
  b->bound = ebb_arena_low(memory, (longest + 1) * sizeof(double), EBB_USE_KEPT);
  return EBB_OK;
}

ebb_status ebb_surface_measure(ebb_surface *s, const uint16_t *a, const uint16_t *b, int class, const int size[3], const double spacing[3])
{
  box       k = {.set = {a, b}, .class = class, .volume = {size[0], size[1], size[2]}};
  ebb_arena memory;
  *s = (ebb_surface){NAN, NAN};
  if (!find_box(&k)) return EBB_OK;
  EBB_TRY(take_memory(&k, &memory));
  find_surfaces(&k);
  double there = collect(&k, 0, k.distance, spacing), back = collect(&k, 1, k.distance + k.count[0], spacing);
  s->assd = (there + back) / 2;
  s->hd95 = percentile(k.distance, k.count[0] + k.count[1], 0.95);
  ebb_arena_destroy(&memory);
  return EBB_OK;
}
