/* overlay.c -- see overlay.h. */
#include "overlay.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "png.h"

enum { GAP = 6, PANEL = 256, BACKGROUND = 24, COLUMNS = 3 };

typedef struct canvas { int height, width, zoom; unsigned char *rgb; } canvas;

/* ---- colours --------------------------------------------------------------------------------------------------- */
/* Hues a golden section apart: neighbours in number are far apart in colour. */
static void colour_of(unsigned char rgb[3], int class)
{
  double hue = fmod(0.98 + 0.618034 * (class - 1), 1.0) * 6;
  for (int i = 0; i < 3; i++) { /* red, green, blue stand a third of the circle apart */
    double level = fmin(1, fmax(0, fabs(fmod(hue + 6 - 2 * i, 6) - 3) - 1));
    rgb[i] = (unsigned char)(255 * (0.2 + 0.8 * level));
  }
}

static int by_value(const void *a, const void *b)
{
  float x = *(const float *)a, y = *(const float *)b;
  return (x > y) - (x < y);
}

/* What is shown black and what white. */
static void find_range(const ebb_overlay_slice *s, float *low, float *high, ebb_pool *pool)
{
  size_t n = (size_t)s->height * (size_t)s->width;
  float *sorted = ebb_pool_take(pool, n * sizeof *sorted);
  memcpy(sorted, s->image, n * sizeof *sorted);
  qsort(sorted, n, sizeof *sorted, by_value);
  *low = sorted[n / 100];
  *high = sorted[n - 1 - n / 100];
  if (!(*high > *low)) *high = *low + 1;
}

/* ---- drawing --------------------------------------------------------------------------------------------------- */
static bool on_edge(const ebb_overlay_slice *s, const uint16_t *classes, int y, int x)
{
  int at = classes[y * s->width + x];
  return (y > 0 && classes[(y - 1) * s->width + x] != at) || (x > 0 && classes[y * s->width + x - 1] != at) ||
         (y + 1 < s->height && classes[(y + 1) * s->width + x] != at) || (x + 1 < s->width && classes[y * s->width + x + 1] != at);
}

/* A class's sites are tinted, its edge more so. */
static void pixel(unsigned char rgb[3], const ebb_overlay_slice *s, const uint16_t *classes, int y, int x, float low, float high)
{
  float grey = 255 * fminf(1, fmaxf(0, (s->image[y * s->width + x] - low) / (high - low)));
  int class = classes ? classes[y * s->width + x] : 0;
  unsigned char colour[3];
  memset(rgb, (int)grey, 3);
  if (class == 0) return;
  colour_of(colour, class);
  float share = on_edge(s, classes, y, x) ? 0.85F : 0.4F;
  for (int i = 0; i < 3; i++) rgb[i] = (unsigned char)((1 - share) * grey + share * (float)colour[i]);
}

static void draw_panel(canvas *c, const ebb_overlay_slice *s, const uint16_t *classes, int top, int left, float low, float high)
{
  unsigned char rgb[3];
  for (int y = 0; y < s->height; y++)
    for (int x = 0; x < s->width; x++) {
      pixel(rgb, s, classes, y, x, low, high);
      for (int i = 0; i < c->zoom * c->zoom; i++) {
        size_t row = (size_t)(top + y * c->zoom + i / c->zoom), column = (size_t)(left + x * c->zoom + i % c->zoom);
        memcpy(c->rgb + (row * (size_t)c->width + column) * 3, rgb, 3);
      }
    }
}

static int largest(int a, int b)
{
  return a > b ? a : b;
}

/* Small slices are magnified by a whole number. */
static canvas make_canvas(const ebb_overlay_slice *slices, int count, int columns, ebb_pool *pool)
{
  canvas c = {.zoom = 1, .height = GAP};
  int width = 1, height = 1;
  for (int i = 0; i < count; i++) {
    width = largest(width, slices[i].width);
    height = largest(height, slices[i].height);
  }
  c.zoom = largest(1, PANEL / largest(width, height));
  for (int i = 0; i < count; i++) c.height += slices[i].height * c.zoom + GAP;
  c.width = GAP + columns * (width * c.zoom + GAP);
  size_t bytes = (size_t)c.height * (size_t)c.width * 3;
  c.rgb = ebb_pool_take(pool, bytes);
  memset(c.rgb, BACKGROUND, bytes);
  return c;
}

static void draw(canvas *c, const ebb_overlay_slice *slices, int count, int columns, ebb_pool *pool)
{
  int top = GAP, step = (c->width - GAP) / columns;
  for (int i = 0; i < count; i++) {
    const ebb_overlay_slice *s = &slices[i];
    const uint16_t *panels[COLUMNS] = {NULL, s->label ? s->label : s->predicted, s->predicted};
    float low, high;
    find_range(s, &low, &high, pool);
    for (int k = 0; k < columns; k++) draw_panel(c, s, panels[k], top, GAP + k * step, low, high);
    top += s->height * c->zoom + GAP;
  }
}

ebb_status ebb_overlay_write(const char *path, const ebb_overlay_slice *slices, int count)
{
  ebb_pool  pool = {0};
  int       columns = slices[0].label ? COLUMNS : COLUMNS - 1;
  canvas    c = make_canvas(slices, count, columns, &pool);
  draw(&c, slices, count, columns, &pool);
  ebb_status status = ebb_png_write(path, c.rgb, c.height, c.width);
  ebb_pool_clear(&pool);
  return status;
}
