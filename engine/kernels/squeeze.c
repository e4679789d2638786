/* squeeze.c -- permutations in place, of 32-bit (in the double build 64-bit) words: patches of sites become channels;
 * channels are rotated, or take any other order. Owns: the order of channels. Planes that are squeezed together (or rows, where only rows are) keep their place in memory,
 * so that each such slab is copied aside and written back; slabs are shared among the threads. Bound by memory. */
#include "kernels/tables.h"

#include <string.h>
#ifdef _OPENMP
#include <omp.h>
#endif

#ifdef EBB_DOUBLE
typedef uint64_t word __attribute__((may_alias));
#else
typedef uint32_t word __attribute__((may_alias));
#endif

/* Slabs one behind the other, each `size` words: stride[0] planes, or where that is 1, stride[1] rows. */
typedef struct slabs { size_t count, size; int rows; } slabs;

static slabs cut(const ebbk_squeeze *g)
{
  size_t row = (size_t)g->in[2] * (size_t)g->c, planes = (size_t)g->n * (size_t)g->in[0], height = (size_t)g->in[1];
  if (g->stride[0] > 1)
    return (slabs){planes / (size_t)g->stride[0], (size_t)g->stride[0] * height * row, g->in[1] / g->stride[1]};
  return (slabs){planes * height / (size_t)g->stride[1], (size_t)g->stride[1] * row, 1};
}

size_t ebbk_squeeze_scratch(const ebbk_squeeze *g, int threads)
{
  slabs  s = cut(g);
  size_t most = (size_t)threads < s.count ? (size_t)threads : s.count;
  return most * s.size * sizeof(word);
}

/* The place of a patch's site k among the channels of one input channel. */
static int rank_of(const ebbk_squeeze *g, int k)
{
  static const int diagonals[4] = {0, 2, 3, 1};
  return g->checkerboard && g->stride[1] == 2 && g->stride[2] == 2 ? k / 4 * 4 + diagonals[k % 4] : k;
}

/* Words from a patch's first site to its site k. */
static size_t site_at(const ebbk_squeeze *g, int k)
{
  int    plane = g->stride[1] * g->stride[2], d = k / plane, h = k % plane / g->stride[2], w = k % g->stride[2];
  size_t row = (size_t)d * (size_t)g->in[1] + (size_t)h;
  return (row * (size_t)g->in[2] + (size_t)w) * (size_t)g->c;
}

/* The channels of an output site, and of its input sites from the first on; with `undo` the other way. */
static void exchange(word *to, const word *from, const ebbk_squeeze *g, int sites, bool undo)
{
  int step = g->checkerboard ? 1 : sites;
  for (int k = 0; k < sites; k++) {
    size_t site = site_at(g, k), patch = (size_t)rank_of(g, k) * (size_t)(g->checkerboard ? g->c : 1);
    for (int ch = 0; ch < g->c; ch++, site++, patch += (size_t)step) {
      if (undo) to[site] = from[patch];
      else to[patch] = from[site];
    }
  }
}

/* The same where a channel's sites, which begin at words `site`, are neighbours; a constant number of them, so that vectors are
 * interleaved. */
enum { MOST_INTERLEAVED = 8 };

static inline __attribute__((always_inline)) void interleave(word *restrict to, const word *restrict from, const size_t *site, int c,
                                                             const int sites, bool undo)
{
  size_t at[MOST_INTERLEAVED];
  for (int k = 0; k < sites; k++) at[k] = site[k];
  if (undo)
    for (int ch = 0; ch < c; ch++)
      for (int k = 0; k < sites; k++) to[at[k] + (size_t)ch] = from[ch * sites + k];
  else
    for (int ch = 0; ch < c; ch++)
      for (int k = 0; k < sites; k++) to[ch * sites + k] = from[at[k] + (size_t)ch];
}

static void exchange_patch(word *to, const word *from, const ebbk_squeeze *g, const size_t *site, int sites, bool undo)
{
  switch (g->checkerboard ? 0 : sites) {
  case 2: interleave(to, from, site, g->c, 2, undo); break;
  case 4: interleave(to, from, site, g->c, 4, undo); break;
  case 8: interleave(to, from, site, g->c, 8, undo); break;
  default: exchange(to, from, g, sites, undo);
  }
}

/* One row of patches: output row `h` of the slab. */
static void exchange_row(word *to, const word *from, const ebbk_squeeze *g, int h, bool undo)
{
  int    sites = g->stride[0] * g->stride[1] * g->stride[2], width = g->in[2] / g->stride[2];
  size_t patch = (size_t)sites * (size_t)g->c, step = (size_t)g->stride[2] * (size_t)g->c;
  size_t row = (size_t)h * (size_t)width * patch, first = (size_t)(h * g->stride[1]) * (size_t)g->in[2] * (size_t)g->c;
  size_t site[MOST_INTERLEAVED];
  for (int k = 0; k < sites && k < MOST_INTERLEAVED; k++) site[k] = site_at(g, k);
  for (int w = 0; w < width; w++, row += patch, first += step)
    exchange_patch(to + (undo ? first : row), from + (undo ? row : first), g, site, sites, undo);
}

void ebbk_squeeze_words(void *x, const ebbk_squeeze *g, bool undo, void *scratch)
{
  slabs s = cut(g);
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < s.count; i++) {
    int thread = 0;
#ifdef _OPENMP
    thread = omp_get_thread_num();
#endif
    word *slab = (word *)x + i * s.size, *aside = (word *)scratch + (size_t)thread * s.size;
    memcpy(aside, slab, s.size * sizeof *slab);
    for (int h = 0; h < s.rows; h++) exchange_row(slab, aside, g, h, undo);
  }
}

/* ---- rotation ------------------------------------------------------------------------------------------------------ */
static void swap(word *restrict a, word *restrict b, size_t n)
{
  for (size_t i = 0; i < n; i++) {
    word w = a[i];
    a[i] = b[i];
    b[i] = w;
  }
}

/* The first `a` words change places with the b behind them: the shorter part goes where it belongs, until nothing is left
 * (Gries, Mills 1981, "Swapping sections"). */
static void rotate_row(word *p, size_t a, size_t b)
{
  while (a > 0 && b > 0)
    if (a <= b) {
      swap(p, p + b, a);
      b -= a;
    } else {
      swap(p, p + a, b);
      p += b;
      a -= b;
    }
}

void ebbk_rotate_words(void *x, int xs, int count, size_t rows, int c)
{
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < rows; i++) rotate_row((word *)x + i * (size_t)xs, (size_t)(c - count), (size_t)count);
}

/* ---- any order ------------------------------------------------------------------------------------------------------- */
size_t ebbk_permute_scratch(int c, int threads)
{
  return (size_t)threads * (size_t)c * sizeof(word);
}

void ebbk_permute(void *x, int xs, const int *order, bool undo, size_t rows, int c, void *scratch)
{
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < rows; i++) {
    int thread = 0;
#ifdef _OPENMP
    thread = omp_get_thread_num();
#endif
    word *row = (word *)x + i * (size_t)xs, *aside = (word *)scratch + (size_t)thread * (size_t)c;
    memcpy(aside, row, (size_t)c * sizeof *row);
    for (int j = 0; j < c; j++) {
      if (undo) row[order[j]] = aside[j];
      else row[j] = aside[order[j]];
    }
  }
}
