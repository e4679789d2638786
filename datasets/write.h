/* write.h -- makes one HDF5 file, whole or not at all.
 * Owns: building it in memory, temporary file, fsync, rename. Must not know: what is converted.
 * In memory, because libhdf5 crashes at exit after it could not write to a full disk. */
#pragma once
#include <stdint.h>

#include "base/status.h"

/* Types of the values handed in; `big` is their byte order. Files get little-endian ones. */
typedef struct ebb_write_type {
  enum { EBB_WRITE_UNSIGNED, EBB_WRITE_SIGNED, EBB_WRITE_FLOAT } kind;
  int  bytes; /* 1, 2, 4, 8 */
  bool big;
} ebb_write_type;

typedef struct ebb_write ebb_write;

/* EBB_CANTCREAT if `path` cannot be written to, EBB_USAGE if it is one of the files that are read. */
ebb_status ebb_write_open(ebb_write **w, const char *path, const char *const *inputs, int count);

/* Begins a dataset (groups on the way are made); rows are then appended to it. Compressed by shuffle and gzip. */
ebb_status ebb_write_dataset(ebb_write *w, const char *path, ebb_write_type type, int rank, const uint64_t *dims);
ebb_status ebb_write_rows(ebb_write *w, const void *rows, uint64_t count);

/* Puts the file in place. EBB_IOERR: an older file of that name is what it was. */
ebb_status ebb_write_commit(ebb_write *w);

/* Forgets all; after a commit, too. NULL is allowed. */
void ebb_write_close(ebb_write *w);
