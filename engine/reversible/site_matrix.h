/* site_matrix.h -- one matrix at every site, in place: what the 1x1 convolutions with an inverse are made of.
 * Owns: the product, and how such a layer's scratch is laid out. Must not know: what kind of matrix, where its parameters are. */
#pragma once
#include "base/view.h"

/* v = v M^T or, transposed, v M: y = M x, or M^T x, at each site. m (c, c), row-major; `rows`: scratch, as below. */
void ebb_site_matrix(ebb_view v, const ebb_real *m, bool transposed, ebb_real *rows);

/* Scratch of a layer of c channels: so many doubles, in which its matrix is made; a matrix (c, c); some rows for the product. */
typedef struct ebb_site_desk { double *doubles; ebb_real *matrix, *rows; } ebb_site_desk;
size_t        ebb_site_scratch(size_t doubles, int c);
ebb_site_desk ebb_site_desk_of(void *scratch, size_t doubles, int c);
