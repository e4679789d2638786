/* checkpoint.c -- see checkpoint.h.
 * The file is an HDF5 file behind a user block of 512 bytes, which holds the SHA-256 of all that follows: a truncated
 * file or a flipped bit is found before libhdf5 reads a single byte. Nothing in it depends on the time or the machine:
 * equal runs leave equal files. */
#define _GNU_SOURCE
#include "train/checkpoint.h"

#include <errno.h>
#include <hdf5.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <string.h>

#include "base/file.h"
#include "compose/guard.h"
#include "train/optim.h"

enum { BLOCK = 512, DIGEST = SHA256_DIGEST_SIZE, HEX = 2 * DIGEST + 1 };
static const char magic[] = "ebb checkpoint 1\nsha256 of the rest: ";

#ifdef EBB_DOUBLE
#define REAL_MEMORY H5T_NATIVE_DOUBLE
#define REAL_FILE   H5T_IEEE_F64LE
#else
#define REAL_MEMORY H5T_NATIVE_FLOAT
#define REAL_FILE   H5T_IEEE_F32LE
#endif

static void hexadecimal(char text[HEX], const uint8_t digest[DIGEST])
{
  for (int i = 0; i < DIGEST; i++) snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* The user block of what has been hashed: magic, digest, zeros. */
static void make_block(char block[BLOCK], struct sha256_ctx *rest)
{
  uint8_t digest[DIGEST];
  char    text[HEX];
  sha256_digest(rest, DIGEST, digest);
  hexadecimal(text, digest);
  memset(block, 0, BLOCK);
  snprintf(block, BLOCK, "%s%s\n", magic, text);
}

/* ---- layouts: in memory a convolution's taps come first, in the file PyTorch's (O, I, K...) ------------------- */
typedef enum direction { TO_FILE, FROM_FILE } direction;

static void copy_values(ebb_real *out, const ebb_real *in, const ebb_param *p, direction to)
{
  if (!p->taps_first) {
    memcpy(out, in, p->count * sizeof *out);
    return;
  }
  size_t outputs = (size_t)p->dims[0], inputs = (size_t)p->dims[1], taps = p->count / (outputs * inputs);
  for (size_t o = 0; o < outputs; o++)
    for (size_t i = 0; i < inputs; i++)
      for (size_t k = 0; k < taps; k++) {
        size_t file = (o * inputs + i) * taps + k, memory = (k * inputs + i) * outputs + o;
        if (to == TO_FILE) out[file] = in[memory];
        else out[memory] = in[file];
      }
}

static size_t largest(const ebb_model *m)
{
  size_t count = 1;
  for (const ebb_param *p = m->params; p; p = p->next)
    if (p->count > count) count = p->count;
  return count;
}

/* The array a group of the file holds: weights and states in /model (moment MODEL), moments in /optim/<name>; MEAN: the moving mean in
 * /optim/ema, read into the weights. */
enum { MODEL = -1, MEAN = -2 };
static ebb_real *values_of(const ebb_trainer *t, const ebb_param *p, int moment)
{
  if (moment >= 0) return (ebb_real *)t->work.optimizer + (size_t)moment * t->model->weights + p->offset;
  return (p->kind == EBB_WEIGHT ? t->work.weights : t->work.state) + p->offset;
}

static const char *group_of(char text[64], const ebb_trainer *t, int moment)
{
  if (moment == MODEL) return "/model";
  if (moment == MEAN) return "/optim/ema";
  snprintf(text, 64, "/optim/%s", ebb_optim_moments(&t->options).name[moment]);
  return text;
}

/* None where the trainer only evaluates. */
static int moments_of(const ebb_trainer *t)
{
  return t->plan.optimizer > 0 ? ebb_optim_moments(&t->options).count : 0;
}

/* ---- the numbers beside the weights ----------------------------------------------------------------------------- */
typedef struct progress { uint64_t step, epoch, cursor, forwards, seed, stale; double best, lr_scale; } progress;

static progress progress_of(const ebb_trainer *t)
{
  return (progress){t->step, t->epoch, t->cursor, t->work.run.step, t->work.run.seed, t->stale, t->best, t->lr_scale};
}

static const struct { const char *name; size_t offset; } counters[] = {
    {"step", offsetof(progress, step)},         {"epoch", offsetof(progress, epoch)},
    {"cursor", offsetof(progress, cursor)},     {"forwards", offsetof(progress, forwards)},
    {"seed", offsetof(progress, seed)},         {"stale", offsetof(progress, stale)},
}, reals[] = {{"best", offsetof(progress, best)}, {"lr_scale", offsetof(progress, lr_scale)}};
enum { COUNTERS = sizeof counters / sizeof *counters, REALS = sizeof reals / sizeof *reals };

/* ---- writing ---------------------------------------------------------------------------------------------------- */
/* HDF5 calls return a negative number if they fail; here that means memory, since the file is in memory. */
typedef struct writer { hid_t file; bool bad; struct sha256_ctx content; ebb_real *scratch; } writer;

static hid_t good(writer *w, hid_t id)
{
  if (id < 0) w->bad = true;
  return id;
}

/* Objects without times, so that equal runs make equal files. */
static hid_t plain(hid_t class)
{
  hid_t list = H5Pcreate(class);
  H5Pset_obj_track_times(list, false);
  return list;
}

static hid_t make_group(writer *w, const char *path)
{
  hid_t list = plain(H5P_GROUP_CREATE), group = good(w, H5Gcreate2(w->file, path, H5P_DEFAULT, list, H5P_DEFAULT));
  H5Pclose(list);
  return group;
}

static void put_dataset(writer *w, hid_t group, const ebb_param *p, const ebb_real *values)
{
  hsize_t dims[5];
  for (int i = 0; i < p->rank; i++) dims[i] = (hsize_t)p->dims[i];
  copy_values(w->scratch, values, p, TO_FILE);
  sha256_update(&w->content, strlen(p->name), (const uint8_t *)p->name);
  sha256_update(&w->content, p->count * sizeof *values, (const uint8_t *)w->scratch);
  hid_t space = H5Screate_simple(p->rank, dims, NULL), list = plain(H5P_DATASET_CREATE);
  hid_t set = good(w, H5Dcreate2(group, p->name, REAL_FILE, space, H5P_DEFAULT, list, H5P_DEFAULT));
  if (set >= 0) good(w, H5Dwrite(set, REAL_MEMORY, H5S_ALL, H5S_ALL, H5P_DEFAULT, w->scratch));
  if (set >= 0) H5Dclose(set);
  H5Pclose(list);
  H5Sclose(space);
}

static void put_text(writer *w, hid_t object, const char *name, const char *text)
{
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, strlen(text) + 1);
  H5Tset_cset(type, H5T_CSET_UTF8);
  hid_t attribute = good(w, H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT));
  if (attribute >= 0) good(w, H5Awrite(attribute, type, text));
  if (attribute >= 0) H5Aclose(attribute);
  H5Sclose(space);
  H5Tclose(type);
}

static void put_number(writer *w, hid_t object, const char *name, hid_t file_type, hid_t memory_type, const void *value)
{
  hid_t space = H5Screate(H5S_SCALAR);
  hid_t attribute = good(w, H5Acreate2(object, name, file_type, space, H5P_DEFAULT, H5P_DEFAULT));
  if (attribute >= 0) good(w, H5Awrite(attribute, memory_type, value));
  if (attribute >= 0) H5Aclose(attribute);
  H5Sclose(space);
}

static void put_model(writer *w, const ebb_trainer *t)
{
  hid_t group = make_group(w, "/model");
  for (const ebb_param *p = t->model->params; p && group >= 0; p = p->next) put_dataset(w, group, p, values_of(t, p, MODEL));
  if (group >= 0) H5Gclose(group);
}

static void put_moments(writer *w, const ebb_trainer *t)
{
  char  name[64];
  hid_t outer = make_group(w, "/optim");
  for (int k = 0; k < moments_of(t); k++) {
    hid_t group = make_group(w, group_of(name, t, k));
    for (const ebb_param *p = t->model->params; p && group >= 0; p = p->next)
      if (p->kind == EBB_WEIGHT) put_dataset(w, group, p, values_of(t, p, k));
    if (group >= 0) H5Gclose(group);
  }
  if (outer >= 0) H5Gclose(outer);
}

static void put_progress(writer *w, const ebb_trainer *t)
{
  progress q = progress_of(t);
  hid_t    group = make_group(w, "/train");
  if (group < 0) return;
  for (int i = 0; i < COUNTERS; i++)
    put_number(w, group, counters[i].name, H5T_STD_U64LE, H5T_NATIVE_UINT64, (char *)&q + counters[i].offset);
  for (int i = 0; i < REALS; i++)
    put_number(w, group, reals[i].name, H5T_IEEE_F64LE, H5T_NATIVE_DOUBLE, (char *)&q + reals[i].offset);
  sha256_update(&w->content, sizeof q, (const uint8_t *)&q);
  H5Gclose(group);
}

/* Blocks whose input is kept, a name on each line; nothing where there are none. */
typedef struct names { ebb_pool pool; const ebb_plan *plan; const char *text; } names;

static void add_held(const ebb_layer *l, int depth, void *context)
{
  names *k = context;
  (void)depth;
  if (k->plan->held[l->id]) k->text = ebb_pool_text(&k->pool, "%s%s\n", k->text, l->name);
}

static void put_held(writer *w, const ebb_trainer *t)
{
  names k = {.plan = &t->plan, .text = ""};
  ebb_model_walk(t->model, add_held, &k);
  hid_t group = *k.text ? good(w, H5Gopen2(w->file, "/train", H5P_DEFAULT)) : H5I_INVALID_HID;
  if (group >= 0) {
    put_text(w, group, "held", k.text);
    sha256_update(&w->content, strlen(k.text), (const uint8_t *)k.text);
    H5Gclose(group);
  }
  ebb_pool_clear(&k.pool);
}

static void put_root(writer *w, const ebb_trainer *t, const char *config)
{
  const int version = 1;
  char      text[HEX];
  uint8_t   digest[DIGEST];
  sha256_digest(&w->content, DIGEST, digest);
  hexadecimal(text, digest);
  hid_t root = good(w, H5Gopen2(w->file, "/", H5P_DEFAULT));
  if (root < 0) return;
  put_text(w, root, "format", "ebb-checkpoint");
  put_number(w, root, "format_version", H5T_STD_I32LE, H5T_NATIVE_INT, &version);
  put_text(w, root, "arch", t->model->name);
  put_text(w, root, "config", config);
  put_text(w, root, "content_sha256", text);
  H5Gclose(root);
}

static hid_t create_in_memory(void)
{
  hid_t access = H5Pcreate(H5P_FILE_ACCESS), create = plain(H5P_FILE_CREATE);
  H5Pset_fapl_core(access, (size_t)1 << 20, false);
  H5Pset_libver_bounds(access, H5F_LIBVER_EARLIEST, H5F_LIBVER_V18);
  hid_t file = H5Fcreate("checkpoint", H5F_ACC_TRUNC, create, access);
  H5Pclose(create);
  H5Pclose(access);
  return file;
}


ebb_status ebb_checkpoint_save(const char *path, const ebb_trainer *t, const char *config)
{
  char     block[BLOCK];
  ebb_pool pool = {0};
  writer   w = {.file = create_in_memory()};
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  if (w.file < 0) return ebb_fail(EBB_OSERR, "%s: libhdf5 could not make a file in memory", path);
  sha256_init(&w.content);
  w.scratch = ebb_pool_take(&pool, largest(t->model) * sizeof(ebb_real));
  put_model(&w, t);
  if (moments_of(t)) put_moments(&w, t);
  put_progress(&w, t);
  put_held(&w, t);
  put_root(&w, t, config);
  H5Fflush(w.file, H5F_SCOPE_GLOBAL);
  ssize_t    size = H5Fget_file_image(w.file, NULL, 0);
  ebb_status status = EBB_OK;
  if (w.bad || size <= 0) status = ebb_fail(EBB_OSERR, "%s: libhdf5 could not build the checkpoint in memory", path);
  if (status == EBB_OK) {
    char *image = ebb_pool_take(&pool, (size_t)size);
    H5Fget_file_image(w.file, image, (size_t)size);
    struct sha256_ctx rest;
    sha256_init(&rest);
    sha256_update(&rest, (size_t)size, (const uint8_t *)image);
    make_block(block, &rest);
    status = ebb_file_replace(path, (ebb_bytes_part[]){{block, BLOCK}, {image, (size_t)size}}, 2);
  }
  H5Fclose(w.file);
  ebb_pool_clear(&pool);
  return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */
static ebb_status damaged(const char *path, const char *what)
{
  return ebb_fail(EBB_DATA, "%s: %s\nhint: use another checkpoint (checkpoint_best.h5, or a copy); this one cannot be trusted",
                  path, what);
}

/* Is the file what was written? */
static ebb_status verify(const char *path)
{
  struct sha256_ctx rest;
  uint8_t           bytes[65536];
  char              block[BLOCK], expected[BLOCK];
  FILE             *f = fopen(path, "rb");
  if (!f) return ebb_fail(EBB_NOINPUT, "%s: the checkpoint cannot be read: %s\nhint: check the path", path, strerror(errno));
  sha256_init(&rest);
  size_t n = fread(block, 1, BLOCK, f);
  bool   ours = n == BLOCK && memcmp(block, magic, sizeof magic - 1) == 0;
  while (ours && (n = fread(bytes, 1, sizeof bytes, f)) > 0) sha256_update(&rest, n, bytes);
  fclose(f);
  if (!ours)
    return ebb_fail(EBB_DATA, "%s: expected a checkpoint of ebb, found something else\nhint: checkpoints are called "
                    "checkpoint_last.h5 and checkpoint_best.h5", path);
  make_block(expected, &rest);
  if (memcmp(block, expected, BLOCK) != 0)
    return damaged(path, "the content does not have the checksum it was written with: it is truncated or changed");
  return EBB_OK;
}

static ebb_status open_file(const char *path, hid_t *file)
{
  EBB_TRY(verify(path));
  H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
  *file = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT);
  return *file < 0 ? damaged(path, "libhdf5 cannot open it") : EBB_OK;
}

static const char *get_text(hid_t object, const char *name, ebb_pool *pool)
{
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return NULL;
  hid_t  type = H5Aget_type(attribute);
  size_t size = H5Tget_size(type);
  char  *text = ebb_pool_take(pool, size + 1);
  if (H5Tget_class(type) != H5T_STRING || H5Tis_variable_str(type) > 0 || H5Aread(attribute, type, text) < 0) text = NULL;
  H5Tclose(type);
  H5Aclose(attribute);
  return text;
}

static bool get_number(hid_t object, const char *name, hid_t memory_type, void *value)
{
  hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
  if (attribute < 0) return false;
  bool read = H5Aread(attribute, memory_type, value) >= 0;
  H5Aclose(attribute);
  return read;
}

static ebb_status check_format(const char *path, hid_t file)
{
  int version = 0;
  get_number(file, "format_version", H5T_NATIVE_INT, &version);
  if (version == 1) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected format version 1, found %d\nhint: a newer ebb wrote it; use that one", path, version);
}

ebb_status ebb_checkpoint_config(const char *path, const char **config, ebb_pool *pool)
{
  hid_t file;
  EBB_TRY(open_file(path, &file));
  ebb_status status = check_format(path, file);
  if (status == EBB_OK && !(*config = get_text(file, "config", pool))) status = damaged(path, "it holds no configuration");
  H5Fclose(file);
  return status;
}

/* The dataset of a parameter, if it is there and has the parameter's shape. */
static ebb_status open_dataset(const char *path, hid_t file, const char *group, const ebb_param *p, hid_t *set)
{
  char name[512];
  hsize_t dims[H5S_MAX_RANK] = {0};
  snprintf(name, sizeof name, "%s/%s", group, p->name);
  *set = H5Dopen2(file, name, H5P_DEFAULT);
  if (*set < 0)
    return ebb_fail(EBB_DATA, "%s: expected %s, found nothing of that name: the checkpoint is of another architecture\nhint: "
                    "give the configuration it was trained with (ebb eval takes it from the checkpoint)", path, name);
  hid_t space = H5Dget_space(*set);
  int   rank = H5Sget_simple_extent_dims(space, dims, NULL);
  bool  fits = rank == p->rank;
  for (int i = 0; fits && i < rank; i++) fits = dims[i] == (hsize_t)p->dims[i];
  H5Sclose(space);
  if (fits) return EBB_OK;
  H5Dclose(*set);
  return ebb_fail(EBB_DATA, "%s: %s: expected a shape that begins with %d and %zu values, found one that begins with %llu: the "
                  "checkpoint is of another architecture\nhint: give the configuration it was trained with", path, name,
                  p->dims[0], p->count, (unsigned long long)dims[0]);
}

/* Values that say places are used as such. */
static bool are_places(const ebb_real *values, const ebb_param *p)
{
  for (size_t i = 0; p->places && i < p->count; i++)
    if (!(values[i] >= 0 && values[i] < (ebb_real)p->count)) return false;
  return true;
}

/* Looks at all datasets of a group, or reads them all. */
static ebb_status visit(const char *path, hid_t file, const ebb_trainer *t, int moment, ebb_real *scratch)
{
  char group[64];
  for (const ebb_param *p = t->model->params; p; p = p->next) {
    hid_t set;
    if (moment != MODEL && p->kind != EBB_WEIGHT) continue;
    EBB_TRY(open_dataset(path, file, group_of(group, t, moment), p, &set));
    bool read = !scratch || H5Dread(set, REAL_MEMORY, H5S_ALL, H5S_ALL, H5P_DEFAULT, scratch) >= 0;
    H5Dclose(set);
    if (!read) return damaged(path, "a dataset cannot be read");
    if (scratch && !are_places(scratch, p)) return damaged(path, "an order of channels goes beyond them");
    if (scratch) copy_values(values_of(t, p, moment), scratch, p, FROM_FILE);
  }
  return EBB_OK;
}

static ebb_status count_datasets(const char *path, hid_t file, const ebb_model *m)
{
  H5G_info_t info = {0};
  size_t     expected = 0;
  for (const ebb_param *p = m->params; p; p = p->next) expected++;
  if (H5Gget_info_by_name(file, "/model", &info, H5P_DEFAULT) >= 0 && info.nlinks == expected) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected %zu parameters, found %llu: the checkpoint is of another architecture\nhint: give the "
                  "configuration it was trained with", path, expected, (unsigned long long)info.nlinks);
}

static bool read_progress(hid_t file, progress *q)
{
  hid_t group = H5Gopen2(file, "/train", H5P_DEFAULT);
  if (group < 0) return false;
  bool all = true;
  for (int i = 0; i < REALS; i++) all = get_number(group, reals[i].name, H5T_NATIVE_DOUBLE, (char *)q + reals[i].offset) && all;
  for (int i = 0; i < COUNTERS; i++)
    all = get_number(group, counters[i].name, H5T_NATIVE_UINT64, (char *)q + counters[i].offset) && all;
  H5Gclose(group);
  return all;
}

static bool is_line(const char *text, const char *name)
{
  size_t n = strlen(name);
  for (const char *at = text; at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
    if (strncmp(at, name, n) == 0 && at[n] == '\n') return true;
  return false;
}

typedef struct holder { ebb_trainer *t; const char *names; ebb_status status; } holder;

static void hold(const ebb_layer *l, int depth, void *context)
{
  holder *k = context;
  (void)depth;
  if (k->status == EBB_OK && ebb_may_drift(l) && is_line(k->names, l->name)) k->status = ebb_trainer_hold(k->t, l);
}

/* What the run that is resumed held, where this one looks for drift, too. */
static ebb_status take_held(hid_t file, ebb_trainer *t)
{
  ebb_pool pool = {0};
  hid_t    group = H5Gopen2(file, "/train", H5P_DEFAULT);
  holder   k = {.t = t, .names = H5Aexists(group, "held") > 0 ? get_text(group, "held", &pool) : NULL, .status = EBB_OK};
  if (k.names && t->plan.options.drift > 0 && t->policy == EBB_REVERSE) ebb_model_walk(t->model, hold, &k);
  H5Gclose(group);
  ebb_pool_clear(&pool);
  return k.status;
}

static void take_progress(ebb_trainer *t, const progress *q)
{
  t->step = q->step;
  t->epoch = (uint32_t)q->epoch;
  t->cursor = q->cursor;
  t->best = q->best;
  t->stale = q->stale;
  t->lr_scale = q->lr_scale;
  t->work.run.step = (uint32_t)q->forwards;
  t->work.run.seed = q->seed;
}

/* First everything is looked at, then everything is read: the checksum has shown that reading will not fail. */
static ebb_status load(const char *path, hid_t file, ebb_trainer *t, bool weights_only, ebb_real *scratch)
{
  progress q;
  int      moments = weights_only ? 0 : moments_of(t);
  EBB_TRY(check_format(path, file));
  EBB_TRY(visit(path, file, t, MODEL, NULL));
  EBB_TRY(count_datasets(path, file, t->model));
  for (int k = 0; k < moments; k++) EBB_TRY(visit(path, file, t, k, NULL));
  if (!weights_only && !read_progress(file, &q)) return damaged(path, "it does not say where training stood");
  EBB_TRY(visit(path, file, t, MODEL, scratch));
  if (weights_only && t->options.ema > 0 && H5Lexists(file, "/optim", H5P_DEFAULT) > 0 && H5Lexists(file, "/optim/ema", H5P_DEFAULT) > 0)
    EBB_TRY(visit(path, file, t, MEAN, scratch));
  for (int k = 0; k < moments; k++) EBB_TRY(visit(path, file, t, k, scratch));
  if (weights_only) return EBB_OK;
  take_progress(t, &q);
  return take_held(file, t);
}

ebb_status ebb_checkpoint_load(const char *path, ebb_trainer *t, bool weights_only)
{
  ebb_pool pool = {0};
  hid_t    file;
  EBB_TRY(open_file(path, &file));
  ebb_real  *scratch = ebb_pool_take(&pool, largest(t->model) * sizeof *scratch);
  ebb_status status = load(path, file, t, weights_only, scratch);
  H5Fclose(file);
  ebb_pool_clear(&pool);
  return status;
}
