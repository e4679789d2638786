/* convert_cifar.c -- the binary versions of CIFAR-10 and CIFAR-100 to HDF5.
 * Owns: that format. Must not know: how HDF5 is written.
 *
 *   CIFAR-10    records of 1 + 3072 bytes: label, then red, green, blue planes of 32 x 32
 *   CIFAR-100   records of 2 + 3072 bytes: coarse label, fine label, planes
 *
 * The planes become pixels: images are (N, 32, 32, 3). Source: A. Krizhevsky, "Learning Multiple Layers of Features from
 * Tiny Images", 2009. */
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <zlib.h>

#include "datasets/datasets.h"
#include "datasets/hdf5.h"
#include "datasets/write.h"

#define SIDE   32
#define PIXELS (SIDE * SIDE)
#define IMAGE  (3 * PIXELS)
#define PIECE  64 /* records */

/* The files of one split, which become one group. */
typedef struct part {
  const char *const *in;
  int count;       /* of all files given                */
  bool test;       /* this part are those named "test"  */
  int label_bytes; /* 1: CIFAR-10, 2: CIFAR-100         */
  uint64_t records;
} part;

static bool is_test(const char *path)
{
  const char *slash = strrchr(path, '/');
  return strncasecmp(slash ? slash + 1 : path, "test", 4) == 0;
}

/* ---- what the files are ---------------------------------------------------------------------------------------- */
/* A file's size tells its format: both fit only from 3073 * 3074 bytes on, which no real batch has. */
static ebb_status measure_file(const char *path, int *label_bytes, uint64_t *records)
{
  struct stat st;
  if (stat(path, &st) != 0 || !S_ISREG(st.st_mode))
    return ebb_fail(EBB_NOINPUT, "%s: expected a CIFAR batch file, found none", path);
  uint64_t size = (uint64_t)st.st_size;
  for (int labels = 1; labels <= 2; labels++)
    if (size > 0 && size % (uint64_t)(labels + IMAGE) == 0) {
      *label_bytes = labels;
      *records = size / (uint64_t)(labels + IMAGE);
      return EBB_OK;
    }
  return ebb_fail(EBB_DATA,
                  "%s: expected a multiple of 3073 bytes (CIFAR-10) or 3074 (CIFAR-100), found %llu bytes"
                  "\nhint: use the binary version, data_batch_1.bin or train.bin, unpacked and whole",
                  path, (unsigned long long)size);
}

static ebb_status measure(part *p)
{
  for (int i = 0; i < p->count; i++) {
    int label_bytes;
    uint64_t records;
    EBB_TRY(measure_file(p->in[i], &label_bytes, &records));
    if (p->label_bytes && p->label_bytes != label_bytes)
      return ebb_fail(EBB_DATA, "%s: expected records as in %s, found those of the other CIFAR set", p->in[i],
                      p->in[0]);
    p->label_bytes = label_bytes;
    if (is_test(p->in[i]) == p->test) p->records += records;
  }
  return EBB_OK;
}

/* ---- converting ------------------------------------------------------------------------------------------------ */
/* What is written of a record; a pass over the files for each. */
typedef struct field {
  const char *name;
  int label; /* which label byte; -1: the image */
} field;

static void take_image(unsigned char *out, const unsigned char *planes)
{
  for (int i = 0; i < PIXELS; i++)
    for (int c = 0; c < 3; c++) out[3 * i + c] = planes[c * PIXELS + i];
}

static ebb_status copy_piece(ebb_write *w, gzFile f, const char *path, int label_bytes, field x, uint64_t count)
{
  unsigned char record[2 + IMAGE], out[PIECE * IMAGE];
  unsigned bytes = (unsigned)(label_bytes + IMAGE);
  for (uint64_t i = 0; i < count; i++) {
    if (gzread(f, record, bytes) != (int)bytes)
      return ebb_fail(EBB_DATA, "%s: expected a whole record, found the end: the file is truncated", path);
    if (x.label < 0)
      take_image(out + i * IMAGE, record + label_bytes);
    else
      out[i] = record[x.label];
  }
  return ebb_write_rows(w, out, count);
}

static ebb_status copy_file(ebb_write *w, const char *path, int label_bytes, field x)
{
  uint64_t records = 0;
  EBB_TRY(measure_file(path, &(int){0}, &records));
  gzFile f = gzopen(path, "rb");
  if (!f) return ebb_fail(EBB_NOINPUT, "%s: expected a CIFAR batch file that can be read", path);
  ebb_status status = EBB_OK;
  for (uint64_t at = 0; status == EBB_OK && at < records; at += PIECE)
    status = copy_piece(w, f, path, label_bytes, x, records - at < PIECE ? records - at : PIECE);
  gzclose_r(f);
  return status;
}

static ebb_status convert_field(ebb_write *w, const part *p, const char *group, field x)
{
  char path[64];
  uint64_t dims[] = {p->records, SIDE, SIDE, 3};
  ebb_write_type byte = {EBB_WRITE_UNSIGNED, 1, false};
  snprintf(path, sizeof path, "%s/%s", group, x.name);
  EBB_TRY(ebb_write_dataset(w, path, byte, x.label < 0 ? 4 : 1, dims));
  for (int i = 0; i < p->count; i++)
    if (is_test(p->in[i]) == p->test) EBB_TRY(copy_file(w, p->in[i], p->label_bytes, x));
  return EBB_OK;
}

static ebb_status convert_part(ebb_write *w, const part *p, const char *group)
{
  EBB_TRY(convert_field(w, p, group, (field){"images", -1}));
  EBB_TRY(convert_field(w, p, group, (field){"labels", p->label_bytes - 1}));
  return p->label_bytes == 2 ? convert_field(w, p, group, (field){"coarse_labels", 0}) : EBB_OK;
}

ebb_status ebb_convert_cifar(const char *out, const char *const *in, int count)
{
  ebb_write *w;
  part train = {.in = in, .count = count}, test = {.in = in, .count = count, .test = true};
  if (count < 1) return ebb_fail(EBB_USAGE, "convert cifar: expected BATCH.bin ... OUT.h5, found no files to read");
  EBB_TRY(measure(&train));
  EBB_TRY(measure(&test));
  bool both = train.records && test.records;
  EBB_TRY(ebb_write_open(&w, out, in, count));
  ebb_status status = train.records ? convert_part(w, &train, both ? "/train" : "") : EBB_OK;
  if (status == EBB_OK && test.records) status = convert_part(w, &test, both ? "/test" : "");
  if (status == EBB_OK) status = ebb_write_commit(w);
  ebb_write_close(w);
  return status;
}
