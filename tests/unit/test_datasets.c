/* test_datasets.c -- files of users become batches, exactly or not at all. */
#define _GNU_SOURCE
#define H5_USE_110_API
#include <check.h>
#include <dirent.h>
#include <hdf5.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "datasets/datasets.h"
#include "datasets/hdf5.h"
#include "datasets/order.h"
#include "datasets/sample.h"
#include "tests/suite.h"

/* ---- files to read --------------------------------------------------------------------------------------------- */
static char folder[64];

static void folder_make(void)
{
  strcpy(folder, "/tmp/ebb_datasets_XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  ebb_data_init();
}

static void folder_remove(void)
{
  DIR *d = opendir(folder);
  struct dirent *e;
  char path[512];
  while ((e = readdir(d))) {
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (e->d_name[0] != '.') unlink(path);
  }
  closedir(d);
  ck_assert_int_eq(rmdir(folder), 0);
}

static const char *at(const char *name)
{
  static char path[8][128];
  static int turn;
  turn = (turn + 1) % 8;
  snprintf(path[turn], sizeof path[turn], "%s/%s", folder, name);
  return path[turn];
}

static int files_in_folder(void)
{
  DIR *d = opendir(folder);
  int n = 0;
  for (struct dirent *e; (e = readdir(d));) n += e->d_name[0] != '.';
  closedir(d);
  return n;
}

typedef struct spec {
  const char *path;
  hid_t file_type, memory_type;
  int rank;
  hsize_t dims[7], chunk[7]; /* chunk[0] == 0: contiguous */
  int gzip;
} spec;

static hid_t file_open(const char *name)
{
  hid_t f = H5Fcreate(at(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  ck_assert_int_ge(f, 0);
  return f;
}

static hid_t put(hid_t file, spec s, const void *data)
{
  hid_t space = H5Screate_simple(s.rank, s.dims, NULL), create = H5Pcreate(H5P_DATASET_CREATE);
  hid_t links = H5Pcreate(H5P_LINK_CREATE);
  H5Pset_create_intermediate_group(links, 1);
  if (s.chunk[0]) H5Pset_chunk(create, s.rank, s.chunk);
  if (s.gzip) H5Pset_shuffle(create), H5Pset_deflate(create, 1);
  hid_t d = H5Dcreate2(file, s.path, s.file_type, space, links, create, H5P_DEFAULT);
  ck_assert_int_ge(d, 0);
  if (data) ck_assert_int_ge(H5Dwrite(d, s.memory_type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data), 0);
  H5Pclose(links);
  H5Pclose(create);
  H5Sclose(space);
  return d;
}

static void add(hid_t file, spec s, const void *data)
{
  H5Dclose(put(file, s, data));
}

static void text_attribute(hid_t d, const char *name, const char *text, bool variable)
{
  hid_t type = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
  H5Tset_size(type, variable ? H5T_VARIABLE : strlen(text) + 1);
  if (variable) H5Tset_cset(type, H5T_CSET_UTF8);
  hid_t a = H5Acreate2(d, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
  ck_assert_int_ge(H5Awrite(a, type, variable ? (const void *)&text : text), 0);
  H5Aclose(a);
  H5Sclose(space);
  H5Tclose(type);
}

/* ---- values that tell where they come from --------------------------------------------------------------------- */
enum { N = 50, H = 5, W = 6, C = 3, VALUES = N * H * W * C };

static int value_of(int n, int h, int w, int c)
{
  return (n * 7 + h * 31 + w * 5 + c * 77) % 251;
}

static int32_t label_of(int n)
{
  return n * 3 % 10;
}

/* order: nhwc or nchw */
static void fill_images(unsigned char *x, bool first)
{
  for (int n = 0; n < N; n++)
    for (int h = 0; h < H; h++)
      for (int w = 0; w < W; w++)
        for (int c = 0; c < C; c++)
          x[first ? ((n * C + c) * H + h) * W + w : ((n * H + h) * W + w) * C + c] =
              (unsigned char)value_of(n, h, w, c);
}

static void fill_labels(int32_t *y)
{
  for (int n = 0; n < N; n++) y[n] = label_of(n);
}

static spec images_spec(const char *path, hid_t type, bool first, int chunk, int gzip)
{
  spec s = {.path = path, .file_type = type, .memory_type = H5T_NATIVE_UCHAR, .rank = 4, .gzip = gzip};
  hsize_t last_dims[] = {N, H, W, C}, first_dims[] = {N, C, H, W};
  memcpy(s.dims, first ? first_dims : last_dims, sizeof last_dims);
  if (chunk) memcpy(s.chunk, s.dims, sizeof s.chunk), s.chunk[0] = (hsize_t)chunk;
  return s;
}

static spec labels_spec(const char *path, hid_t type)
{
  return (spec){.path = path, .file_type = type, .memory_type = H5T_NATIVE_INT32, .rank = 1, .dims = {N}};
}

static void add_set(hid_t f, const char *group, hid_t type, bool first, int chunk, int gzip)
{
  unsigned char x[VALUES];
  int32_t y[N];
  char path[64];
  fill_images(x, first);
  fill_labels(y);
  snprintf(path, sizeof path, "%s/images", group);
  add(f, images_spec(path, type, first, chunk, gzip), x);
  snprintf(path, sizeof path, "%s/labels", group);
  add(f, labels_spec(path, H5T_STD_I64LE), y);
}

static const char *make(const char *name, hid_t type, bool first, int chunk, int gzip)
{
  hid_t f = file_open(name);
  add_set(f, "", type, first, chunk, gzip);
  H5Fclose(f);
  return at(name);
}

/* ---- opening --------------------------------------------------------------------------------------------------- */
static ebb_data_options options(const char *train)
{
  ebb_data_options o = {0};
  ebb_options_default(&o, ebb_data_option_table);
  o.train = train;
  return o;
}

/* Values as in the file: mean 0, std 1. */
static ebb_data_options plain_options(const char *train)
{
  ebb_data_options o = options(train);
  o.mean = (ebb_numbers){1, {0}};
  o.std = (ebb_numbers){1, {1}};
  return o;
}

static ebb_data *open_data(const ebb_data_options *o)
{
  ebb_data *d;
  ebb_status status = ebb_data_open(&d, o);
  ck_assert_msg(status == EBB_OK, "%s", ebb_message());
  return d;
}

static void get(ebb_source *s, ebb_batch *b)
{
  ck_assert_msg(s->ops->next(s, b) == EBB_OK, "%s", ebb_message());
}

static void check_sample(const ebb_batch *b, int i)
{
  const ebb_real *x = (const ebb_real *)b->x.p + (size_t)i * H * W * C;
  int n = (int)b->index[i];
  ck_assert_int_eq(b->labels[i], label_of(n));
  for (int h = 0; h < H; h++)
    for (int w = 0; w < W; w++)
      for (int c = 0; c < C; c++) ck_assert_double_eq((double)x[(h * W + w) * C + c], value_of(n, h, w, c));
}

/* ---- contents -------------------------------------------------------------------------------------------------- */
typedef struct storage {
  const char *name;
  bool first;
  int chunk, gzip;
} storage;
static const storage storages[] = {{"contiguous", false, 0, 0}, {"chunks", false, 7, 0},
                                   {"gzip", false, 7, 1},       {"first", true, 0, 0},
                                   {"first, gzip", true, 4, 1}, {"one chunk", false, N, 1}};
#define STORAGES (int)(sizeof storages / sizeof *storages)

static void check_contents(hid_t type, const storage *s)
{
  ebb_data_options o = plain_options(make("a.h5", type, s->first, s->chunk, s->gzip));
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  int seen = 0;
  ck_assert_int_eq(d->shape.h, H);
  ck_assert_int_eq(d->shape.w, W);
  ck_assert_int_eq(d->shape.c, C);
  ck_assert_int_eq(d->classes, 10);
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_TRAIN_SET, 8), EBB_OK);
  for (get(source, &b); b.x.s.n; get(source, &b))
    for (int i = 0; i < b.x.s.n; i++) {
      ck_assert_uint_eq(b.index[i], (unsigned)seen++);
      check_sample(&b, i);
    }
  ck_assert_int_eq(seen, N);
  get(source, &b);
  ck_assert_int_eq(b.x.s.n, 0);
  source->ops->close(source);
  ebb_data_close(d);
}

START_TEST(contents_of_every_type_and_storage)
{
  const hid_t types[] = {H5T_STD_U8LE,  H5T_STD_U16BE,  H5T_STD_U16LE,  H5T_STD_I32BE,  H5T_STD_U32LE,  H5T_STD_I64BE,
                         H5T_STD_U64LE, H5T_IEEE_F32BE, H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_IEEE_F64LE, H5T_STD_I16BE};
  for (int t = 0; t < (int)(sizeof types / sizeof *types); t++) check_contents(types[t], &storages[_i]);
}
END_TEST

START_TEST(half_precision_is_read)
{
  hid_t f16 = H5Tcopy(H5T_IEEE_F32LE); /* NumPy's float16 */
  H5Tset_fields(f16, 15, 10, 5, 0, 10);
  H5Tset_size(f16, 2);
  H5Tset_ebias(f16, 15);
  check_contents(f16, &storages[0]);
  H5Tclose(f16);
}
END_TEST

/* ---- order ----------------------------------------------------------------------------------------------------- */
START_TEST(training_order_is_a_permutation_each_epoch)
{
  const storage *s = &storages[_i];
  ebb_data_options o = plain_options(make("a.h5", H5T_STD_U8LE, s->first, s->chunk, s->gzip));
  o.window = 3 * 7 * H * W * C;
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  unsigned order[3][N];
  ck_assert_int_eq(ebb_data_train(&source, d, 5, 42), EBB_OK);
  ck_assert_uint_eq(source->samples, N);
  for (unsigned e = 0; e < 3; e++) {
    int seen[N] = {0}, at_position = 0;
    ck_assert_int_eq(source->ops->seek(source, e, 0), EBB_OK);
    for (get(source, &b); b.x.s.n; get(source, &b))
      for (int i = 0; i < b.x.s.n; i++) {
        check_sample(&b, i);
        seen[b.index[i]]++;
        order[e][at_position++] = b.index[i];
      }
    for (int i = 0; i < N; i++) ck_assert_int_eq(seen[i], 1);
  }
  ck_assert_int_ne(memcmp(order[0], order[1], sizeof *order), 0);
  ck_assert_int_ne(memcmp(order[1], order[2], sizeof *order), 0);
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

/* The whole epoch as bytes. */
typedef struct epoch {
  float x[N][H * W * C];
  int32_t y[N];
  uint32_t index[N];
  int count;
} epoch;

static void read_epoch(epoch *e, ebb_source *s, int pause)
{
  ebb_batch b;
  for (get(s, &b); b.x.s.n; get(s, &b)) {
    for (int i = 0; i < b.x.s.n; i++, e->count++) {
      const ebb_real *x = (const ebb_real *)b.x.p + (size_t)i * H * W * C;
      for (int j = 0; j < H * W * C; j++) e->x[e->count][j] = (float)x[j];
      e->y[e->count] = b.labels[i];
      e->index[e->count] = b.index[i];
    }
    if (pause) usleep((useconds_t)pause);
  }
}

START_TEST(two_opens_a_seek_and_any_pace_give_the_same_bytes)
{
  const storage *s = &storages[_i];
  ebb_data_options o = plain_options(make("a.h5", H5T_STD_U8LE, s->first, s->chunk, s->gzip));
  o.window = 3 * 7 * H * W * C;
  o.pad = 2;
  o.flip = true;
  static epoch whole, again, part;
  ebb_data *d = open_data(&o);
  ebb_source *a, *b;
  ebb_batch ignored;
  memset(&whole, 0, sizeof whole), memset(&again, 0, sizeof again), memset(&part, 0, sizeof part);
  ck_assert_int_eq(ebb_data_train(&a, d, 5, 9), EBB_OK);
  ck_assert_int_eq(ebb_data_train(&b, d, 5, 9), EBB_OK);
  ck_assert_int_eq(a->ops->seek(a, 2, 0), EBB_OK);
  read_epoch(&whole, a, 0);
  get(b, &ignored); /* some of epoch 0 first */
  ck_assert_int_eq(b->ops->seek(b, 1, 10), EBB_OK);
  ck_assert_int_eq(b->ops->seek(b, 2, 0), EBB_OK);
  read_epoch(&again, b, 2000);
  ck_assert_int_eq(memcmp(&whole, &again, sizeof whole), 0);
  ck_assert_int_eq(b->ops->seek(b, 2, 35), EBB_OK);
  read_epoch(&part, b, 0);
  ck_assert_int_eq(part.count, 15);
  ck_assert_int_eq(memcmp(part.index, whole.index + 35, 15 * sizeof *part.index), 0);
  ck_assert_int_eq(memcmp(part.x, whole.x + 35, 15 * sizeof *part.x), 0);
  ck_assert_int_eq(memcmp(part.y, whole.y + 35, 15 * sizeof *part.y), 0);
  a->ops->close(a);
  b->ops->close(b);
  ebb_data_close(d);
}
END_TEST

START_TEST(training_delivers_whole_batches_evaluation_all)
{
  ebb_data_options o = plain_options(make("a.h5", H5T_STD_U8LE, false, 0, 0));
  ebb_data *d = open_data(&o);
  ebb_source *train, *eval;
  ebb_batch b;
  int n = 0;
  ck_assert_int_eq(ebb_data_train(&train, d, 16, 1), EBB_OK);
  ck_assert_int_eq(ebb_data_eval(&eval, d, EBB_TRAIN_SET, 16), EBB_OK);
  for (get(train, &b); b.x.s.n; get(train, &b), n++) ck_assert_int_eq(b.x.s.n, 16);
  ck_assert_int_eq(n, 3);
  ck_assert_uint_eq(train->samples, 48);
  ck_assert_int_eq(train->ops->seek(train, 0, 5), EBB_OK); /* a batch size changed between runs */
  for (n = 0, get(train, &b); b.x.s.n; get(train, &b), n++) ck_assert_int_eq(b.x.s.n, 16);
  ck_assert_int_eq(n, 2);
  ck_assert_uint_eq(eval->samples, 50);
  int last = 0, all = 0;
  for (get(eval, &b); b.x.s.n; get(eval, &b)) last = b.x.s.n, all += last;
  ck_assert_int_eq(last, 2);
  ck_assert_int_eq(all, 50);
  ck_assert_uint_eq(train->bytes, ebb_data_train_bytes(d, 16));
  ck_assert_uint_eq(eval->bytes, ebb_data_eval_bytes(d, EBB_TRAIN_SET, 16));
  ck_assert_uint_ge(train->bytes, ebb_data_batch_bytes(train->shape, (size_t)train->shape.n));
  train->ops->close(train);
  eval->ops->close(eval);
  ck_assert_int_eq(ebb_data_train(&train, d, 51, 1), EBB_CONFIG);
  ck_assert_int_eq(ebb_data_eval(&eval, d, EBB_VAL_SET, 5), EBB_CONFIG);
  ebb_data_close(d);
}
END_TEST

/* Compressed blocks stay together within a window, so that each is unpacked once an epoch; mixing is wide all the same. */
START_TEST(windows_hold_whole_blocks)
{
  enum { SAMPLES = 103, BLOCK = 8, WINDOW = 3 };
  uint32_t tables[SAMPLES + 2 * 13];
  ebb_order o;
  ck_assert_uint_eq(ebb_order_tables(SAMPLES, BLOCK), sizeof tables / sizeof *tables);
  ebb_order_init(&o, tables, SAMPLES, BLOCK, WINDOW);
  ebb_order_shuffle(&o, 5, 3);
  int seen[SAMPLES] = {0};
  uint32_t window = 0;
  for (uint32_t i = 0; i < SAMPLES; i++) {
    uint32_t its = o.place_of[o.sample_at[i] / BLOCK] / WINDOW;
    ck_assert_uint_ge(its, window);
    window = its;
    seen[o.sample_at[i]]++;
  }
  for (int i = 0; i < SAMPLES; i++) ck_assert_int_eq(seen[i], 1);
  int neighbours = 0;
  for (uint32_t i = 1; i < SAMPLES; i++) neighbours += o.sample_at[i] == o.sample_at[i - 1] + 1;
  ck_assert_int_lt(neighbours, SAMPLES / 4);
}
END_TEST

/* Each sample is as likely in each place: chi-squared over 4 places by 4 samples, 4000 epochs (9 degrees of freedom). */
START_TEST(a_single_window_is_a_uniform_permutation)
{
  uint32_t tables[4 + 2 * 2];
  int count[4][4] = {{0}};
  double chi = 0;
  ebb_order o;
  ebb_order_init(&o, tables, 4, 2, 2);
  for (uint32_t e = 0; e < 4000; e++) {
    ebb_order_shuffle(&o, 1, e);
    for (int i = 0; i < 4; i++) count[i][o.sample_at[i]]++;
  }
  for (int i = 0; i < 16; i++) chi += pow(count[i / 4][i % 4] - 1000.0, 2) / 1000.0;
  ck_assert_double_lt(chi, 27.9); /* p = 0.001 */
}
END_TEST

/* ---- augmentation ---------------------------------------------------------------------------------------------- */
static ebb_axes dense_axes(void)
{
  return (ebb_axes){.shape = {.rank = 2, .n = 1, .d = 1, .h = H, .w = W, .c = C}, .h = W * C, .w = C, .c = 1};
}

START_TEST(a_crop_shifts_and_a_flip_mirrors)
{
  unsigned char x[H * W * C];
  ebb_real y[H * W * C];
  ebb_axes a = dense_axes();
  ebb_norm norm[C] = {{10, 2}, {20, 4}, {0, 1}};
  for (int i = 0; i < H * W * C; i++) x[i] = (unsigned char)(i + 1);
  for (int dh = -6; dh <= 6; dh++)
    for (int dw = -7; dw <= 7; dw++)
      for (int flip = 0; flip < 2; flip++) {
        for (int i = 0; i < H * W * C; i++) y[i] = 99;
        ck_assert(ebb_sample_place(y, x, EBB_H5_U8, &a, norm, (ebb_crop){.h = dh, .w = dw, .flip = flip}));
        for (int h = 0; h < H; h++)
          for (int w = 0; w < W; w++)
            for (int c = 0; c < C; c++) {
              int from_h = h + dh, from_w = (flip ? W - 1 - w : w) + dw;
              bool in = from_h >= 0 && from_h < H && from_w >= 0 && from_w < W;
              double want = in ? (x[(from_h * W + from_w) * C + c] - norm[c].mean) / norm[c].std : 0.0;
              ck_assert_double_eq_tol((double)y[(h * W + w) * C + c], want, 1e-5);
            }
      }
}
END_TEST

START_TEST(crops_stay_within_pad_and_repeat)
{
  ebb_shape s = dense_axes().shape;
  int flips = 0, seen[5] = {0};
  for (uint32_t i = 0; i < 2000; i++) {
    ebb_crop a = ebb_crop_draw(s, 2, true, 7, 1, i), b = ebb_crop_draw(s, 2, true, 7, 1, i);
    ck_assert(a.h == b.h && a.w == b.w && a.flip == b.flip && a.d == 0);
    ck_assert(abs(a.h) <= 2 && abs(a.w) <= 2);
    seen[a.w + 2]++;
    flips += a.flip;
  }
  for (int i = 0; i < 5; i++) ck_assert(seen[i] > 320 && seen[i] < 480);
  ck_assert(flips > 900 && flips < 1100);
  ebb_crop none = ebb_crop_draw(s, 0, false, 7, 1, 0);
  ck_assert(none.h == 0 && none.w == 0 && none.d == 0 && !none.flip);
}
END_TEST

/* ---- mean and standard deviation ------------------------------------------------------------------------------- */
START_TEST(mean_and_std_are_measured_and_applied)
{
  ebb_data_options o = options(make("a.h5", H5T_STD_U8LE, true, 7, 1));
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  double sum[C] = {0}, squares[C] = {0}, mean[C], std[C];
  for (int i = 0; i < N * H * W; i++)
    for (int c = 0; c < C; c++) sum[c] += value_of(i / (H * W), i / W % H, i % W, c);
  for (int c = 0; c < C; c++) mean[c] = sum[c] / (N * H * W);
  for (int i = 0; i < N * H * W; i++)
    for (int c = 0; c < C; c++) squares[c] += pow(value_of(i / (H * W), i / W % H, i % W, c) - mean[c], 2);
  ck_assert(d->measured && d->mean.count == C && d->std.count == C);
  for (int c = 0; c < C; c++) {
    std[c] = sqrt(squares[c] / (N * H * W));
    ck_assert_double_eq_tol(d->mean.at[c], mean[c], 1e-10);
    ck_assert_double_eq_tol(d->std.at[c], std[c], 1e-10);
  }
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_TRAIN_SET, N), EBB_OK);
  get(source, &b);
  for (int i = 0; i < N * H * W * C; i++) {
    double raw = value_of(i / (H * W * C), i / (W * C) % H, i / C % W, i % C);
    ck_assert_double_eq_tol((double)((ebb_real *)b.x.p)[i], (raw - mean[i % C]) / std[i % C], 1e-5);
  }
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

START_TEST(a_val_set_alone_takes_the_numbers_given)
{
  ebb_data *d;
  ebb_data_options o = options("");
  o.val = make("a.h5", H5T_STD_U8LE, false, 0, 0);
  ck_assert_int_eq(ebb_data_open(&d, &o), EBB_CONFIG);
  ck_assert_ptr_null(d);
  o.mean = (ebb_numbers){3, {1, 2, 3}};
  o.std = (ebb_numbers){1, {2}};
  d = open_data(&o);
  ck_assert(!d->measured && d->samples[EBB_TRAIN_SET] == 0 && d->samples[EBB_VAL_SET] == N);
  ebb_data_close(d);
  o.mean.count = 2;
  ck_assert_int_eq(ebb_data_open(&d, &o), EBB_CONFIG);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "data.mean"));
}
END_TEST

/* ---- finding things -------------------------------------------------------------------------------------------- */
START_TEST(groups_hold_both_sets)
{
  const char *const names[] = {"/val", "/test", "/Validation"};
  hid_t f = file_open("a.h5");
  add_set(f, "/train", H5T_STD_U8LE, false, 7, 1);
  add_set(f, names[_i], H5T_STD_U8LE, true, 0, 0);
  H5Fclose(f);
  ebb_data_options o = plain_options(at("a.h5"));
  ebb_data *d = open_data(&o);
  ck_assert_uint_eq(d->samples[EBB_VAL_SET], N);
  ck_assert_ptr_nonnull(strstr(d->name[EBB_TRAIN_SET], "/train/images"));
  ck_assert_ptr_nonnull(strstr(d->name[EBB_VAL_SET], names[_i]));
  ck_assert_int_gt(d->note_count, 4);
  ebb_data_close(d);
  char place[200];
  snprintf(place, sizeof place, "%s:%s", at("a.h5"), names[_i]);
  o.train = place;
  d = open_data(&o);
  ck_assert_ptr_nonnull(strstr(d->name[EBB_TRAIN_SET], names[_i]));
  ck_assert_uint_eq(d->samples[EBB_VAL_SET], 0);
  ebb_data_close(d);
}
END_TEST

START_TEST(names_of_users_are_known)
{
  static const char *const pairs[][2] = {{"x", "y"},        {"X_train", "Y_train"}, {"train_set_x", "train_set_y"},
                                         {"images", "ans"}, {"raw", "label"},       {"DATA", "Truth"}};
  unsigned char x[VALUES];
  int32_t y[N];
  hid_t f = file_open("a.h5");
  fill_images(x, false);
  fill_labels(y);
  add(f, images_spec(pairs[_i][0], H5T_STD_U8LE, false, 0, 0), x);
  add(f, labels_spec(pairs[_i][1], H5T_STD_U8LE), y);
  add(f, labels_spec("redshift", H5T_IEEE_F64LE), y); /* Galaxy10 has such columns too */
  if (strstr(pairs[_i][0], "rain")) {
    add(f, images_spec("X_test", H5T_STD_U8LE, false, 0, 0), x);
    add(f, labels_spec("y_test", H5T_STD_U8LE), y);
  }
  H5Fclose(f);
  ebb_data_options o = plain_options(at("a.h5"));
  ebb_data *d = open_data(&o);
  ck_assert_ptr_nonnull(strstr(d->name[EBB_TRAIN_SET], pairs[_i][0]));
  ck_assert_uint_eq(d->samples[EBB_VAL_SET], strstr(pairs[_i][0], "rain") ? N : 0);
  ebb_data_close(d);
}
END_TEST

/* Images of any size, all zero but written. */
static const char *make_shape(const char *name, int rank, const hsize_t *dims, const char *attribute, const char *text)
{
  static unsigned char zeros[65536];
  int32_t y[N] = {0};
  spec x = {.path = "images", .file_type = H5T_STD_U8LE, .memory_type = H5T_NATIVE_UCHAR, .rank = rank};
  memcpy(x.dims, dims, (size_t)rank * sizeof *dims);
  hid_t f = file_open(name), d = put(f, x, zeros);
  if (attribute) text_attribute(d, attribute, text, strcmp(attribute, "axistags") == 0);
  if (attribute && !strcmp(attribute, "CLASS")) text_attribute(d, "INTERLACE_MODE", "INTERLACE_PLANE", false);
  H5Dclose(d);
  spec l = labels_spec("labels", H5T_STD_U8LE);
  l.dims[0] = dims[0];
  add(f, l, y);
  H5Fclose(f);
  return at(name);
}

typedef struct axes_case {
  int rank;
  hsize_t dims[6];
  const char *wanted, *attribute, *text;
  ebb_shape want;
} axes_case;

static const axes_case axes_cases[] = {
    {3, {4, 8, 9}, "", NULL, NULL, {.rank = 2, .d = 1, .h = 8, .w = 9, .c = 1}},
    {4, {4, 8, 9, 4}, "", NULL, NULL, {.rank = 2, .d = 1, .h = 8, .w = 9, .c = 4}},
    {4, {4, 1, 8, 9}, "", NULL, NULL, {.rank = 2, .d = 1, .h = 8, .w = 9, .c = 1}},
    {4, {4, 3, 8, 3}, "nchw", NULL, NULL, {.rank = 2, .d = 1, .h = 8, .w = 3, .c = 3}},
    {4, {4, 8, 9, 10}, "nzyx", NULL, NULL, {.rank = 3, .d = 8, .h = 9, .w = 10, .c = 1}},
    {2, {4, 30}, "nw", NULL, NULL, {.rank = 1, .d = 1, .h = 1, .w = 30, .c = 1}},
    {3, {4, 2, 30}, "NCW", NULL, NULL, {.rank = 1, .d = 1, .h = 1, .w = 30, .c = 2}},
    {5, {4, 5, 6, 7, 2}, "ndhwc", NULL, NULL, {.rank = 3, .d = 5, .h = 6, .w = 7, .c = 2}},
    {4,
     {4, 3, 8, 3},
     "",
     "axistags",
     "{\"axes\":[{\"key\":\"t\"},{\"key\":\"y\"},{\"key\":\"x\"},{\"key\":\"c\"}]}",
     {.rank = 2, .d = 1, .h = 3, .w = 8, .c = 3}},
    {4, {4, 3, 8, 3}, "", "CLASS", "IMAGE", {.rank = 2, .d = 1, .h = 8, .w = 3, .c = 3}},
};

START_TEST(axes_are_found_or_taken_as_said)
{
  const axes_case *c = &axes_cases[_i];
  ebb_data_options o = options(make_shape("a.h5", c->rank, c->dims, c->attribute, c->text));
  ebb_shape want = c->want;
  o.axes = c->wanted;
  ebb_data *d = open_data(&o);
  want.n = 1;
  ck_assert(ebb_shape_equal(d->shape, want));
  ebb_data_close(d);
}
END_TEST

/* ---- labels ---------------------------------------------------------------------------------------------------- */
static const char *make_labels(spec s, const void *labels)
{
  unsigned char x[VALUES];
  fill_images(x, false);
  hid_t f = file_open("a.h5");
  add(f, images_spec("images", H5T_STD_U8LE, false, 0, 0), x);
  add(f, s, labels);
  H5Fclose(f);
  return at("a.h5");
}

static void check_labels(int most)
{
  ebb_data_options o = plain_options(at("a.h5"));
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  ck_assert_int_eq(d->classes, most);
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_TRAIN_SET, N), EBB_OK);
  get(source, &b);
  for (int i = 0; i < N; i++) ck_assert_int_eq(b.labels[i], label_of(i) % most);
  source->ops->close(source);
  ebb_data_close(d);
}

START_TEST(labels_of_every_encoding)
{
  const hid_t types[] = {H5T_STD_U8LE, H5T_STD_I16BE, H5T_IEEE_F32LE, H5T_IEEE_F64BE, H5T_STD_U64BE};
  int32_t y[N];
  double hot[N][10] = {{0}};
  fill_labels(y);
  for (int t = 0; t < 5; t++) {
    spec s = {
        .path = "labels", .file_type = types[t], .memory_type = H5T_NATIVE_INT32, .rank = 4, .dims = {N, 1, 1, 1}};
    make_labels(s, y);
    check_labels(10);
  }
  for (int i = 0; i < N; i++) hot[i][y[i]] = 1;
  make_labels((spec){.path = "labels",
                     .file_type = H5T_IEEE_F32BE,
                     .memory_type = H5T_NATIVE_DOUBLE,
                     .rank = 2,
                     .dims = {N, 10},
                     .chunk = {6, 10},
                     .gzip = 1},
              hot);
  check_labels(10);
}
END_TEST

START_TEST(labels_of_h5py_bool)
{
  hid_t type = H5Tenum_create(H5T_STD_I8LE);
  signed char zero = 0, one = 1, y[N];
  H5Tenum_insert(type, "FALSE", &zero);
  H5Tenum_insert(type, "TRUE", &one);
  for (int i = 0; i < N; i++) y[i] = (signed char)(label_of(i) % 2);
  make_labels((spec){.path = "labels", .file_type = type, .memory_type = type, .rank = 1, .dims = {N}}, y);
  H5Tclose(type);
  check_labels(2);
}
END_TEST

/* ---- what is refused ------------------------------------------------------------------------------------------- */
/* The message names the file and holds each of the words (NULL ends); nothing but the file is in the folder. */
static void refuses_with(const ebb_data_options *o, ebb_status code, const char *const *words)
{
  ebb_data *d;
  int files = files_in_folder();
  ck_assert_int_eq(ebb_data_open(&d, o), code);
  ck_assert_ptr_null(d);
  for (; *words; words++) ck_assert_msg(strstr(ebb_message(), *words), "no \"%s\" in: %s", *words, ebb_message());
  ck_assert_int_eq(files_in_folder(), files);
}
#define REFUSES(o, code, ...) refuses_with((o), (code), (const char *const[]){__VA_ARGS__, NULL})

static void write_bytes(const char *name, const void *bytes, size_t count)
{
  FILE *f = fopen(at(name), "wb");
  ck_assert_uint_eq(fwrite(bytes, 1, count, f), count);
  fclose(f);
}

START_TEST(refuses_what_is_not_hdf5)
{
  ebb_data_options o = options(at("none.h5"));
  REFUSES(&o, EBB_NOINPUT, "none.h5", "expected an HDF5 file", "hint");
  write_bytes("a.h5", "", 0);
  o.train = at("a.h5");
  REFUSES(&o, EBB_DATA, "a.h5", "expected an HDF5 file", "empty");
  write_bytes("a.h5", "some text, long enough to be read", 33);
  REFUSES(&o, EBB_DATA, "a.h5", "expected an HDF5 file", "hint");
  write_bytes("a.h5", "\x1f\x8b\x08\x00\x00\x00\x00\x00", 8);
  REFUSES(&o, EBB_DATA, "gunzip");
  o.train = folder; /* of label maps, then: each file is looked at */
  REFUSES(&o, EBB_DATA, "a.h5", "gunzip");
  o.train = "/dev/null";
  REFUSES(&o, EBB_DATA, "/dev/null", "device");
  o.train = make("a.h5", H5T_STD_U8LE, false, 0, 0);
  struct stat st;
  stat(o.train, &st);
  ck_assert_int_eq(truncate(o.train, st.st_size / 2), 0);
  REFUSES(&o, EBB_DATA, "a.h5", "truncated", "hint");
  o.train = "";
  REFUSES(&o, EBB_CONFIG, "data.train");
}
END_TEST

START_TEST(refuses_missing_datasets)
{
  unsigned char x[VALUES];
  ebb_data_options o = options(make("a.h5", H5T_STD_U8LE, false, 0, 0));
  o.raw = "image";
  REFUSES(&o, EBB_DATA, "a.h5", "images", "did you mean images?", "/images (50, 5, 6, 3) uint8", "/labels (50) int64");
  o.raw = "", o.label = "klass";
  REFUSES(&o, EBB_DATA, "klass", "/labels (50) int64", "data.label");
  hid_t f = file_open("a.h5");
  fill_images(x, false);
  add(f, images_spec("pictures", H5T_STD_U8LE, false, 0, 0), x);
  H5Fclose(f);
  o.label = "";
  REFUSES(&o, EBB_DATA, "dataset of labels", "/pictures (50, 5, 6, 3)", "data.label=NAME");
  f = file_open("a.h5");
  H5Fclose(f);
  REFUSES(&o, EBB_DATA, "dataset of images", "no datasets");
  make("a.h5", H5T_STD_U8LE, false, 0, 0);
  char place[200];
  snprintf(place, sizeof place, "%s:nowhere", at("a.h5"));
  o.train = place;
  REFUSES(&o, EBB_DATA, "expected a group or dataset /nowhere", "/images");
}
END_TEST

START_TEST(refuses_two_candidates)
{
  unsigned char x[VALUES];
  hid_t f = file_open("a.h5");
  fill_images(x, false);
  add_set(f, "", H5T_STD_U8LE, false, 0, 0);
  add(f, images_spec("data", H5T_STD_U8LE, false, 0, 0), x);
  H5Fclose(f);
  ebb_data_options o = options(at("a.h5"));
  REFUSES(&o, EBB_DATA, "two candidates", "/data", "/images", "data.raw=");
  o.raw = "images";
  ebb_data_close(open_data(&o));
}
END_TEST

START_TEST(refuses_to_validate_on_the_training_set)
{
  hid_t f = file_open("a.h5");
  add_set(f, "/train", H5T_STD_U8LE, false, 0, 0);
  add_set(f, "/val", H5T_STD_U8LE, false, 0, 0);
  H5Fclose(f);
  ebb_data_options o = options(at("a.h5"));
  o.raw = "/train/images";
  REFUSES(&o, EBB_CONFIG, "validation set of its own", "data.raw=/train/images", "data.val=");
  o.raw = "images";
  ebb_data_close(open_data(&o));
}
END_TEST

START_TEST(refuses_sets_that_do_not_fit)
{
  int32_t y[N] = {0};
  spec s = labels_spec("labels", H5T_STD_U8LE);
  s.dims[0] = N - 1;
  ebb_data_options o = options(make_labels(s, y));
  REFUSES(&o, EBB_DATA, "a.h5", "as many labels as images", "50", "49", "hint");
  o.train = make("a.h5", H5T_STD_U8LE, false, 0, 0);
  hsize_t dims[] = {4, 5, 7, 3};
  o.val = make_shape("b.h5", 4, dims, NULL, NULL);
  REFUSES(&o, EBB_DATA, "b.h5", "5x6x3", "5x7x3");
  dims[0] = 0;
  o.train = make_shape("a.h5", 4, dims, NULL, NULL);
  REFUSES(&o, EBB_DATA, "a.h5", "empty set", "hint");
}
END_TEST

START_TEST(refuses_labels_out_of_range)
{
  int32_t y[N];
  double r[N];
  ebb_data_options o = {0};
  fill_labels(y);
  y[17] = -1;
  o = options(make_labels(labels_spec("labels", H5T_STD_I32LE), y));
  REFUSES(&o, EBB_DATA, "a.h5:/labels", "found -1", "sample 17", "hint");
  y[17] = 12;
  make_labels(labels_spec("labels", H5T_STD_I32LE), y);
  o.classes = 10;
  REFUSES(&o, EBB_DATA, "a.h5:/labels", "0 to 9", "found 12", "sample 17", "data.classes");
  o.classes = 12; /* the largest label is one too many */
  REFUSES(&o, EBB_DATA, "0 to 11", "found 12");
  o.classes = 13;
  ebb_data_close(open_data(&o));
  o.classes = 0;
  make("a.h5", H5T_STD_U8LE, false, 0, 0);
  hid_t f = file_open("b.h5");
  unsigned char x[VALUES];
  fill_images(x, false);
  add(f, images_spec("images", H5T_STD_U8LE, false, 0, 0), x);
  add(f, labels_spec("labels", H5T_STD_I32LE), y);
  H5Fclose(f);
  o.val = at("b.h5"); /* more classes in the validation set */
  REFUSES(&o, EBB_DATA, "b.h5:/labels", "0 to 9", "found 12", "sample 17");
  o.val = "";
  for (int i = 0; i < N; i++) r[i] = i == 3 ? 1.5 : i == 4 ? NAN : 1;
  spec s = {.path = "labels", .file_type = H5T_IEEE_F64LE, .memory_type = H5T_NATIVE_DOUBLE, .rank = 1, .dims = {N}};
  o.train = make_labels(s, r);
  REFUSES(&o, EBB_DATA, "a.h5:/labels", "found 1.5", "sample 3");
  r[3] = 1;
  make_labels(s, r);
  REFUSES(&o, EBB_DATA, "found nan", "sample 4");
  double hot[N][2] = {{0}};
  for (int i = 0; i < N; i++) hot[i][0] = 1;
  hot[9][1] = 1;
  s.rank = 2, s.dims[1] = 2;
  make_labels(s, hot);
  REFUSES(&o, EBB_DATA, "one-hot", "2 ones", "sample 9");
}
END_TEST

START_TEST(refuses_nan_and_inf)
{
  static float x[VALUES];
  int32_t y[N];
  spec s = images_spec("images", H5T_IEEE_F32BE, false, 7, 1);
  s.memory_type = H5T_NATIVE_FLOAT;
  fill_labels(y);
  x[23 * H * W * C + 5] = _i ? INFINITY : NAN;
  hid_t f = file_open("a.h5");
  add(f, s, x);
  add(f, labels_spec("labels", H5T_STD_U8LE), y);
  H5Fclose(f);
  ebb_data_options o = options(at("a.h5"));
  REFUSES(&o, EBB_DATA, "a.h5:/images", "NaN or Inf", "sample 23", "hint");
  o = plain_options(at("a.h5")); /* nothing is measured: found when the batch is read */
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_TRAIN_SET, 20), EBB_OK);
  get(source, &b);
  for (int i = 0; i < 2; i++) {
    ck_assert_int_eq(source->ops->next(source, &b), EBB_DATA);
    ck_assert_ptr_nonnull(strstr(ebb_message(), "sample 23"));
  }
  ck_assert_int_eq(source->ops->seek(source, 0, 0), EBB_OK); /* and the source is none the worse */
  get(source, &b);
  ck_assert_int_eq(b.x.s.n, 20);
  ck_assert_int_eq(source->ops->seek(source, 0, N + 1), EBB_DATA);
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

START_TEST(refuses_shapes_without_a_rule)
{
  hsize_t both[] = {4, 3, 8, 3}, none[] = {4, 8, 9, 10}, flat[] = {4, 30}, five[] = {4, 5, 6, 7, 1};
  ebb_data_options o = options(make_shape("a.h5", 4, both, NULL, NULL));
  REFUSES(&o, EBB_DATA, "a.h5:/images", "(4, 3, 8, 3)", "data.axes", "nhwc", "nchw");
  make_shape("a.h5", 4, none, NULL, NULL);
  REFUSES(&o, EBB_DATA, "no rule explains", "data.axes");
  make_shape("a.h5", 2, flat, NULL, NULL);
  REFUSES(&o, EBB_DATA, "no rule explains", "nw");
  make_shape("a.h5", 5, five, NULL, NULL);
  REFUSES(&o, EBB_DATA, "no rule explains", "ndhwc");
  o.axes = "nhwc";
  REFUSES(&o, EBB_CONFIG, "data.axes", "5 letters");
  o.axes = "ndhwq";
  REFUSES(&o, EBB_CONFIG, "data.axes", "ndhwq");
  o.axes = "dnhwc";
  REFUSES(&o, EBB_CONFIG, "data.axes", "first place");
}
END_TEST

START_TEST(refuses_numbers_in_other_files)
{
  unsigned char x[VALUES];
  int32_t y[N];
  hsize_t dims[] = {N, H, W, C};
  fill_labels(y);
  fill_images(x, false);
  make("b.h5", H5T_STD_U8LE, false, 0, 0);
  for (int kind = 0; kind < 3; kind++) {
    hid_t f = file_open("a.h5"), create = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(4, dims, NULL),
          d = -1;
    add(f, labels_spec("labels", H5T_STD_U8LE), y);
    if (kind == 0) H5Lcreate_external(at("b.h5"), "/images", f, "images", H5P_DEFAULT, H5P_DEFAULT);
    if (kind == 1) H5Pset_external(create, "/etc/passwd", 0, VALUES);
    if (kind == 2) H5Pset_virtual(create, space, at("b.h5"), "/images", space);
    if (kind) d = H5Dcreate2(f, "images", H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
    if (d >= 0) H5Dclose(d);
    H5Sclose(space);
    H5Pclose(create);
    H5Fclose(f);
    ebb_data_options o = options(at("a.h5"));
    REFUSES(&o, EBB_DATA, "a.h5:/images", "never opened");
  }
}
END_TEST

static size_t pass_filter(unsigned flags, size_t n, const unsigned *values, size_t bytes, size_t *size, void **buffer)
{
  (void)flags, (void)n, (void)values, (void)size, (void)buffer;
  return bytes;
}

START_TEST(refuses_unknown_filters_types_and_sizes)
{
  const H5Z_class2_t lzf = {H5Z_CLASS_T_VERS, 32000, 1, 1, "test", NULL, NULL, pass_filter};
  unsigned char x[VALUES];
  int32_t y[N];
  hsize_t dims[] = {N, H, W, C}, chunk[] = {5, H, W, C};
  fill_images(x, false);
  fill_labels(y);
  H5Zregister(&lzf);
  hid_t f = file_open("a.h5"), create = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(4, dims, NULL);
  H5Pset_chunk(create, 4, chunk);
  H5Pset_filter(create, 32000, 0, 0, NULL);
  hid_t d = H5Dcreate2(f, "images", H5T_STD_U8LE, space, H5P_DEFAULT, create, H5P_DEFAULT);
  H5Dwrite(d, H5T_NATIVE_UCHAR, H5S_ALL, H5S_ALL, H5P_DEFAULT, x);
  H5Dclose(d);
  H5Pclose(create);
  H5Sclose(space);
  add(f, labels_spec("labels", H5T_STD_U8LE), y);
  H5Fclose(f);
  H5Zunregister(32000);
  ebb_data_options o = options(at("a.h5"));
  REFUSES(&o, EBB_DATA, "a.h5:/images", "32000", "lzf", "h5repack");
  /* sizes whose product wraps around, and chunks of a GiB; nothing is allocated for them */
  f = file_open("a.h5");
  spec s = {.path = "images",
            .file_type = H5T_STD_U8LE,
            .memory_type = -1,
            .rank = 4,
            .dims = {1 << 20, 1 << 20, 1 << 20, 1 << 10},
            .chunk = {1, 1, 1, 1 << 10},
            .gzip = 1};
  add(f, s, NULL);
  add(f, labels_spec("labels", H5T_STD_U8LE), y);
  H5Fclose(f);
  REFUSES(&o, EBB_DATA, "a.h5:/images", "overflows");
  f = file_open("a.h5");
  s = (spec){.path = "images",
             .file_type = H5T_STD_U8LE,
             .memory_type = -1,
             .rank = 3,
             .dims = {N, 1 << 15, 1 << 15},
             .chunk = {1, 1 << 15, 1 << 15},
             .gzip = 1};
  add(f, s, NULL);
  add(f, labels_spec("labels", H5T_STD_U8LE), y);
  H5Fclose(f);
  REFUSES(&o, EBB_DATA, "a.h5:/images", "chunk", "h5repack");
  hsize_t seven[7] = {2, 2, 2, 2, 2, 2, 2};
  f = file_open("a.h5");
  s = (spec){.path = "images", .file_type = H5T_STD_U8LE, .memory_type = H5T_NATIVE_UCHAR, .rank = 7};
  memcpy(s.dims, seven, sizeof seven);
  add(f, s, x);
  add(f, labels_spec("labels", H5T_STD_U8LE), y);
  H5Fclose(f);
  REFUSES(&o, EBB_DATA, "a.h5:/images", "7 axes");
  f = file_open("a.h5");
  s = images_spec("images", H5T_STD_U8LE, false, 0, 0);
  hid_t compound = H5Tcreate(H5T_COMPOUND, 8);
  H5Tinsert(compound, "re", 0, H5T_NATIVE_FLOAT);
  H5Tinsert(compound, "im", 4, H5T_NATIVE_FLOAT);
  s.file_type = compound;
  add(f, s, NULL);
  add(f, labels_spec("labels", H5T_STD_U8LE), y);
  H5Fclose(f);
  H5Tclose(compound);
  REFUSES(&o, EBB_DATA, "a.h5:/images", "compound");
}
END_TEST

/* ---- check ----------------------------------------------------------------------------------------------------- */
static json_t *field(json_t *o, const char *set_key, size_t set, const char *key)
{
  return json_object_get(json_array_get(json_object_get(o, set_key), set), key);
}

START_TEST(check_reports_what_there_is)
{
  hid_t f = file_open("a.h5");
  add_set(f, "/train", H5T_STD_U8LE, false, 7, 1);
  add_set(f, "/test", H5T_IEEE_F32BE, true, 0, 0);
  H5Fclose(f);
  ebb_data_options o = options("");
  json_t *r;
  char *text;
  size_t size;
  FILE *out = open_memstream(&text, &size);
  ck_assert_msg(ebb_data_check(&r, out, at("a.h5"), &o, 16) == EBB_OK, "%s", ebb_message());
  fclose(out);
  ck_assert(json_is_true(json_object_get(r, "ok")));
  ck_assert_uint_eq(json_array_size(json_object_get(r, "datasets")), 4);
  ck_assert_uint_eq(json_array_size(json_object_get(r, "sets")), 2);
  ck_assert_int_eq(json_integer_value(field(r, "sets", 0, "samples")), N);
  ck_assert_int_eq(json_integer_value(field(r, "sets", 1, "classes")), 10);
  ck_assert_str_eq(json_string_value(field(r, "sets", 1, "axes")), "nchw");
  ck_assert_uint_eq(json_array_size(field(r, "sets", 0, "channels")), C);
  ck_assert_int_eq(json_integer_value(json_array_get(field(r, "sets", 0, "label_counts"), 3)), N / 10);
  ck_assert_ptr_nonnull(strstr(text, "chunks of 7x5x6x3, shuffle, gzip"));
  ck_assert_ptr_nonnull(strstr(text, "float32 big-endian"));
  ck_assert_ptr_nonnull(strstr(text, "ready for training"));
  json_decref(r);
  free(text);
}
END_TEST

START_TEST(check_counts_what_is_wrong)
{
  static float x[VALUES];
  int32_t y[N];
  spec s = images_spec("images", H5T_IEEE_F32LE, false, 0, 0);
  s.memory_type = H5T_NATIVE_FLOAT;
  fill_labels(y);
  y[8] = 400;
  x[0] = x[3] = NAN, x[6] = -INFINITY;
  hid_t f = file_open("a.h5");
  add(f, s, x);
  add(f, labels_spec("labels", H5T_STD_I32LE), y);
  H5Fclose(f);
  ebb_data_options o = options("");
  o.classes = 10;
  json_t *r;
  ck_assert_int_eq(ebb_data_check(&r, NULL, at("a.h5"), &o, 16), EBB_DATA);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "found 400"));
  ck_assert(json_is_false(json_object_get(r, "ok")));
  ck_assert_uint_eq(json_array_size(json_object_get(r, "problems")), 2);
  json_t *channel = json_array_get(field(r, "sets", 0, "channels"), 0);
  ck_assert_int_eq(json_integer_value(json_object_get(channel, "nan")), 2);
  ck_assert_int_eq(json_integer_value(json_object_get(channel, "inf")), 1);
  json_decref(r);
  ck_assert_int_eq(ebb_data_check(&r, NULL, at("none.h5"), &o, 16), EBB_NOINPUT);
  ck_assert_ptr_null(r);
}
END_TEST

/* ---- converters ------------------------------------------------------------------------------------------------ */
static void write_gz(const char *name, const void *head, unsigned head_size, const void *body, unsigned body_size)
{
  gzFile f = gzopen(at(name), strstr(name, ".gz") ? "wb" : "wbT");
  ck_assert_int_eq(gzwrite(f, head, head_size), (int)head_size);
  ck_assert_int_eq(gzwrite(f, body, body_size), (int)body_size);
  gzclose(f);
}

static void make_idx(void)
{
  unsigned char image_head[16] = {0, 0, 8, 3, 0, 0, 0, 5, 0, 0, 0, 3, 0, 0, 0, 4},
                label_head[8] = {0, 0, 8, 1, 0, 0, 0, 5};
  unsigned char x[5 * 12], y[5] = {0, 1, 2, 1, 0};
  for (int i = 0; i < 60; i++) x[i] = (unsigned char)(3 * i);
  write_gz("x.gz", image_head, 16, x, 60);
  write_gz("y", label_head, 8, y, 5);
}

static ebb_status convert_idx(int count)
{
  const char *in[] = {at("x.gz"), at("y"), at("x.gz"), at("y")};
  return ebb_convert_idx(at("out.h5"), in, count);
}

START_TEST(idx_round_trip)
{
  make_idx();
  for (int count = 2; count <= 4; count += 2) {
    ck_assert_msg(convert_idx(count) == EBB_OK, "%s", ebb_message());
    ck_assert_int_eq(files_in_folder(), 3);
    ebb_data_options o = plain_options(at("out.h5"));
    ebb_data *d = open_data(&o);
    ebb_source *source;
    ebb_batch b;
    ck_assert_uint_eq(d->samples[EBB_VAL_SET], count == 4 ? 5 : 0);
    ck_assert_int_eq(ebb_data_eval(&source, d, EBB_TRAIN_SET, 5), EBB_OK);
    get(source, &b);
    for (int i = 0; i < 60; i++) ck_assert_double_eq((double)((ebb_real *)b.x.p)[i], (unsigned char)(3 * i));
    ck_assert_int_eq(b.labels[2], 2);
    source->ops->close(source);
    ebb_data_close(d);
  }
}
END_TEST

/* libhdf5 cannot close a file on a full disk, and so loses what it keeps of it. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
  return "leak:libhdf5";
}

static void same_bytes(const char *path, const char *want, size_t size)
{
  char now[64] = {0};
  FILE *f = fopen(path, "rb");
  ck_assert_ptr_nonnull(f);
  ck_assert_uint_eq(fread(now, 1, sizeof now, f), size);
  fclose(f);
  ck_assert_int_eq(memcmp(now, want, size), 0);
}

START_TEST(converters_write_whole_files_or_nothing)
{
  const char *in[] = {at("x.gz"), at("y")};
  struct rlimit old, small = {100, 100};
  make_idx();
  ck_assert_int_eq(convert_idx(3), EBB_USAGE);
  ck_assert_int_eq(ebb_convert_idx("/nowhere/out.h5", in, 2), EBB_CANTCREAT);
  ck_assert_int_eq(ebb_convert_idx(folder, in, 2), EBB_CANTCREAT);
  ck_assert_int_eq(ebb_convert_idx(at("y"), in, 2), EBB_USAGE); /* an input */
  ck_assert_int_eq(files_in_folder(), 2);
  write_bytes("out.h5", "old", 3);
  signal(SIGXFSZ, SIG_IGN); /* a full disk, as far as write() can tell */
  getrlimit(RLIMIT_FSIZE, &old);
  small.rlim_max = old.rlim_max;
  setrlimit(RLIMIT_FSIZE, &small);
  ebb_status status = convert_idx(2);
  setrlimit(RLIMIT_FSIZE, &old);
  ck_assert_int_eq(status, EBB_IOERR);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "out.h5"));
  same_bytes(at("out.h5"), "old", 3);
  ck_assert_int_eq(files_in_folder(), 3);
  ck_assert_int_eq(truncate(at("y"), 10), 0);
  ck_assert_int_eq(convert_idx(2), EBB_DATA);
  write_bytes("y", "text, not idx", 13);
  ck_assert_int_eq(convert_idx(2), EBB_DATA);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "74 65 78 74"));
  unlink(at("y"));
  ck_assert_int_eq(convert_idx(2), EBB_NOINPUT);
  same_bytes(at("out.h5"), "old", 3);
  ck_assert_int_eq(files_in_folder(), 2);
}
END_TEST

static void make_cifar(const char *name, int label_bytes, int records, int first)
{
  FILE *f = fopen(at(name), "wb");
  for (int r = 0; r < records; r++) {
    for (int l = 0; l < label_bytes; l++) fputc((first + r + 10 * l) % 100, f);
    for (int i = 0; i < 3072; i++) fputc((first + r + i / 1024 * 50 + i % 32) % 256, f);
  }
  fclose(f);
}

START_TEST(cifar_round_trip)
{
  int label_bytes = _i + 1;
  make_cifar("data_batch_1.bin", label_bytes, 70, 0);
  make_cifar("data_batch_2.bin", label_bytes, 10, 70);
  make_cifar("test_batch.bin", label_bytes, 3, 5);
  const char *in[] = {at("data_batch_1.bin"), at("data_batch_2.bin"), at("test_batch.bin")};
  ck_assert_msg(ebb_convert_cifar(at("out.h5"), in, 3) == EBB_OK, "%s", ebb_message());
  ebb_data_options o = plain_options(at("out.h5"));
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  ck_assert_uint_eq(d->samples[EBB_TRAIN_SET], 80);
  ck_assert_uint_eq(d->samples[EBB_VAL_SET], 3);
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_TRAIN_SET, 80), EBB_OK);
  get(source, &b);
  for (int n = 0; n < 80; n++) {
    const ebb_real *x = (ebb_real *)b.x.p + n * 3072;
    ck_assert_int_eq(b.labels[n], (n + 10 * _i) % 100);
    for (int i = 0; i < 3072; i++) ck_assert_double_eq((double)x[i], (n + i % 3 * 50 + i / 3 % 32) % 256);
  }
  source->ops->close(source);
  ebb_data_close(d);
  write_bytes("data_batch_1.bin", "short", 5);
  ck_assert_int_eq(ebb_convert_cifar(at("out.h5"), in, 3), EBB_DATA);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "data_batch_1.bin"));
}
END_TEST

#define FASHION "/usr/share/datasets/fashion-mnist/"

START_TEST(fashion_mnist)
{
  const char *in[] = {FASHION "train-images-idx3-ubyte.gz", FASHION "train-labels-idx1-ubyte.gz",
                      FASHION "t10k-images-idx3-ubyte.gz", FASHION "t10k-labels-idx1-ubyte.gz"};
  if (access(in[0], R_OK) != 0) {
    printf("skipped: fashion_mnist (package dataset-fashion-mnist is not installed)\n");
    return;
  }
  ck_assert_msg(ebb_convert_idx(at("out.h5"), in, 4) == EBB_OK, "%s", ebb_message());
  ebb_data_options o = options(at("out.h5"));
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  ck_assert(d->samples[EBB_TRAIN_SET] == 60000 && d->samples[EBB_VAL_SET] == 10000 && d->classes == 10);
  ck_assert_double_eq_tol(d->mean.at[0] / 255, 0.2860, 5e-5); /* as published */
  ck_assert_double_eq_tol(d->std.at[0] / 255, 0.3530, 5e-5);
  ck_assert_int_eq(ebb_data_train(&source, d, 100, 3), EBB_OK);
  int count[10] = {0};
  for (get(source, &b); b.x.s.n; get(source, &b))
    for (int i = 0; i < b.x.s.n; i++) count[b.labels[i]]++;
  for (int i = 0; i < 10; i++) ck_assert_int_eq(count[i], 6000);
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

/* ---- options --------------------------------------------------------------------------------------------------- */
START_TEST(shapes_are_read)
{
  ebb_shape s;
  ck_assert_int_eq(ebb_data_shape_read(&s, "32x33x3"), EBB_OK);
  ck_assert(s.rank == 2 && s.n == 1 && s.d == 1 && s.h == 32 && s.w == 33 && s.c == 3);
  ck_assert_int_eq(ebb_data_shape_read(&s, "4x5x6x1"), EBB_OK);
  ck_assert(s.rank == 3 && s.d == 4 && s.h == 5 && s.w == 6 && s.c == 1);
  ck_assert_int_eq(ebb_data_shape_read(&s, "128x2"), EBB_OK);
  ck_assert(s.rank == 1 && s.d == 1 && s.h == 1 && s.w == 128 && s.c == 2);
  static const char *const wrong[] = {"", "32", "0x3", "32x", "32x32x-3", "1x2x3x4x5", "axb", "32x32x3 "};
  for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
    ck_assert_int_eq(ebb_data_shape_read(&s, wrong[i]), EBB_CONFIG);
}
END_TEST

START_TEST(option_table_is_whole)
{
  ebb_data_options o = {0};
  ebb_options_default(&o, ebb_data_option_table);
  ck_assert_uint_eq(o.window, 16u << 20);
  ck_assert(!o.flip && o.pad == 0 && o.classes == 0 && o.mean.count == 0);
  ck_assert_str_eq(o.train, "");
  for (const ebb_option *p = ebb_data_option_table; p->key; p++) ck_assert(p->help && strlen(p->help) > 10);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("datasets");
  TCase *t = tcase_create("datasets");
  tcase_add_checked_fixture(t, folder_make, folder_remove);
  tcase_set_timeout(t, 120);
  tcase_add_loop_test(t, contents_of_every_type_and_storage, 0, STORAGES);
  tcase_add_test(t, half_precision_is_read);
  tcase_add_loop_test(t, training_order_is_a_permutation_each_epoch, 0, STORAGES);
  tcase_add_loop_test(t, two_opens_a_seek_and_any_pace_give_the_same_bytes, 0, STORAGES);
  tcase_add_test(t, training_delivers_whole_batches_evaluation_all);
  tcase_add_test(t, windows_hold_whole_blocks);
  tcase_add_test(t, a_single_window_is_a_uniform_permutation);
  tcase_add_test(t, a_crop_shifts_and_a_flip_mirrors);
  tcase_add_test(t, crops_stay_within_pad_and_repeat);
  tcase_add_test(t, mean_and_std_are_measured_and_applied);
  tcase_add_test(t, a_val_set_alone_takes_the_numbers_given);
  tcase_add_loop_test(t, groups_hold_both_sets, 0, 3);
  tcase_add_loop_test(t, names_of_users_are_known, 0, 6);
  tcase_add_loop_test(t, axes_are_found_or_taken_as_said, 0, (int)(sizeof axes_cases / sizeof *axes_cases));
  tcase_add_test(t, labels_of_every_encoding);
  tcase_add_test(t, labels_of_h5py_bool);
  tcase_add_test(t, refuses_what_is_not_hdf5);
  tcase_add_test(t, refuses_missing_datasets);
  tcase_add_test(t, refuses_two_candidates);
  tcase_add_test(t, refuses_sets_that_do_not_fit);
  tcase_add_test(t, refuses_to_validate_on_the_training_set);
  tcase_add_test(t, refuses_labels_out_of_range);
  tcase_add_loop_test(t, refuses_nan_and_inf, 0, 2);
  tcase_add_test(t, refuses_shapes_without_a_rule);
  tcase_add_test(t, refuses_numbers_in_other_files);
  tcase_add_test(t, refuses_unknown_filters_types_and_sizes);
  tcase_add_test(t, check_reports_what_there_is);
  tcase_add_test(t, check_counts_what_is_wrong);
  tcase_add_test(t, idx_round_trip);
  tcase_add_test(t, converters_write_whole_files_or_nothing);
  tcase_add_loop_test(t, cifar_round_trip, 0, 2);
  tcase_add_test(t, fashion_mnist);
  tcase_add_test(t, shapes_are_read);
  tcase_add_test(t, option_table_is_whole);
  suite_add_tcase(suite, t);
  return run_suite(suite);
}
