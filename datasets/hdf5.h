/* hdf5.h -- the only reader of users' files: describe what is there, read a box of it.
 * Owns: libhdf5 as far as users' files go, and the defence against what such files may hold. Must not know: what the
 * numbers mean. No HDF5 type crosses this line and all that does is plain data, so that the reader can later live in
 * a process of its own.
 *
 * Never opened: other files (external links, external storage, virtual datasets), plugins, pipes and devices. */
#pragma once
#include <stdint.h>

#include "base/arena.h"

#define EBB_H5_RANK 6                          /* axes a dataset may have                        */
#define EBB_H5_DATASETS 4096                   /* datasets and groups that are listed            */
#define EBB_H5_CHUNK_MOST ((size_t)256 << 20)  /* bytes of a chunk: reading one number needs all */

/* What a value is in memory; files may hold it in either byte order. */
typedef enum ebb_h5_kind {
  EBB_H5_U8, EBB_H5_I8, EBB_H5_U16, EBB_H5_I16, EBB_H5_U32, EBB_H5_I32, EBB_H5_U64, EBB_H5_I64, EBB_H5_F32, EBB_H5_F64,
} ebb_h5_kind;

static inline bool ebb_h5_is_float(ebb_h5_kind k)
{
  return k >= EBB_H5_F32;
}

/* Value i of `p`, values of kind k. */
static inline double ebb_h5_value(const void *p, ebb_h5_kind k, size_t i)
{
  switch (k) {
  case EBB_H5_U8: return ((const uint8_t *)p)[i];
  case EBB_H5_I8: return ((const int8_t *)p)[i];
  case EBB_H5_U16: return ((const uint16_t *)p)[i];
  case EBB_H5_I16: return ((const int16_t *)p)[i];
  case EBB_H5_U32: return ((const uint32_t *)p)[i];
  case EBB_H5_I32: return ((const int32_t *)p)[i];
  case EBB_H5_U64: return (double)((const uint64_t *)p)[i];
  case EBB_H5_I64: return (double)((const int64_t *)p)[i];
  case EBB_H5_F32: return (double)((const float *)p)[i];
  case EBB_H5_F64: break;
  }
  return ((const double *)p)[i];
}

typedef struct ebb_h5_dataset {
  const char *path;                /* "/train/images"                                                      */
  const char *trouble;             /* why it cannot be read, and the remedy; NULL: it can                  */
  int         rank;
  uint64_t    dims[EBB_H5_RANK];   /* each below 2^31                                                      */
  uint64_t    count;               /* values                                                               */
  ebb_h5_kind kind;                /* in memory                                                            */
  size_t      bytes;               /* of a value in memory                                                 */
  const char *type;                /* in the file: "uint8", "float32 big-endian", "bool"                   */
  bool        chunked, filtered;
  uint64_t    chunk[EBB_H5_RANK];
  size_t      chunk_bytes;
  uint64_t    stored;              /* bytes in the file                                                    */
  const char *storage;             /* "contiguous", "chunks of 83x28x28, shuffle, gzip"                    */
  const char *axes;                /* what its attributes say, a letter an axis: "nhwc"; NULL: nothing     */
  const char *axes_from;           /* the attribute that says so                                           */
  const char *columns;             /* their names, "SST,SLP", as its attribute columns says; NULL: it does not */
  double      element_um[3];       /* attribute element_size_um: D H W, in micrometres; 0: it does not say  */
} ebb_h5_dataset;

typedef struct ebb_h5_list {
  const ebb_h5_dataset *at;        /* (count) in the order of their names                                  */
  int                   count;
} ebb_h5_list;

typedef struct ebb_h5 ebb_h5;

/* Opens a file to read and lists its datasets; everything described lives in the pool. EBB_NOINPUT: not there, not
 * readable. EBB_DATA: not an HDF5 file, or a damaged one. One thread at a time may
 * use it. */
ebb_status ebb_h5_open(ebb_h5 **file, const char *path, ebb_pool *pool);
void       ebb_h5_close(ebb_h5 *file); /* NULL is allowed */

const char *ebb_h5_path(const ebb_h5 *file);
ebb_h5_list ebb_h5_datasets(const ebb_h5 *file);

/* Prepares one of the listed datasets for reading, in place of the one before. */
ebb_status ebb_h5_choose(ebb_h5 *file, const ebb_h5_dataset *d);

/* Reads the box start .. start + count - 1 of the chosen dataset into `out`, C order, values of d->kind. */
ebb_status ebb_h5_read(void *out, ebb_h5 *file, const uint64_t *start, const uint64_t *count);

/* The box of all there is in `count` places of the first axis. */
ebb_status ebb_h5_read_rows(void *out, ebb_h5 *file, uint64_t first, uint64_t count);

/* Bytes libhdf5 takes for itself while it reads this dataset, at most. */
size_t ebb_h5_working_bytes(const ebb_h5_dataset *d);

/* "(60000, 28, 28) uint8", in the pool. */
const char *ebb_h5_describe(const ebb_h5_dataset *d, ebb_pool *pool);

/* Keeps plugins out of libhdf5; see ebb_data_init. */
void ebb_h5_init(void);

/* False if libhdf5 must not be called from two threads at once. */
bool ebb_h5_threads(void);
