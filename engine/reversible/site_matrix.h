/* site_matrix.h -- one matrix at every site, in place: what the 1x1 convolutions with an inverse are made of.
 * Must not know: what kind of matrix, where its parameters are. */
#pragma once
#include "base/view.h"

enum { EBB_SITE_ROWS = 4096 }; /* sites at a time */

/* v = v M^T or, transposed, v M: y = M x, or M^T x, at each site. m (c, c), row-major; `rows` (EBB_SITE_ROWS, c) is scratch. */
void ebb_site_matrix(ebb_view v, const ebb_real *m, bool transposed, ebb_real *rows);
