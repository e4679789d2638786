/* version.c -- see version.h. Versions of libraries come from the build (meson), the rest from the running machine. */
#include "version.h"

#include "base/real.h"
#include "base/threads.h"
#include "kernels/kernels.h"

#ifndef EBB_VERSION
#define EBB_VERSION "unknown"
#endif
#ifndef EBB_BLAS_VERSION
#define EBB_BLAS_VERSION "unknown"
#endif
#ifndef EBB_HDF5_VERSION
#define EBB_HDF5_VERSION "unknown"
#endif

void ebb_version_print(FILE *out)
{
  fprintf(out, "ebb %s\n", EBB_VERSION);
  fprintf(out, "numbers: %s, stream fixed point with %d fractional bits\n", sizeof(ebb_real) == 4 ? "float" : "double",
          EBB_FIXED_BITS);
  fprintf(out, "blas: OpenBLAS %s\nhdf5: %s\n", EBB_BLAS_VERSION, EBB_HDF5_VERSION);
  fprintf(out, "isa: %s\nthreads: %d\n", ebbk->isa, ebb_threads());
}
