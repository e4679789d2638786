/* version.h -- what this program is made of. */
#pragma once
#include <stdio.h>

#include "base/option.h"

/* Version, number type, BLAS, HDF5, instruction set and threads, one a line. */
void ebb_version_print(FILE *out);
