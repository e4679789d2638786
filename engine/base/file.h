/* file.h -- files that are written whole or not at all.
 * Owns: the temporary file, fsync and rename. Must not know: what is in a file. */
#pragma once
#include "base/arena.h"

typedef struct ebb_bytes_part { const void *bytes; size_t size; } ebb_bytes_part;

/* Writes the parts one after the other as file `path`: a temporary file beside it, fsync, rename, fsync of the folder.
 * EBB_CANTCREAT: the folder is not there or not writable; EBB_IOERR: the disk is full or failed. In both cases what
 * stood at `path` before stays as it was. */
ebb_status ebb_file_replace(const char *path, const ebb_bytes_part *parts, size_t count);

/* The name of a temporary file beside `path`, in the pool; and putting it at `path` once it is whole: fsync, rename, fsync of
 * the folder. EBB_IOERR: the disk is full or failed; the temporary file is gone, what stood at `path` stays as it was. */
const char *ebb_file_temporary(const char *path, ebb_pool *pool);
ebb_status  ebb_file_put(const char *path, const char *temporary);

/* Makes the folder and those above it where they are missing. */
ebb_status ebb_folder_make(const char *path);
