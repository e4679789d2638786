/* bijections.h -- the bijections of single values that coupling layers know (kernels.h has their contract). */
#pragma once
#include "kernels/kernels.h"

/* y = x + t */
ebbk_bijection ebb_shift(void);
/* y = (x + t) e^s, p = (s, t). Dinh et al. 2017 (RealNVP), Eq. 4-5, with the shift first, as its authors' code and Glow have it. */
ebbk_bijection ebb_affine(void);
/* Monotonic rational-quadratic spline of `bins` bins on [-bound, bound], the identity outside, p = bins widths, bins heights,
 * bins - 1 slopes at the inner knots, unnormalised; all 0 is the identity. Durkan et al. 2019, "Neural Spline Flows", Eq. 4-8. */
ebbk_bijection ebb_spline(int bins, double bound);
