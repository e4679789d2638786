/* sample.c -- see sample.h. */
#include "datasets/sample.h"

#include "base/rng.h"

static int draw(uint32_t bits, int pad)
{
  return (int)(((uint64_t)bits * (uint64_t)(2 * pad + 1)) >> 32) - pad;
}

ebb_crop ebb_crop_draw(ebb_shape s, int pad, bool flip, uint64_t seed, uint32_t epoch, uint32_t sample)
{
  uint32_t b[4];
  ebb_rng_bits(b, (ebb_rng){.seed = seed, .purpose = EBB_RNG_AUGMENT, .time = epoch}, sample);
  return (ebb_crop){.w = draw(b[0], pad),
                    .h = s.rank >= 2 ? draw(b[1], pad) : 0,
                    .d = s.rank >= 3 ? draw(b[2], pad) : 0,
                    .flip = flip && (b[3] & 1)};
}

/* n values `step` apart become n values `y_step` apart: y = (x - mean) / std. False: one is not finite. */
typedef bool row_function(ebb_real *y, ptrdiff_t y_step, const void *in, ptrdiff_t at, ptrdiff_t step, int n,
                          ebb_norm m);

#define ROW(name, type)                                                                                                \
  static bool name(ebb_real *y, ptrdiff_t y_step, const void *in, ptrdiff_t at, ptrdiff_t step, int n, ebb_norm m)     \
  {                                                                                                                    \
    const type *x = (const type *)in + at;                                                                             \
    double scale = 1.0 / m.std;                                                                                        \
    bool finite = true;                                                                                                \
    for (ptrdiff_t i = 0; i < n; i++) {                                                                                \
      double v = (double)x[i * step];                                                                                  \
      finite &= v - v == 0.0;                                                                                          \
      y[i * y_step] = (ebb_real)((v - m.mean) * scale);                                                                \
    }                                                                                                                  \
    return finite;                                                                                                     \
  }

ROW(row_u8, uint8_t)
ROW(row_i8, int8_t)
ROW(row_u16, uint16_t)
ROW(row_i16, int16_t)
ROW(row_u32, uint32_t)
ROW(row_i32, int32_t)
ROW(row_u64, uint64_t)
ROW(row_i64, int64_t)
ROW(row_f32, float)
ROW(row_f64, double)

static row_function *const rows[] = {row_u8,  row_i8,  row_u16, row_i16, row_u32,
                                     row_i32, row_u64, row_i64, row_f32, row_f64};

/* The outputs first .. last - 1 whose input lies within 0 .. size - 1. */
typedef struct range {
  int first, last;
} range;

static range covered(int size, int shift)
{
  range r = {shift < 0 ? -shift : 0, shift > 0 ? size - shift : size};
  if (r.first > size) r.first = size;
  if (r.last < r.first) r.last = r.first;
  return r;
}

static void clear(ebb_real *y, ptrdiff_t values)
{
  for (ptrdiff_t i = 0; i < values; i++) y[i] = 0;
}

/* One row of one channel; columns beyond the input stay clear. */
static bool place_row(ebb_real *y, const void *in, ebb_h5_kind kind, const ebb_axes *a, ptrdiff_t at, ebb_norm m,
                      ebb_crop crop)
{
  range w = covered(a->shape.w, crop.w);
  ptrdiff_t c = a->shape.c, step = a->w;
  int n = w.last - w.first;
  if (n == 0) return true;
  if (!crop.flip) return rows[kind](y + w.first * c, c, in, at + (w.first + crop.w) * step, step, n, m);
  /* output column w comes from column W - 1 - w of what it would be unflipped */
  return rows[kind](y + (a->shape.w - w.last) * c, c, in, at + (w.last - 1 + crop.w) * step, -step, n, m);
}

bool ebb_sample_place(ebb_real *y, const void *in, ebb_h5_kind kind, const ebb_axes *a, const ebb_norm *norm,
                      ebb_crop crop)
{
  ebb_shape s = a->shape;
  range d = covered(s.d, crop.d), h = covered(s.h, crop.h);
  bool finite = true;
  if (crop.d || crop.h || crop.w) clear(y, (ptrdiff_t)ebb_count(s));
  for (int i = d.first; i < d.last; i++)
    for (int j = h.first; j < h.last; j++) {
      ebb_real *row = y + ((ptrdiff_t)i * s.h + j) * s.w * s.c;
      for (int c = 0; c < s.c; c++)
        finite &= place_row(row + c, in, kind, a, (i + crop.d) * a->d + (j + crop.h) * a->h + c * a->c, norm[c], crop);
    }
  return finite;
}
