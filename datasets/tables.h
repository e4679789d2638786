/* tables.h -- tables whose rows a density is learnt of: what their columns must be like.
 * Owns: the law that a density needs. Must not know: images. */
#pragma once
#include "datasets/data.h"

/* Reads the whole set. EBB_DATA: more than EBB_LIST_MOST columns, NaN or Inf, a column that is constant, takes few values
 * or nothing but whole numbers, or one value that many rows share. */
ebb_status ebb_table_check(const ebb_set *s, ebb_h5 *f, ebb_notes *notes);

/* EBB_DATA: NaN or Inf in this row, whose numbers are as in the file. */
ebb_status ebb_table_refuse(const ebb_set *s, const void *numbers, uint64_t row);
