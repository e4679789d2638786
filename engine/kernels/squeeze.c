/* squeeze.c -- permutations in place, of 32-bit (in the double build 64-bit) words: patches of sites become channels;
 * channels are rotated. Owns: the order of channels. Planes that are squeezed together (or rows, where only rows are) keep their place in memory,
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

/* `patch` (channels of one output site) and the words `site` of one of its sites k. */
static void exchange(word *to, const word *from, const ebbk_squeeze *g, int k, int sites, bool undo)
{
  int    rank = rank_of(g, k), step = g->checkerboard ? 1 : sites;
  size_t first = g->checkerboard ? (size_t)rank * (size_t)g->c : (size_t)rank;
  for (int ch = 0; ch < g->c; ch++) {
    size_t in_patch = first + (size_t)ch * (size_t)step;
    if (undo) to[ch] = from[in_patch];
    else to[in_patch] = from[ch];
  }
}

/* One row of patches: output row `h` of the slab. */
static void exchange_row(word *to, const word *from, const ebbk_squeeze *g, int h, bool undo)
{
  int    sites = g->stride[0] * g->stride[1] * g->stride[2], width = g->in[2] / g->stride[2], k = 0;
  size_t c = (size_t)g->c;
  for (int kd = 0; kd < g->stride[0]; kd++)
    for (int kh = 0; kh < g->stride[1]; kh++)
      for (int kw = 0; kw < g->stride[2]; kw++, k++) {
        size_t row = ((size_t)kd * (size_t)g->in[1] + (size_t)(h * g->stride[1] + kh)) * (size_t)g->in[2];
        for (int w = 0; w < width; w++) {
          size_t site = (row + (size_t)(w * g->stride[2] + kw)) * c;
          size_t patch = ((size_t)h * (size_t)width + (size_t)w) * (size_t)sites * c;
          exchange(to + (undo ? site : patch), from + (undo ? patch : site), g, k, sites, undo);
        }
      }
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
static void reverse_words(word *p, int n)
{
  for (int i = 0; i < n / 2; i++) {
    word w = p[i];
    p[i] = p[n - 1 - i];
    p[n - 1 - i] = w;
  }
}

/* A rotation is three reversals. */
void ebbk_rotate_words(void *x, int xs, int count, size_t rows, int c)
{
#pragma omp parallel for schedule(static)
  for (size_t i = 0; i < rows; i++) {
    word *p = (word *)x + i * (size_t)xs;
    reverse_words(p, c);
    reverse_words(p, count);
    reverse_words(p + count, c - count);
  }
}
