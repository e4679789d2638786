/* write.h -- makes one HDF5 file, whole or not at all.
 * Owns: the temporary file and putting it in place. Must not know: what is written. */
#pragma once
#include <stdint.h>

#include "base/status.h"

/* Types of the values handed in; `big` is their byte order. Files get little-endian ones. */
typedef struct ebb_write_type {
  enum { EBB_WRITE_UNSIGNED, EBB_WRITE_SIGNED, EBB_WRITE_FLOAT } kind;
  int  bytes; /* 1, 2, 4, 8 */
  bool big;
} ebb_write_type;

/* Value i of values of a type in the machine's order. */
double ebb_write_value(const void *values, ebb_write_type type, size_t i);

typedef struct ebb_write ebb_write;

/* EBB_CANTCREAT if `path` cannot be written to, EBB_USAGE if it is one of the files that are read. */
ebb_status ebb_write_open(ebb_write **w, const char *path, const char *const *inputs, int count);

/* Begins a dataset (groups on the way are made); rows are then appended to it. Compressed by shuffle and gzip. */
ebb_status ebb_write_dataset(ebb_write *w, const char *path, ebb_write_type type, int rank, const uint64_t *dims);
ebb_status ebb_write_rows(ebb_write *w, const void *rows, uint64_t count);
/* Or boxes of it, in any order: start .. start + count - 1. */
ebb_status ebb_write_box(ebb_write *w, const void *values, const uint64_t *start, const uint64_t *count);

/* Attributes of the dataset that was begun last. */
ebb_status ebb_write_text(ebb_write *w, const char *name, const char *text);
ebb_status ebb_write_numbers(ebb_write *w, const char *name, const double *values, int count);

/* Puts the file in place. EBB_IOERR: an older file of that name is what it was. */
ebb_status ebb_write_commit(ebb_write *w);

/* Forgets all; after a commit, too. NULL is allowed. */
void ebb_write_close(ebb_write *w);
