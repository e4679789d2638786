/* view.h -- shapes and views of tensors.
 * Owns: the layout law. Must not know: what a tensor means. Views own nothing.
 *
 * Tensors are channels-last, (N, D, H, W, C); 1-D and 2-D data have leading ones (D = 1, H = 1). A view adds a
 * pixel stride, so that a range of channels is a view too: halves and skips cost nothing. */
#pragma once
#include "base/real.h"
#include "base/status.h"

typedef struct ebb_shape {
  int  rank;             /* spatial dimensions, 1 to 3; 0: no shape ("does not fit")  */
  int  n, d, h, w, c;
  bool stream;           /* the values are fixed-point (ebb_fixed), not ebb_real       */
} ebb_shape;

typedef struct ebb_view {
  ebb_shape s;
  int       stride;      /* values between neighbouring pixels, >= s.c                 */
  void     *p;           /* ebb_real or ebb_fixed, by s.stream; NULL: not wanted       */
  bool      add;         /* a gradient that is added to what is there                  */
} ebb_view;

ebb_shape ebb_shape_none(void);
bool      ebb_shape_equal(ebb_shape a, ebb_shape b);
ebb_shape ebb_shape_channels(ebb_shape s, int c);         /* the same sites, c channels            */
ebb_shape ebb_shape_real(ebb_shape s);                    /* the same sizes, real values            */
size_t    ebb_sites(ebb_shape s);                         /* N D H W                               */
size_t    ebb_count(ebb_shape s);                         /* N D H W C                             */
size_t    ebb_bytes(ebb_shape s);                         /* of a dense tensor                     */

/* "32x32x3" for H W C and the like, without N; returns `text`. */
#define EBB_SHAPE_TEXT 80
char *ebb_shape_print(char text[EBB_SHAPE_TEXT], ebb_shape s);

ebb_view ebb_view_of(void *p, ebb_shape s);               /* dense                                 */
ebb_view ebb_view_channels(ebb_view v, int first, int c); /* channels first .. first + c - 1       */
/* The same memory as a tensor of shape s; of other channels only if it is dense, and as large.    */
ebb_view ebb_view_retyped(ebb_view v, ebb_shape s);

static inline ebb_real *ebb_reals(ebb_view v)
{
  EBB_ASSERT(!v.s.stream, "a stream where real values are expected (%d channels)", v.s.c);
  return v.p;
}
static inline ebb_fixed *ebb_fixeds(ebb_view v)
{
  EBB_ASSERT(v.s.stream, "real values where a stream is expected (%d channels)", v.s.c);
  return v.p;
}
