/* augment.c -- see augment.h. */
#include "datasets/augment.h"

#include <math.h>
#include <string.h>

enum { GRID = 6, MARGIN_MOST = 64, NUMBERS = 1 << 12, BLUR_RADIUS = 3 };

/* Number `k` of patch `index`, uniform in [-1, 1). */
static double uniform(ebb_rng g, uint64_t index, uint64_t k)
{
  return 2 * ebb_rng_uniform(g, index * NUMBERS + k) - 1;
}

/* What the numbers are for. */
enum { ROTATE, SCALE = 3, CONTRAST, BRIGHTNESS, GAMMA, NOISE, BLUR, TURN, MIRROR, ELASTIC = 32 };

static size_t sites_of(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

bool ebb_augment_warps(const ebb_augment *a)
{
  return a->rotate > 0 || a->scale > 0 || a->elastic > 0;
}

/* The corner of a patch turned by the angle and stretched, and three standard deviations of the displacement. */
void ebb_augment_margin(int margin[3], const ebb_augment *a, const int patch[3], int rank)
{
  double angle = a->rotate * 3.14159265358979 / 180, longest = 0;
  for (int i = 0; i < 3; i++) longest = fmax(longest, patch[i]);
  double extra = 0.5 * longest * (fmin(sin(fmin(angle, 1.57)) + a->scale, 1)) + 3 * a->elastic + 1;
  for (int i = 0; i < 3; i++) margin[i] = !ebb_augment_warps(a) || i < 3 - rank ? 0 : extra < MARGIN_MOST ? (int)extra : MARGIN_MOST;
}

/* ---- the warp ----------------------------------------------------------------------------------------------------------- */
typedef struct warp {
  double m[3][3];
  double grid[3][GRID][GRID][GRID];  /* displacements of the control points */
} warp;

static void rotate(double m[3][3], int a, int b, double angle)
{
  double c = cos(angle), s = sin(angle);
  for (int i = 0; i < 3; i++) {
    double u = m[i][a], v = m[i][b];
    m[i][a] = c * u + s * v;
    m[i][b] = c * v - s * u;
  }
}

static void draw(warp *w, const ebb_augment *a, int rank, ebb_rng g, uint64_t index)
{
  double degree = 3.14159265358979 / 180 * a->rotate, stretch = 1 + a->scale * uniform(g, index, SCALE);
  memset(w, 0, sizeof *w);
  for (int i = 0; i < 3; i++) w->m[i][i] = i < 3 - rank ? 1 : 1 / stretch;
  if (rank >= 2) rotate(w->m, 1, 2, degree * uniform(g, index, ROTATE));
  if (rank == 3) {
    rotate(w->m, 0, 1, degree * uniform(g, index, ROTATE + 1));
    rotate(w->m, 0, 2, degree * uniform(g, index, ROTATE + 2));
  }
  size_t k = 0;
  for (int d = 3 - rank; d < 3 && a->elastic > 0; d++)
    for (int z = 0; z < (rank == 3 ? GRID : 1); z++)
      for (int y = 0; y < (rank >= 2 ? GRID : 1); y++)
        for (int x = 0; x < GRID; x++, k++) w->grid[d][z][y][x] = 1.6 * a->elastic * ebb_rng_normal(g, index * NUMBERS + ELASTIC + k);
}

/* Weights of the four control points around t in 0 .. GRID - 3, the first of them *first. */
static void spline(double weight[4], int *first, double t)
{
  int i = t < 0 ? 0 : t > GRID - 4 ? GRID - 4 : (int)t;
  double u = fmin(fmax(t - i, 0), 1), v = 1 - u;
  *first = i;
  weight[0] = v * v * v / 6;
  weight[1] = (3 * u * u * u - 6 * u * u + 4) / 6;
  weight[2] = (3 * v * v * v - 6 * v * v + 4) / 6;
  weight[3] = u * u * u / 6;
}

static void displace(double at[3], const warp *w, const int size[3], const int q[3], int rank)
{
  double weight[3][4];
  int    first[3];
  for (int i = 0; i < 3; i++) spline(weight[i], &first[i], (double)q[i] / (size[i] > 1 ? size[i] - 1 : 1) * (GRID - 3));
  for (int z = 0; z < (rank == 3 ? 4 : 1); z++)
    for (int y = 0; y < (rank >= 2 ? 4 : 1); y++)
      for (int x = 0; x < 4; x++) {
        double f = (rank == 3 ? weight[0][z] : 1) * (rank >= 2 ? weight[1][y] : 1) * weight[2][x];
        int    gz = rank == 3 ? first[0] + z : 0, gy = rank >= 2 ? first[1] + y : 0;
        for (int d = 3 - rank; d < 3; d++) at[d] += f * w->grid[d][gz][gy][first[2] + x];
      }
}

/* Where site q of the patch is taken from, in sites of `wide`. */
static void source_of(double at[3], const warp *w, const int size[3], const int wide[3], const int q[3], int rank, bool elastic)
{
  double p[3];
  for (int i = 0; i < 3; i++) p[i] = q[i] - 0.5 * (size[i] - 1);
  for (int i = 0; i < 3; i++) at[i] = w->m[i][0] * p[0] + w->m[i][1] * p[1] + w->m[i][2] * p[2] + 0.5 * (wide[i] - 1);
  if (elastic) displace(at, w, size, q, rank);
}

static size_t site(const int size[3], int z, int y, int x)
{
  return ((size_t)z * (size_t)size[1] + (size_t)y) * (size_t)size[2] + (size_t)x;
}

/* Trilinear, of values (size, channels); 0 beyond. */
static void sample(ebb_real *to, const ebb_real *from, const int size[3], int channels, const double at[3])
{
  int low[3];
  for (int i = 0; i < 3; i++) low[i] = (int)floor(at[i]);
  for (int c = 0; c < channels; c++) to[c] = 0;
  for (int corner = 0; corner < 8; corner++) {
    int    p[3] = {low[0] + (corner >> 2), low[1] + (corner >> 1 & 1), low[2] + (corner & 1)};
    double f = 1;
    bool   inside = true;
    for (int i = 0; i < 3; i++) {
      f *= 1 - fabs(at[i] - p[i]);
      inside &= p[i] >= 0 && p[i] < size[i];
    }
    if (!inside || f == 0) continue;
    const ebb_real *x = from + site(size, p[0], p[1], p[2]) * (size_t)channels;
    for (int c = 0; c < channels; c++) to[c] += (ebb_real)(f * (double)x[c]);
  }
}

static int32_t nearest(const ebb_patch *from, const double at[3])
{
  int p[3];
  for (int i = 0; i < 3; i++) {
    p[i] = (int)floor(at[i] + 0.5);
    if (p[i] < 0 || p[i] >= from->size[i]) return -1;
  }
  return from->labels[site(from->size, p[0], p[1], p[2])];
}

/* Probabilities of which some lie beyond the border add up to 1 again. */
static void make_whole(ebb_real *t, int classes)
{
  ebb_real sum = 0;
  for (int k = 0; k < classes; k++) sum += t[k];
  for (int k = 0; k < classes && sum > 0; k++) t[k] /= sum;
}

void ebb_augment_warp(ebb_patch to, ebb_patch wide, const ebb_augment *a, int rank, ebb_rng g, uint64_t index)
{
  warp w;
  draw(&w, a, rank, g, index);
  for (int z = 0; z < to.size[0]; z++)
    for (int y = 0; y < to.size[1]; y++)
      for (int x = 0; x < to.size[2]; x++) {
        double at[3];
        size_t k = site(to.size, z, y, x);
        source_of(at, &w, to.size, wide.size, (int[3]){z, y, x}, rank, a->elastic > 0);
        sample(to.x + k * (size_t)to.channels, wide.x, wide.size, wide.channels, at);
        to.labels[k] = nearest(&wide, at);
        if (!to.soft_channels) continue;
        ebb_real *t = to.soft + k * (size_t)to.soft_channels;
        sample(t, wide.soft, wide.size, wide.soft_channels, at);
        make_whole(t, to.soft_channels);
      }
}

/* ---- mirrors and turns ---------------------------------------------------------------------------------------------------- */
void ebb_augment_mirror(ebb_patch p, const ebb_augment *a, ebb_patch scratch, ebb_rng g, uint64_t index)
{
  static const char letters[] = "dhw";
  bool   flip[3], any = false;
  int    quarter = a->turn && p.size[1] == p.size[2] ? (int)ebb_rng_below(g, index * NUMBERS + TURN, 4) : 0;
  size_t sites = sites_of(p.size), c = (size_t)p.channels, classes = (size_t)p.soft_channels;
  for (int i = 0; i < 3; i++) {
    flip[i] = strchr(a->mirror, letters[i]) && uniform(g, index, MIRROR + (uint64_t)i) < 0;
    any |= flip[i];
  }
  if (!any && !quarter) return;
  memcpy(scratch.x, p.x, sites * c * sizeof *p.x);
  memcpy(scratch.labels, p.labels, sites * sizeof *p.labels);
  if (classes) memcpy(scratch.soft, p.soft, sites * classes * sizeof *p.soft);
  for (int z = 0; z < p.size[0]; z++)
    for (int y = 0; y < p.size[1]; y++)
      for (int x = 0; x < p.size[2]; x++) {
        int q[3] = {z, y, x};
        for (int i = 0; i < quarter; i++) {
          int t = q[1];
          q[1] = q[2];
          q[2] = p.size[2] - 1 - t;
        }
        for (int i = 0; i < 3; i++)
          if (flip[i]) q[i] = p.size[i] - 1 - q[i];
        size_t to = site(p.size, z, y, x), from = site(p.size, q[0], q[1], q[2]);
        memcpy(p.x + to * c, scratch.x + from * c, c * sizeof *p.x);
        p.labels[to] = scratch.labels[from];
        if (classes) memcpy(p.soft + to * classes, scratch.soft + from * classes, classes * sizeof *p.soft);
      }
}

/* ---- values --------------------------------------------------------------------------------------------------------------- */
/* x -> ((x - low) / (high - low))^exponent (high - low) + low, over all values of a patch. */
static void apply_gamma(ebb_real *x, size_t count, double exponent)
{
  ebb_real low = x[0], high = x[0];
  for (size_t i = 1; i < count; i++) {
    low = x[i] < low ? x[i] : low;
    high = x[i] > high ? x[i] : high;
  }
  double range = (double)high - (double)low;
  if (range == 0) return;
  for (size_t i = 0; i < count; i++)
    x[i] = (ebb_real)(pow(((double)x[i] - (double)low) / range, exponent) * range + (double)low);
}

/* Along one axis; the border's value goes on beyond it. */
static void blur_along(ebb_patch p, ebb_real *scratch, int axis, double sigma)
{
  double weight[2 * BLUR_RADIUS + 1], sum = 0;
  size_t c = (size_t)p.channels;
  for (int i = -BLUR_RADIUS; i <= BLUR_RADIUS; i++) sum += weight[i + BLUR_RADIUS] = exp(-0.5 * i * i / (sigma * sigma));
  memcpy(scratch, p.x, sites_of(p.size) * c * sizeof *p.x);
  for (int z = 0; z < p.size[0]; z++)
    for (int y = 0; y < p.size[1]; y++)
      for (int x = 0; x < p.size[2]; x++)
        for (size_t k = 0; k < c; k++) {
          double v = 0;
          for (int i = -BLUR_RADIUS; i <= BLUR_RADIUS; i++) {
            int q[3] = {z, y, x};
            q[axis] = q[axis] + i < 0 ? 0 : q[axis] + i >= p.size[axis] ? p.size[axis] - 1 : q[axis] + i;
            v += weight[i + BLUR_RADIUS] / sum * (double)scratch[site(p.size, q[0], q[1], q[2]) * c + k];
          }
          p.x[site(p.size, z, y, x) * c + k] = (ebb_real)v;
        }
}

void ebb_augment_values(ebb_patch p, const ebb_augment *a, ebb_real *scratch, int rank, ebb_rng g, uint64_t index)
{
  size_t  count = sites_of(p.size) * (size_t)p.channels;
  double  sigma = a->blur * fabs(uniform(g, index, BLUR)), noise = a->noise * fabs(uniform(g, index, NOISE));
  double  factor = 1 + a->contrast * uniform(g, index, CONTRAST), shift = a->brightness * uniform(g, index, BRIGHTNESS);
  ebb_rng per_site = {g.seed ^ UINT64_C(0x9e3779b97f4a7c15), g.purpose, g.time};
  if (sigma > 0.1)
    for (int axis = 3 - rank; axis < 3; axis++) blur_along(p, scratch, axis, sigma);
  if (a->gamma > 0) apply_gamma(p.x, count, exp(a->gamma * uniform(g, index, GAMMA)));
  if (a->contrast > 0 || a->brightness > 0)
    for (size_t i = 0; i < count; i++) p.x[i] = (ebb_real)((double)p.x[i] * factor + shift);
  if (noise > 0)
    for (size_t i = 0; i < count; i++) p.x[i] += (ebb_real)(noise * ebb_rng_normal(per_site, index * count + i));
}
