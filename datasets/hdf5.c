/* hdf5.c -- see hdf5.h. */
#define _GNU_SOURCE
#define H5_USE_110_API
#include "datasets/hdf5.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "datasets/hdf5_axes.h"

#define DEPTH_MOST    16                 /* groups within groups: hard links may form a circle           */
#define CONVERT_BYTES ((size_t)64 << 10) /* libhdf5 converts byte orders in pieces of this size          */
#define DIM_MOST      ((uint64_t)1 << 31)

struct ebb_h5 {
  const char *path;
  ebb_pool *pool;
  ebb_h5_list list;
  hid_t file;
  const ebb_h5_dataset *chosen;
  hid_t dataset, space, memory_type, transfer;
};

/* ---- libhdf5 as a whole ---------------------------------------------------------------------------------------- */
static void init_once(void)
{
  static const char *const names[] = {"HDF5_PLUGIN_PATH",   "HDF5_PLUGIN_PRELOAD", "HDF5_DRIVER",
                                      "HDF5_DRIVER_CONFIG", "HDF5_VOL_CONNECTOR",  "HDF5_EXTFILE_PREFIX",
                                      "HDF5_VDS_PREFIX",    "HDF5_EXT_PREFIX"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) unsetenv(names[i]);
  H5dont_atexit(); /* on exit, libhdf5 crashes over files that a full disk kept it from closing */
  H5open();
  H5PLset_loading_state(0);
}

void ebb_h5_init(void)
{
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, init_once);
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL); /* the error stack is the thread's own */
}

bool ebb_h5_threads(void)
{
  hbool_t safe = 0;
  return H5is_library_threadsafe(&safe) >= 0 && safe;
}

static herr_t first_reason(unsigned n, const H5E_error2_t *e, void *out)
{
  (void)n;
  snprintf(out, 160, "%s", e->desc ? e->desc : "");
  return 1;
}

/* libhdf5's own innermost words about the last failure. */
static const char *reason(char text[160])
{
  snprintf(text, 160, "no reason given");
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, first_reason, text);
  return text;
}

static herr_t deny(const char *a, const char *b, const char *c, const char *d, unsigned *flags, hid_t fapl, void *data)
{
  (void)a, (void)b, (void)c, (void)d, (void)flags, (void)fapl, (void)data;
  return -1;
}

/* ---- what the file is ------------------------------------------------------------------------------------------ */
/* What users take for HDF5, by the first bytes. */
static const char *guess(const unsigned char *head, size_t n)
{
  static const struct {
    const char *bytes;
    size_t length;
    const char *what;
  } known[] = {{"\x1f\x8b", 2, "a gzip file; unpack it with gunzip first"},
               {"PK\x03\x04", 4, "a zip archive (.npz?); write its arrays to HDF5 with h5py first"},
               {"\x93NUMPY", 6, "a NumPy array; write it to HDF5 with h5py first"},
               {"CDF", 3, "a classic NetCDF file; convert it with nccopy -k nc4 first"},
               {"\x89PNG", 4, "a PNG image"},
               {"MATLAB 5", 8, "a MATLAB file of an old version; save it with -v7.3"},
               {"\x80\x04\x95", 3, "a Python pickle; write its arrays to HDF5 with h5py first"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (n >= known[i].length && memcmp(head, known[i].bytes, known[i].length) == 0) return known[i].what;
  return "write images and labels to HDF5, for example with h5py, or use `ebb convert`";
}

static ebb_status refuse_content(const char *path)
{
  unsigned char head[16];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, head, sizeof head);
  int cause = errno;
  if (fd >= 0) close(fd);
  if (n < 0) return ebb_fail(EBB_NOINPUT, "%s: expected a readable file: %s", path, strerror(cause));
  char why[160];
  if (n >= 8 && memcmp(head, "\x89HDF\r\n\x1a\n", 8) == 0)
    return ebb_fail(EBB_DATA,
                    "%s: expected an HDF5 file, found a truncated or damaged one, or one open for writing (%s)"
                    "\nhint: check it with h5dump -H, or copy it again",
                    path, reason(why));
  return ebb_fail(EBB_DATA, "%s: expected an HDF5 file, found something else\nhint: it looks like %s", path,
                  n == 0 ? "an empty file" : guess(head, (size_t)n));
}

static ebb_status require_regular(const char *path)
{
  struct stat st;
  if (stat(path, &st) != 0)
    return ebb_fail(EBB_NOINPUT, "%s: expected an HDF5 file, found none: %s\nhint: check data.train and data.val", path,
                    strerror(errno));
  if (!S_ISREG(st.st_mode))
    return ebb_fail(EBB_DATA, "%s: expected an HDF5 file, found a %s\nhint: name a file", path,
                    S_ISDIR(st.st_mode) ? "directory" : "device or pipe");
  return EBB_OK;
}

/* ---- what a dataset is ----------------------------------------------------------------------------------------- */
static const char *printable(const char *name, ebb_pool *pool)
{
  char *copy = ebb_pool_text(pool, "%.200s", name);
  for (char *c = copy; *c; c++)
    if ((unsigned char)*c < 32 || *c == 127) *c = '?';
  return copy;
}

static const char *order_word(hid_t type)
{
  return H5Tget_size(type) > 1 && H5Tget_order(type) == H5T_ORDER_BE ? " big-endian" : "";
}

static bool describe_integer(ebb_h5_dataset *d, hid_t type, ebb_pool *pool)
{
  size_t size = H5Tget_size(type);
  bool with_sign = H5Tget_sign(type) != H5T_SGN_NONE;
  d->type = ebb_pool_text(pool, "%sint%zu%s", with_sign ? "" : "u", 8 * size, order_word(type));
  if (size > 8) return false;
  static const ebb_h5_kind kinds[4][2] = {
      {EBB_H5_U8, EBB_H5_I8}, {EBB_H5_U16, EBB_H5_I16}, {EBB_H5_U32, EBB_H5_I32}, {EBB_H5_U64, EBB_H5_I64}};
  int power = size <= 1 ? 0 : size <= 2 ? 1 : size <= 4 ? 2 : 3;
  d->kind = kinds[power][with_sign];
  d->bytes = (size_t)1 << power;
  return true;
}

static bool describe_float(ebb_h5_dataset *d, hid_t type, ebb_pool *pool)
{
  size_t size = H5Tget_size(type);
  d->type = ebb_pool_text(pool, "float%zu%s", 8 * size, order_word(type));
  d->kind = size <= 4 ? EBB_H5_F32 : EBB_H5_F64;
  d->bytes = size <= 4 ? 4 : 8;
  return size <= 8;
}

/* h5py's bool: an enumeration FALSE, TRUE on int8. */
static bool describe_bool(ebb_h5_dataset *d, hid_t type)
{
  d->type = "enumeration";
  bool is_bool = H5Tget_nmembers(type) == 2 && H5Tget_size(type) == 1;
  for (unsigned i = 0; is_bool && i < 2; i++) {
    char *name = H5Tget_member_name(type, i);
    is_bool = name && strcmp(name, i ? "TRUE" : "FALSE") == 0;
    H5free_memory(name);
  }
  if (!is_bool) return false;
  d->type = "bool";
  d->kind = EBB_H5_I8;
  d->bytes = 1;
  return true;
}

static void describe_type(ebb_h5_dataset *d, hid_t dataset, ebb_pool *pool)
{
  static const char *const words[] = {"integer",  "float",     "time",        "string",          "bitfield", "opaque",
                                      "compound", "reference", "enumeration", "variable length", "array"};
  hid_t type = H5Dget_type(dataset);
  int class = type < 0 ? -1 : (int)H5Tget_class(type);
  bool ok = class == H5T_INTEGER ? describe_integer(d, type, pool)
            : class == H5T_FLOAT ? describe_float(d, type, pool)
            : class == H5T_ENUM  ? describe_bool(d, type)
                                 : false;
  if (!d->type) d->type = class >= 0 && class <= 10 ? words[class] : "unknown type";
  if (!ok && !d->trouble)
    d->trouble = ebb_pool_text(pool, "its type is %s; integers, floats of at most 8 bytes and bool are read", d->type);
  if (type >= 0) H5Tclose(type);
}

static const char *describe_dims(const uint64_t *dims, int rank, ebb_pool *pool, const char *between)
{
  const char *text = "";
  for (int i = 0; i < rank; i++)
    text = ebb_pool_text(pool, "%s%s%llu", text, i ? between : "", (unsigned long long)dims[i]);
  return text;
}

static void describe_space(ebb_h5_dataset *d, hid_t dataset, ebb_pool *pool)
{
  hsize_t dims[H5S_MAX_RANK];
  hid_t space = H5Dget_space(dataset);
  bool simple = space >= 0 && H5Sget_simple_extent_type(space) == H5S_SIMPLE;
  int rank = simple ? H5Sget_simple_extent_ndims(space) : 0;
  if (rank > 0 && rank <= H5S_MAX_RANK) H5Sget_simple_extent_dims(space, dims, NULL);
  if (space >= 0) H5Sclose(space);
  if (rank < 1) d->trouble = "it is a single value or empty, without axes";
  if (rank > EBB_H5_RANK) d->trouble = ebb_pool_text(pool, "it has %d axes, at most %d are read", rank, EBB_H5_RANK);
  d->rank = rank < 0 ? 0 : rank < EBB_H5_RANK ? rank : EBB_H5_RANK;
  d->count = 1;
  for (int i = 0; i < d->rank; i++) {
    uint64_t bytes;
    d->dims[i] = dims[i];
    if (dims[i] >= DIM_MOST || __builtin_mul_overflow(d->count, dims[i], &d->count) ||
        __builtin_mul_overflow(d->count, (uint64_t)sizeof(double), &bytes)) {
      d->trouble = "its size overflows";
      d->count = 0;
    }
  }
}

static const char *filter_name(H5Z_filter_t id)
{
  static const struct {
    int id;
    const char *name;
  } known[] = {{1, "gzip"},           {2, "shuffle"}, {3, "fletcher32"}, {4, "szip"},      {5, "nbit"},
               {6, "scaleoffset"},    {307, "bzip2"}, {32000, "lzf"},    {32001, "blosc"}, {32004, "lz4"},
               {32008, "bitshuffle"}, {32013, "zfp"}, {32015, "zstd"},   {32026, "blosc2"}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].id == id) return known[i].name;
  return "unknown";
}

/* gzip, shuffle, fletcher32 and szip are part of libhdf5 and allowed; nbit and scaleoffset are part of it too, but
 * crash on damaged files (CVE-2025-44905). */
static void describe_filters(ebb_h5_dataset *d, hid_t creation, ebb_pool *pool)
{
  int n = H5Pget_nfilters(creation);
  for (int i = 0; i < n; i++) {
    unsigned flags;
    size_t values = 0;
    H5Z_filter_t id = H5Pget_filter2(creation, (unsigned)i, &flags, &values, NULL, 0, NULL, NULL);
    d->filtered = true;
    d->storage = ebb_pool_text(pool, "%s, %s", d->storage, filter_name(id));
    if ((id < 1 || id > 4 || H5Zfilter_avail(id) <= 0) && !d->trouble)
      d->trouble = ebb_pool_text(pool,
                                 "it is compressed with filter %d (%s), which is not read; repack it where that "
                                 "filter is installed: h5repack -f SHUF -f GZIP=1 OLD.h5 NEW.h5",
                                 (int)id, filter_name(id));
  }
}

static void describe_chunks(ebb_h5_dataset *d, hid_t creation, size_t file_bytes, ebb_pool *pool)
{
  hsize_t chunk[H5S_MAX_RANK];
  uint64_t bytes = file_bytes > d->bytes ? file_bytes : d->bytes;
  int rank = H5Pget_chunk(creation, H5S_MAX_RANK, chunk);
  d->chunked = true;
  if (rank != d->rank && !d->trouble) d->trouble = "its chunks have another number of axes";
  for (int i = 0; i < d->rank && i < rank; i++) {
    d->chunk[i] = chunk[i];
    if (chunk[i] == 0 || __builtin_mul_overflow(bytes, chunk[i], &bytes)) bytes = UINT64_MAX;
  }
  d->chunk_bytes = bytes;
  d->storage = ebb_pool_text(pool, "chunks of %s", describe_dims(d->chunk, d->rank, pool, "x"));
  if (bytes > EBB_H5_CHUNK_MOST && !d->trouble)
    d->trouble = ebb_pool_text(pool,
                               "a chunk is %llu bytes, at most %zu are read; repack it with smaller ones: "
                               "h5repack -l CHUNK=... OLD.h5 NEW.h5",
                               (unsigned long long)bytes, EBB_H5_CHUNK_MOST);
}

static size_t file_type_bytes(hid_t dataset)
{
  hid_t type = H5Dget_type(dataset);
  size_t size = type < 0 ? 1 : H5Tget_size(type);
  if (type >= 0) H5Tclose(type);
  return size;
}

/* False: the numbers are in other files, and nothing more may be asked of the dataset. */
static bool describe_storage(ebb_h5_dataset *d, hid_t dataset, ebb_pool *pool)
{
  hid_t creation = H5Dget_create_plist(dataset);
  H5D_layout_t layout = creation < 0 ? H5D_LAYOUT_ERROR : H5Pget_layout(creation);
  bool inside = (layout == H5D_CONTIGUOUS || layout == H5D_CHUNKED || layout == H5D_COMPACT) &&
                H5Pget_external_count(creation) <= 0;
  d->storage = !inside ? "elsewhere" : layout == H5D_COMPACT ? "compact" : "contiguous";
  if (!inside)
    d->trouble = layout == H5D_VIRTUAL ? "its numbers are in other files (virtual dataset), which are never opened; "
                                         "copy them together with h5repack"
                                       : "its numbers are in other files (external storage), which are never opened";
  if (inside) {
    describe_space(d, dataset, pool);
    describe_type(d, dataset, pool);
    if (layout == H5D_CHUNKED) describe_chunks(d, creation, file_type_bytes(dataset), pool);
    describe_filters(d, creation, pool);
    d->stored = H5Dget_storage_size(dataset);
    if (d->stored == 0 && d->count > 0 && !d->trouble) d->trouble = "it declares values, but none were ever written";
  }
  if (creation >= 0) H5Pclose(creation);
  return inside;
}

static void describe(ebb_h5_dataset *d, hid_t dataset, ebb_pool *pool)
{
  d->type = NULL;
  if (describe_storage(d, dataset, pool) && !d->trouble) {
    d->axes = ebb_h5_axes(&d->axes_from, dataset, d->rank, pool);
    d->columns = ebb_h5_columns(dataset, pool);
    ebb_h5_element_size(d->element_um, dataset);
  }
  if (!d->type) d->type = "";
}

const char *ebb_h5_describe(const ebb_h5_dataset *d, ebb_pool *pool)
{
  return ebb_pool_text(pool, "(%s) %s", describe_dims(d->dims, d->rank, pool, ", "), d->type);
}

/* ---- the list of datasets -------------------------------------------------------------------------------------- */
typedef struct walk {
  ebb_h5 *f;
  ebb_h5_dataset *at;
  int count, room, seen, depth;
  const char *prefix;
  hid_t access; /* refuses external links */
} walk;

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *data);

static void grow(walk *w)
{
  w->room = w->room ? 2 * w->room : 16;
  ebb_h5_dataset *more = ebb_pool_take(w->f->pool, (size_t)w->room * sizeof *more);
  if (w->count) memcpy(more, w->at, (size_t)w->count * sizeof *more);
  w->at = more;
}

static void add(walk *w, const char *path, hid_t object, const char *trouble)
{
  if (w->count == w->room) grow(w);
  ebb_h5_dataset *d = &w->at[w->count++];
  d->path = path;
  d->trouble = trouble;
  d->type = d->storage = "";
  if (object >= 0) describe(d, object, w->f->pool);
}

static herr_t visit_group(walk *w, hid_t group, const char *path)
{
  walk inner = *w;
  inner.prefix = path;
  inner.depth++;
  herr_t result = inner.depth > DEPTH_MOST ? 0 : H5Literate(group, H5_INDEX_NAME, H5_ITER_INC, NULL, visit, &inner);
  inner.depth = w->depth;
  inner.prefix = w->prefix;
  *w = inner;
  return result;
}

static herr_t visit(hid_t group, const char *name, const H5L_info_t *link, void *data)
{
  walk *w = data;
  if (++w->seen > EBB_H5_DATASETS) return 1;
  const char *clean = printable(name, w->f->pool);
  const char *path = ebb_pool_text(w->f->pool, "%s/%s", w->prefix, clean);
  if (link->type == H5L_TYPE_SOFT) return add(w, path, -1, "it is a soft link; name what it points to"), 0;
  if (link->type != H5L_TYPE_HARD) return add(w, path, -1, "it is a link to another file, which is never opened"), 0;
  hid_t object = H5Oopen(group, name, w->access);
  herr_t result = 0;
  if (object < 0) return add(w, path, -1, "it is damaged"), 0;
  if (H5Iget_type(object) == H5I_GROUP)
    result = visit_group(w, object, path);
  else if (H5Iget_type(object) == H5I_DATASET)
    add(w, path, object, strcmp(clean, name) == 0 ? NULL : "its name is too long or has control characters");
  H5Oclose(object);
  return result < 0 ? 0 : result;
}

static ebb_status list(ebb_h5 *f)
{
  walk w = {.f = f, .prefix = ""};
  w.access = H5Pcreate(H5P_LINK_ACCESS);
  H5Pset_elink_cb(w.access, deny, NULL);
  herr_t result = H5Literate(f->file, H5_INDEX_NAME, H5_ITER_INC, NULL, visit, &w);
  H5Pclose(w.access);
  f->list = (ebb_h5_list){w.at, w.count};
  char why[160];
  if (result < 0)
    return ebb_fail(EBB_DATA, "%s: expected a list of datasets, found damage (%s)\nhint: check it with h5dump -H",
                    f->path, reason(why));
  return EBB_OK;
}

/* ---- opening and reading --------------------------------------------------------------------------------------- */
ebb_status ebb_h5_open(ebb_h5 **file, const char *path, ebb_pool *pool)
{
  *file = NULL;
  ebb_h5_init();
  EBB_TRY(require_regular(path));
  ebb_h5 *f = EBB_POOL_NEW(pool, ebb_h5);
  *f = (ebb_h5){.path = ebb_pool_text(pool, "%s", path),
                .pool = pool,
                .file = -1,
                .dataset = -1,
                .space = -1,
                .memory_type = -1,
                .transfer = -1};
  hid_t access = H5Pcreate(H5P_FILE_ACCESS);
  H5Pset_fapl_sec2(access);
  H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
  f->file = H5Fis_hdf5(path) > 0 ? H5Fopen(path, H5F_ACC_RDONLY, access) : -1;
  ebb_status status = f->file < 0 ? refuse_content(path) : EBB_OK;
  H5Pclose(access);
  if (status == EBB_OK) status = list(f);
  if (status != EBB_OK) return ebb_h5_close(f), status;
  *file = f;
  return EBB_OK;
}

static void unchoose(ebb_h5 *f)
{
  if (f->transfer >= 0) H5Pclose(f->transfer);
  if (f->space >= 0) H5Sclose(f->space);
  if (f->dataset >= 0) H5Dclose(f->dataset);
  f->chosen = NULL;
  f->dataset = f->space = f->memory_type = f->transfer = -1;
}

void ebb_h5_close(ebb_h5 *f)
{
  if (!f) return;
  unchoose(f);
  if (f->file >= 0) H5Fclose(f->file);
  f->file = -1;
}

const char *ebb_h5_path(const ebb_h5 *f)
{
  return f->path;
}

ebb_h5_list ebb_h5_datasets(const ebb_h5 *f)
{
  return f->list;
}

static hid_t memory_type(ebb_h5_kind kind)
{
  switch (kind) {
  case EBB_H5_U8:
    return H5T_NATIVE_UINT8;
  case EBB_H5_I8:
    return H5T_NATIVE_INT8;
  case EBB_H5_U16:
    return H5T_NATIVE_UINT16;
  case EBB_H5_I16:
    return H5T_NATIVE_INT16;
  case EBB_H5_U32:
    return H5T_NATIVE_UINT32;
  case EBB_H5_I32:
    return H5T_NATIVE_INT32;
  case EBB_H5_U64:
    return H5T_NATIVE_UINT64;
  case EBB_H5_I64:
    return H5T_NATIVE_INT64;
  case EBB_H5_F32:
    return H5T_NATIVE_FLOAT;
  case EBB_H5_F64:
    break;
  }
  return H5T_NATIVE_DOUBLE;
}

ebb_status ebb_h5_choose(ebb_h5 *f, const ebb_h5_dataset *d)
{
  unchoose(f);
  if (d->trouble) return ebb_fail(EBB_DATA, "%s:%s: expected numbers, but %s", f->path, d->path, d->trouble);
  hid_t access = H5Pcreate(H5P_DATASET_ACCESS);
  H5Pset_elink_cb(access, deny, NULL);
  H5Pset_chunk_cache(access, 1, 0, 1.0); /* whole chunks are asked for: nothing to keep */
  f->dataset = H5Dopen2(f->file, d->path, access);
  H5Pclose(access);
  f->space = f->dataset < 0 ? -1 : H5Dget_space(f->dataset);
  f->transfer = H5Pcreate(H5P_DATASET_XFER);
  H5Pset_buffer(f->transfer, CONVERT_BYTES, NULL, NULL);
  f->memory_type = memory_type(d->kind);
  f->chosen = d;
  char why[160];
  if (f->space < 0 || H5Sget_simple_extent_ndims(f->space) != d->rank)
    return ebb_fail(EBB_DATA, "%s:%s: expected a dataset, found damage (%s)", f->path, d->path, reason(why));
  return EBB_OK;
}

ebb_status ebb_h5_read(void *out, ebb_h5 *f, const uint64_t *start, const uint64_t *count)
{
  hsize_t from[EBB_H5_RANK], size[EBB_H5_RANK];
  const ebb_h5_dataset *d = f->chosen;
  EBB_ASSERT(d, "%s: no dataset is chosen", f->path);
  for (int i = 0; i < d->rank; i++) {
    EBB_ASSERT(start[i] + count[i] <= d->dims[i], "%s: axis %d: %llu + %llu of %llu", d->path, i,
               (unsigned long long)start[i], (unsigned long long)count[i], (unsigned long long)d->dims[i]);
    from[i] = start[i];
    size[i] = count[i];
  }
  hid_t memory = H5Screate_simple(d->rank, size, NULL);
  herr_t result = H5Sselect_hyperslab(f->space, H5S_SELECT_SET, from, NULL, size, NULL);
  if (result >= 0) result = H5Dread(f->dataset, f->memory_type, memory, f->space, f->transfer, out);
  char why[160] = "";
  if (result < 0) reason(why);
  H5Sclose(memory);
  if (result < 0)
    return ebb_fail(EBB_DATA,
                    "%s:%s: expected readable numbers at sample %llu, found damage (%s)\nhint: copy the file again",
                    f->path, d->path, (unsigned long long)start[0], why);
  return EBB_OK;
}

ebb_status ebb_h5_read_rows(void *out, ebb_h5 *f, uint64_t first, uint64_t count)
{
  uint64_t start[EBB_H5_RANK] = {first}, size[EBB_H5_RANK] = {count};
  for (int i = 1; i < f->chosen->rank; i++) size[i] = f->chosen->dims[i];
  return ebb_h5_read(out, f, start, size);
}

/* A filtered chunk is read and unpacked in turn, and gzip grows its output by doubling. */
size_t ebb_h5_working_bytes(const ebb_h5_dataset *d)
{
  return CONVERT_BYTES + (d->filtered ? 3 * d->chunk_bytes : 0);
}
