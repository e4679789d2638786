/* surface.h -- how far the surfaces of two segmentations are apart.
 * Owns: surfaces, the distance transform. Must not know: networks, files. */
#pragma once
#include <stdint.h>

#include "base/status.h"

typedef struct ebb_surface {
  double hd95;  /* 95th percentile of the distances from each surface site to the other surface, both ways together */
  double assd;  /* average symmetric surface distance: the mean of the two ways' means                              */
} ebb_surface;

/* Of the sites whose value is `class` in a and in b (D, H, W); a site is of the surface if one of its neighbours along an axis is not
 * in the set, or is beyond the border. Distances are between centres, in the unit of `spacing` (D H W). Both are NaN where
 * either set is empty. As MedPy defines hd95 and assd; by the distance transform of Felzenszwalb and Huttenlocher (Theory of
 * Computing 8, 2012), which is exact and linear in the sites. EBB_OSERR: no memory. */
ebb_status ebb_surface_measure(ebb_surface *s, const uint16_t *a, const uint16_t *b, int class, const int size[3], const double spacing[3]);
