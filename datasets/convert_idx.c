/* convert_idx.c -- the idx format of MNIST and its kin, plain or gzip, to HDF5.
 * Owns: that format. Must not know: how HDF5 is written.
 *
 *   byte 0, 1: zero   2: type   3: number of axes   then: sizes, 32 bits big-endian each, then values, big-endian
 *
 * Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". */
#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "datasets/datasets.h"
#include "datasets/hdf5.h"
#include "datasets/write.h"

#define PIECE ((size_t)1 << 20)

typedef struct idx {
  const char *path;
  gzFile file;
  ebb_write_type type;
  int rank;
  uint64_t dims[EBB_H5_RANK];
  size_t row; /* bytes */
} idx;

/* ---- reading --------------------------------------------------------------------------------------------------- */
static ebb_status read_bytes(idx *x, void *out, size_t count)
{
  int n = gzread(x->file, out, (unsigned)count), code;
  if (n == (int)count) return EBB_OK;
  const char *why = gzerror(x->file, &code);
  if (code == Z_ERRNO) why = strerror(errno);
  return ebb_fail(EBB_DATA,
                  "%s: expected %zu more bytes, found %d: the file is truncated or damaged%s%s"
                  "\nhint: copy it again",
                  x->path, count, n < 0 ? 0 : n, code ? " " : "", code ? why : "");
}

static bool known_type(ebb_write_type *t, unsigned char code)
{
  switch (code) {
  case 0x08:
    return *t = (ebb_write_type){EBB_WRITE_UNSIGNED, 1, true}, true;
  case 0x09:
    return *t = (ebb_write_type){EBB_WRITE_SIGNED, 1, true}, true;
  case 0x0b:
    return *t = (ebb_write_type){EBB_WRITE_SIGNED, 2, true}, true;
  case 0x0c:
    return *t = (ebb_write_type){EBB_WRITE_SIGNED, 4, true}, true;
  case 0x0d:
    return *t = (ebb_write_type){EBB_WRITE_FLOAT, 4, true}, true;
  case 0x0e:
    return *t = (ebb_write_type){EBB_WRITE_FLOAT, 8, true}, true;
  default:
    return false;
  }
}

static ebb_status read_sizes(idx *x)
{
  uint64_t row = (uint64_t)x->type.bytes;
  for (int i = 0; i < x->rank; i++) {
    unsigned char b[4];
    EBB_TRY(read_bytes(x, b, 4));
    x->dims[i] = (uint64_t)b[0] << 24 | (uint64_t)b[1] << 16 | (uint64_t)b[2] << 8 | b[3];
    if (x->dims[i] == 0 || x->dims[i] >= (uint64_t)1 << 31)
      return ebb_fail(EBB_DATA, "%s: expected sizes of 1 to 2^31 - 1, found %llu at axis %d", x->path,
                      (unsigned long long)x->dims[i], i);
    if (i > 0 && (__builtin_mul_overflow(row, x->dims[i], &row) || row > (uint64_t)1 << 30))
      return ebb_fail(EBB_DATA, "%s: expected samples of at most 1 GiB, found larger ones", x->path);
  }
  x->row = (size_t)row;
  return EBB_OK;
}

static ebb_status open_idx(idx *x, const char *path)
{
  unsigned char head[4];
  *x = (idx){.path = path, .file = gzopen(path, "rb")};
  if (!x->file) return ebb_fail(EBB_NOINPUT, "%s: expected an idx file, found none: %s", path, strerror(errno));
  EBB_TRY(read_bytes(x, head, sizeof head));
  if (head[0] || head[1] || !known_type(&x->type, head[2]) || head[3] < 1 || head[3] > EBB_H5_RANK)
    return ebb_fail(EBB_DATA,
                    "%s: expected an idx file (0 0 TYPE AXES), found bytes %02x %02x %02x %02x"
                    "\nhint: idx files are called like train-images-idx3-ubyte.gz",
                    path, head[0], head[1], head[2], head[3]);
  x->rank = head[3];
  return read_sizes(x);
}

/* ---- converting ------------------------------------------------------------------------------------------------ */
static ebb_status copy_rows(idx *x, ebb_write *w, void *piece, uint64_t together)
{
  char more;
  for (uint64_t first = 0; first < x->dims[0]; first += together) {
    uint64_t count = x->dims[0] - first < together ? x->dims[0] - first : together;
    EBB_TRY(read_bytes(x, piece, (size_t)count * x->row));
    EBB_TRY(ebb_write_rows(w, piece, count));
  }
  int end = gzread(x->file, &more, 1);
  if (end < 0)
    return ebb_fail(EBB_DATA, "%s: expected its end, found damage: %s\nhint: copy the file again", x->path,
                    gzerror(x->file, &end));
  if (end > 0)
    return ebb_fail(EBB_DATA, "%s: expected its end after %llu samples, found more bytes", x->path,
                    (unsigned long long)x->dims[0]);
  return EBB_OK;
}

static ebb_status copy(idx *x, ebb_write *w, const char *dataset)
{
  ebb_arena scratch;
  uint64_t together = x->row < PIECE ? PIECE / x->row : 1;
  EBB_TRY(ebb_write_dataset(w, dataset, x->type, x->rank, x->dims));
  EBB_TRY(ebb_arena_create(&scratch, "idx", (size_t)together * x->row));
  ebb_status status = copy_rows(x, w, ebb_arena_low(&scratch, scratch.size, EBB_USE_KEPT), together);
  ebb_arena_destroy(&scratch);
  return status;
}

static ebb_status require_pair(const idx *images, const idx *labels)
{
  if (labels->rank != 1 || images->rank < 2)
    return ebb_fail(EBB_DATA,
                    "%s, %s: expected images of two axes or more, then labels of one, found %d and %d"
                    "\nhint: the order is IMAGES LABELS [TEST-IMAGES TEST-LABELS] OUT.h5",
                    images->path, labels->path, images->rank, labels->rank);
  if (images->dims[0] != labels->dims[0])
    return ebb_fail(EBB_DATA, "%s: expected as many labels as there are images in %s, %llu, found %llu", labels->path,
                    images->path, (unsigned long long)images->dims[0], (unsigned long long)labels->dims[0]);
  return EBB_OK;
}

static ebb_status convert_pair(ebb_write *w, const char *const *in, const char *group)
{
  idx images = {0}, labels = {0};
  char path[64];
  ebb_status status = open_idx(&images, in[0]);
  if (status == EBB_OK) status = open_idx(&labels, in[1]);
  if (status == EBB_OK) status = require_pair(&images, &labels);
  snprintf(path, sizeof path, "%s/images", group);
  if (status == EBB_OK) status = copy(&images, w, path);
  snprintf(path, sizeof path, "%s/labels", group);
  if (status == EBB_OK) status = copy(&labels, w, path);
  if (images.file) gzclose_r(images.file);
  if (labels.file) gzclose_r(labels.file);
  return status;
}

ebb_status ebb_convert_idx(const char *out, const char *const *in, int count)
{
  ebb_write *w;
  if (count != 2 && count != 4)
    return ebb_fail(EBB_USAGE,
                    "convert idx: expected IMAGES LABELS [TEST-IMAGES TEST-LABELS] OUT.h5, found %d files to read",
                    count);
  EBB_TRY(ebb_write_open(&w, out, in, count));
  ebb_status status = convert_pair(w, in, count == 4 ? "/train" : "");
  if (status == EBB_OK && count == 4) status = convert_pair(w, in + 2, "/test");
  if (status == EBB_OK) status = ebb_write_commit(w);
  ebb_write_close(w);
  return status;
}
