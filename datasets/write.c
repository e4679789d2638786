/* write.c -- see write.h. */
#define _GNU_SOURCE
#define H5_USE_110_API
#include "datasets/write.h"

#include <errno.h>
#include <hdf5.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "datasets/hdf5.h"

#define CHUNK_BYTES ((uint64_t)128 << 10) /* chunks of samples come as close to this as they can from below */
#define CACHE_BYTES ((size_t)16 << 20)    /* chunks of 128 channels, written plane by plane */
#define GZIP_LEVEL  4
#define RANK_MOST   EBB_H5_RANK

struct ebb_write {
  const char *path, *temporary;
  ebb_pool pool;
  hid_t file, dataset, memory_type;
  int rank;
  hsize_t dims[RANK_MOST], row;
};

/* ---- opening --------------------------------------------------------------------------------------------------- */
static const char *folder_of(const char *path, ebb_pool *pool)
{
  const char *slash = strrchr(path, '/');
  return !slash ? "." : slash == path ? "/" : ebb_pool_text(pool, "%.*s", (int)(slash - path), path);
}

static ebb_status require_target(const char *path, const char *folder, const char *const *inputs, int count)
{
  struct stat out, in;
  bool exists = stat(path, &out) == 0;
  if (exists && !S_ISREG(out.st_mode))
    return ebb_fail(EBB_CANTCREAT, "%s: expected a file to write, found something else\nhint: name a file", path);
  for (int i = 0; exists && i < count; i++)
    if (stat(inputs[i], &in) == 0 && in.st_dev == out.st_dev && in.st_ino == out.st_ino)
      return ebb_fail(EBB_USAGE,
                      "%s: expected another file to write than those read\nhint: the last name is the file "
                      "that is written",
                      path);
  if (access(folder, W_OK) != 0)
    return ebb_fail(EBB_CANTCREAT, "%s: expected a folder to write to, %s: %s", path, folder, strerror(errno));
  return EBB_OK;
}

static ebb_status broken(const ebb_write *w, const char *doing)
{
  return ebb_fail(EBB_IOERR, "%s: libhdf5 failed while %s: %s\nhint: is the disk full? What stood there before is unchanged", w->path, doing,
                  strerror(errno));
}

ebb_status ebb_write_open(ebb_write **out, const char *path, const char *const *inputs, int count)
{
  *out = NULL;
  ebb_h5_init();
  ebb_pool pool = {0};
  ebb_write *w = EBB_POOL_NEW(&pool, ebb_write);
  const char *folder = folder_of(path, &pool), *own = ebb_pool_text(&pool, "%s", path);
  *w = (ebb_write){.path = own, .temporary = ebb_file_temporary(own, &pool), .pool = pool, .file = -1, .dataset = -1};
  ebb_status status = require_target(path, folder, inputs, count);
  if (status == EBB_OK) {
    hid_t access_list = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_sec2(access_list);
    H5Pset_fclose_degree(access_list, H5F_CLOSE_STRONG);
    w->file = H5Fcreate(w->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access_list);
    H5Pclose(access_list);
    if (w->file < 0) status = broken(w, "making a file");
  }
  if (status == EBB_OK) return *out = w, EBB_OK;
  ebb_write_close(w);
  return status;
}

void ebb_write_close(ebb_write *w)
{
  if (!w) return;
  ebb_pool pool = w->pool; /* holds w itself */
  if (w->dataset >= 0) H5Dclose(w->dataset);
  if (w->file >= 0) {
    H5Fclose(w->file);
    unlink(w->temporary);
  }
  ebb_pool_clear(&pool);
}

/* ---- datasets -------------------------------------------------------------------------------------------------- */
static hid_t standard_type(ebb_write_type t, bool big)
{
  int power = t.bytes == 1 ? 0 : t.bytes == 2 ? 1 : t.bytes == 4 ? 2 : 3;
  const hid_t unsigneds[2][4] = {{H5T_STD_U8LE, H5T_STD_U16LE, H5T_STD_U32LE, H5T_STD_U64LE},
                                 {H5T_STD_U8BE, H5T_STD_U16BE, H5T_STD_U32BE, H5T_STD_U64BE}};
  const hid_t signeds[2][4] = {{H5T_STD_I8LE, H5T_STD_I16LE, H5T_STD_I32LE, H5T_STD_I64LE},
                               {H5T_STD_I8BE, H5T_STD_I16BE, H5T_STD_I32BE, H5T_STD_I64BE}};
  const hid_t floats[2][2] = {{H5T_IEEE_F32LE, H5T_IEEE_F64LE}, {H5T_IEEE_F32BE, H5T_IEEE_F64BE}};
  if (t.kind == EBB_WRITE_FLOAT) return floats[big][power == 3];
  return t.kind == EBB_WRITE_SIGNED ? signeds[big][power] : unsigneds[big][power];
}

double ebb_write_value(const void *values, ebb_write_type t, size_t i)
{
  int power = t.bytes == 1 ? 0 : t.bytes == 2 ? 1 : t.bytes == 4 ? 2 : 3;
  static const ebb_h5_kind unsigneds[] = {EBB_H5_U8, EBB_H5_U16, EBB_H5_U32, EBB_H5_U64}, signeds[] = {EBB_H5_I8, EBB_H5_I16, EBB_H5_I32, EBB_H5_I64};
  ebb_h5_kind kind = t.kind == EBB_WRITE_FLOAT ? (power == 3 ? EBB_H5_F64 : EBB_H5_F32) : t.kind == EBB_WRITE_SIGNED ? signeds[power] : unsigneds[power];
  return ebb_h5_value(values, kind, i);
}

/* From the last axis on, as much as fits. */
static void choose_chunk(hsize_t *chunk, int rank, const hsize_t *dims, int bytes)
{
  hsize_t row = (hsize_t)bytes;
  for (int i = rank - 1; i >= 0; i--) {
    hsize_t fit = CHUNK_BYTES / row;
    chunk[i] = fit < 1 ? 1 : fit < dims[i] ? fit : dims[i];
    row *= dims[i];
    if (row > CHUNK_BYTES) row = CHUNK_BYTES + 1;
  }
}

ebb_status ebb_write_dataset(ebb_write *w, const char *path, ebb_write_type type, int rank, const uint64_t *dims)
{
  hsize_t chunk[RANK_MOST];
  EBB_ASSERT(rank >= 1 && rank <= RANK_MOST, "%s: %d axes", path, rank);
  for (int i = 0; i < rank; i++) {
    EBB_ASSERT(dims[i] > 0, "%s: axis %d is empty", path, i);
    w->dims[i] = dims[i];
  }
  choose_chunk(chunk, rank, w->dims, type.bytes);
  if (w->dataset >= 0) H5Dclose(w->dataset);
  hid_t space = H5Screate_simple(rank, w->dims, NULL);
  hid_t links = H5Pcreate(H5P_LINK_CREATE), access_list = H5Pcreate(H5P_DATASET_ACCESS), creation = H5Pcreate(H5P_DATASET_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  H5Pset_chunk(creation, rank, chunk);
  H5Pset_chunk_cache(access_list, H5D_CHUNK_CACHE_NSLOTS_DEFAULT, CACHE_BYTES, 1);
  H5Pset_shuffle(creation);
  H5Pset_deflate(creation, GZIP_LEVEL);
  H5Pset_obj_track_times(creation, 0); /* the same input makes the same bytes */
  w->dataset = H5Dcreate2(w->file, path, standard_type(type, false), space, links, creation, access_list);
  w->memory_type = standard_type(type, type.big);
  w->rank = rank;
  w->row = 0;
  H5Pclose(creation);
  H5Pclose(access_list);
  H5Pclose(links);
  H5Sclose(space);
  return w->dataset < 0 ? broken(w, "making a dataset") : EBB_OK;
}

ebb_status ebb_write_box(ebb_write *w, const void *values, const uint64_t *start, const uint64_t *count)
{
  hsize_t from[RANK_MOST], size[RANK_MOST];
  for (int i = 0; i < w->rank; i++) {
    from[i] = start[i];
    size[i] = count[i];
    EBB_ASSERT(start[i] + count[i] <= w->dims[i], "%s: axis %d: %llu of %llu", w->path, i, (unsigned long long)(start[i] + count[i]),
               (unsigned long long)w->dims[i]);
  }
  hid_t space = H5Dget_space(w->dataset), memory = H5Screate_simple(w->rank, size, NULL);
  herr_t result = H5Sselect_hyperslab(space, H5S_SELECT_SET, from, NULL, size, NULL);
  if (result >= 0) result = H5Dwrite(w->dataset, w->memory_type, memory, space, H5P_DEFAULT, values);
  H5Sclose(memory);
  H5Sclose(space);
  return result < 0 ? broken(w, "writing") : EBB_OK;
}

ebb_status ebb_write_rows(ebb_write *w, const void *rows, uint64_t count)
{
  uint64_t start[RANK_MOST] = {w->row}, size[RANK_MOST];
  for (int i = 0; i < w->rank; i++) size[i] = w->dims[i];
  size[0] = count;
  w->row += count;
  return ebb_write_box(w, rows, start, size);
}

/* ---- attributes ------------------------------------------------------------------------------------------------ */
static ebb_status write_attribute(ebb_write *w, const char *name, hid_t file_type, hid_t type, hid_t space, const void *value)
{
  hid_t attribute = H5Acreate2(w->dataset, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT);
  herr_t result = attribute < 0 ? -1 : H5Awrite(attribute, type, value);
  if (attribute >= 0) H5Aclose(attribute);
  H5Sclose(space);
  return result < 0 ? broken(w, "writing an attribute") : EBB_OK;
}

ebb_status ebb_write_text(ebb_write *w, const char *name, const char *text)
{
  hid_t type = H5Tcopy(H5T_C_S1);
  H5Tset_size(type, strlen(text) + 1);
  ebb_status status = write_attribute(w, name, type, type, H5Screate(H5S_SCALAR), text);
  H5Tclose(type);
  return status;
}

ebb_status ebb_write_numbers(ebb_write *w, const char *name, const double *values, int count)
{
  hsize_t size = (hsize_t)count;
  return write_attribute(w, name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, H5Screate_simple(1, &size, NULL), values);
}

/* ---- putting it in place --------------------------------------------------------------------------------------- */
ebb_status ebb_write_commit(ebb_write *w)
{
  bool whole = w->dataset < 0 || H5Dclose(w->dataset) >= 0;
  w->dataset = -1;
  whole = whole && H5Fflush(w->file, H5F_SCOPE_GLOBAL) >= 0;
  if (!whole) return broken(w, "finishing the file");
  whole = H5Fclose(w->file) >= 0;
  w->file = -1;
  if (whole) return ebb_file_put(w->path, w->temporary);
  unlink(w->temporary);
  return broken(w, "closing the file");
}
