/* test_volumes.c -- sets whose labels are maps: what is found, what is refused, and that patches hold what the files do.
 * A normalised value tells the site it comes from: see volume_files.h. */
#include "tests/unit/volume_files.h"

#include <math.h>

#include "datasets/data.h"
#include "tests/suite.h"

static ebb_data_options options(const char *train)
{
  ebb_data_options o = {0};
  ebb_options_default(&o, ebb_data_option_table);
  o.train = train;
  return o;
}

static ebb_data *open_data(const ebb_data_options *o)
{
  ebb_data *d = NULL;
  ebb_status status = ebb_data_open(&d, o);
  ck_assert_msg(status == EBB_OK, "%s", ebb_message());
  return d;
}

/* ---- what a patch holds ------------------------------------------------------------------------------------------- */
/* The site a normalised value comes from. */
typedef struct site { int volume, z, y, x; } site;

static site site_of(const ebb_volume *v, double normalised)
{
  long value = lround(normalised * v->std[0] + v->mean[0]), within = value % 100000;
  return (site){(int)(value / 100000), (int)(within / 1600), (int)(within % 1600 / 40), (int)(within % 40)};
}

static const file three[] = {{.name = "a.h5", .volume = 0, .d = 9, .h = 14, .w = 11}, {.name = "b.h5", .volume = 1, .d = 6, .h = 8, .w = 20},
                             {.name = "c.h5", .volume = 2, .d = 5, .h = 5, .w = 5}};

static void make_three(void)
{
  for (int i = 0; i < 3; i++) make(three[i]);
}

/* Tiles of every size cover every voxel with its label exactly once, and hold its value. */
START_TEST(tiles_cover_each_voxel_once)
{
  static const char *const sizes[] = {"4x5x6", "9x14x20", "3x3x3", "16x16x16", "1x7x2"};
  static int seen[3][9 * 14 * 20];
  make_three();
  memset(seen, 0, sizeof seen);
  ebb_data_options o = options(at(""));
  o.val = at("");
  o.patch = sizes[_i];
  ebb_data *d = open_data(&o);
  const ebb_patch_set *s = &ebb_data_inside(d)->maps[EBB_VAL_SET];
  ebb_source *source;
  ebb_batch b;
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_VAL_SET, 4), EBB_OK);
  size_t sites = ebb_sites(d->shape), delivered = 0;
  for (;;) {
    ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
    if (b.x.s.n == 0) break;
    delivered += (size_t)b.x.s.n;
    for (size_t i = 0; i < (size_t)b.x.s.n * sites; i++) {
      if (b.labels[i] < 0) continue;
      const ebb_volume *v = &s->volumes.at[b.index[i / sites]];
      site p = site_of(v, (double)ebb_reals(b.x)[i]);
      ck_assert_int_eq(p.volume, (int)b.index[i / sites]);
      ck_assert_int_eq(b.labels[i], label_at(p.z, p.y, p.x));
      seen[p.volume][(p.z * v->size[1] + p.y) * v->size[2] + p.x]++;
    }
  }
  ck_assert_uint_eq(delivered, source->samples);
  for (int k = 0; k < 3; k++)
    for (int i = 0; i < three[k].d * three[k].h * three[k].w; i++) ck_assert_msg(seen[k][i] == 1, "volume %d, site %d: %d times", k, i, seen[k][i]);
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

/* Training: each round has every volume, values and labels belong together, half are mirrored, the run repeats. */
START_TEST(patches_are_what_the_files_hold)
{
  ebb_source *source, *again;
  ebb_batch b, c;
  int of_volume[3] = {0}, mirrored = 0, pairs = 0;
  make_three();
  ebb_data_options o = options(at(""));
  o.patch = "4x4x4";
  o.per_volume = 20;
  o.augment.mirror = "dhw";
  ebb_data *d = open_data(&o);
  ck_assert_int_eq(d->classes, 3);
  ck_assert_uint_eq(d->samples[EBB_TRAIN_SET], 60);
  const ebb_patch_set *s = &ebb_data_inside(d)->maps[EBB_TRAIN_SET];
  ck_assert_int_eq(ebb_data_train(&source, d, 3, 7), EBB_OK);
  ck_assert_int_eq(ebb_data_train(&again, d, 3, 7), EBB_OK);
  ck_assert_int_eq(source->ops->seek(source, 2, 0), EBB_OK);
  ck_assert_int_eq(again->ops->seek(again, 2, 30), EBB_OK);
  for (int k = 0; k < 20; k++) {
    ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
    ck_assert_int_eq(b.x.s.n, 3);
    for (int i = 0; i < 3; i++) of_volume[b.index[i]]++;
    for (size_t i = 0; i < 3 * 64; i++) {
      const ebb_volume *v = &s->volumes.at[b.index[i / 64]];
      site p = site_of(v, (double)ebb_reals(b.x)[i]);
      ck_assert_int_eq(b.labels[i], label_at(p.z, p.y, p.x));
      if (i % 4 == 3) continue;
      site q = site_of(v, (double)ebb_reals(b.x)[i + 1]);
      ck_assert(abs(q.x - p.x) == 1 && q.y == p.y && q.z == p.z);
      mirrored += q.x < p.x;
      pairs++;
    }
    if (k < 10) continue;
    ck_assert_int_eq(again->ops->next(again, &c), EBB_OK);
    ck_assert(memcmp(b.x.p, c.x.p, ebb_bytes(b.x.s)) == 0 && memcmp(b.labels, c.labels, 3 * 64 * sizeof *b.labels) == 0);
  }
  ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
  ck_assert_int_eq(b.x.s.n, 0);
  for (int i = 0; i < 3; i++) ck_assert_int_eq(of_volume[i], 20);
  ck_assert(mirrored > pairs / 4 && mirrored < 3 * pairs / 4);
  source->ops->close(source);
  again->ops->close(again);
  ebb_data_close(d);
}
END_TEST

START_TEST(foreground_is_in_the_share_of_patches_that_is_asked_for)
{
  static double raw[32 * 32], label[32 * 32];
  const int dims[] = {32, 32};
  label[5 * 32 + 29] = 1; /* a single site */
  for (int i = 0; i < 32 * 32; i++) raw[i] = i;
  hid_t f = H5Fcreate(at("one.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put(f, "raw", H5T_IEEE_F32LE, 2, dims, raw);
  put(f, "label", H5T_STD_U8LE, 2, dims, label);
  H5Fclose(f);
  ebb_data_options o = options(at("one.h5"));
  o.patch = "4x4";
  o.per_volume = 400;
  o.foreground = _i * 0.5;
  ebb_data *d = open_data(&o);
  ebb_source *source;
  ebb_batch b;
  int with = 0;
  ck_assert_int_eq(ebb_data_train(&source, d, 1, 7), EBB_OK);
  for (int k = 0; k < 400; k++) {
    ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
    for (int i = 0; i < 16; i++) with += b.labels[i] == 1;
  }
  ck_assert_msg(abs(with - _i * 200) < 40, "%d of 400 patches, %g asked for", with, o.foreground);
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

/* ---- augmentation -------------------------------------------------------------------------------------------------- */
enum { SIDE = 24, VOXELS = SIDE * SIDE * SIDE };
static ebb_real values[2][8 * VOXELS];
static int32_t  labels[2][8 * VOXELS];

/* A ball of label 1 in the middle of `margin` more; its values are its labels. */
static ebb_patch ball(int which, int margin)
{
  int side = SIDE + 2 * margin;
  for (int i = 0; i < side * side * side; i++) {
    double z = i / (side * side) - 0.5 * side, y = i / side % side - 0.5 * side, x = i % side - 0.5 * side;
    labels[which][i] = z * z + 2 * y * y + 3 * x * x < 100;
    values[which][i] = (ebb_real)labels[which][i];
  }
  return (ebb_patch){.size = {side, side, side}, .channels = 1, .x = values[which], .labels = labels[which]};
}

static const ebb_rng some = {5, EBB_RNG_AUGMENT, 1};

/* Raw data and labels are moved alike, by as much as was asked for, and again alike for the same number. */
START_TEST(warps_move_raw_and_labels_together)
{
  static const ebb_augment ways[] = {{.mirror = "", .rotate = 30}, {.mirror = "", .scale = 0.3}, {.mirror = "", .elastic = 2},
                                     {.mirror = "", .rotate = 20, .scale = 0.1, .elastic = 1}, {.mirror = "", .rotate = 1e-9}};
  int margin[3], moved = 0;
  ebb_augment_margin(margin, &ways[_i], (int[3]){SIDE, SIDE, SIDE}, 3);
  ck_assert(margin[0] > 0 && 2 * margin[0] <= SIDE);
  for (uint64_t number = 0; number < 5; number++) {
    ebb_patch wide = ball(0, margin[0]), to = ball(1, 0);
    static ebb_real before[VOXELS];
    memcpy(before, values[1], sizeof before);
    ebb_augment_warp(to, wide, &ways[_i], 3, some, number);
    int agree = 0, inside = 0;
    for (int i = 0; i < VOXELS; i++) {
      agree += lround((double)to.x[i]) == to.labels[i];
      inside += to.labels[i] >= 0;
      moved += to.labels[i] != (int32_t)before[i];
    }
    ck_assert_msg(agree > VOXELS * 98 / 100, "%d of %d voxels agree", agree, VOXELS);
    ck_assert_msg(inside > VOXELS * 99 / 100, "the margin is too small: %d of %d voxels", inside, VOXELS);
    memcpy(before, to.x, sizeof before);
    ebb_augment_warp(to, wide, &ways[_i], 3, some, number);
    ck_assert_int_eq(memcmp(before, to.x, sizeof before), 0);
  }
  ck_assert_msg((moved > 100) == (_i != 4), "%d voxels moved", moved);
}
END_TEST

/* Mirrors and turns are permutations that keep values at their labels; all eight symmetries of the plane come up. */
START_TEST(mirrors_and_turns_are_permutations)
{
  const ebb_augment a = {.mirror = "w", .turn = true};
  int corners[4][2] = {{0}};
  for (uint64_t number = 0; number < 200; number++) {
    ebb_patch p = ball(0, 0), scratch = ball(1, 0);
    double sum = 0;
    for (int i = 0; i < VOXELS; i++) p.x[i] = (ebb_real)i, p.labels[i] = i;
    ebb_augment_mirror(p, &a, scratch, some, number);
    for (int i = 0; i < VOXELS; i++) {
      ck_assert_int_eq(p.labels[i], (int32_t)p.x[i]);
      ck_assert_int_eq(p.labels[i] / (SIDE * SIDE), i / (SIDE * SIDE)); /* d stays */
      sum += (double)p.x[i];
    }
    ck_assert(sum == 0.5 * VOXELS * (VOXELS - 1.0));
    int corner = p.labels[0] == 0 ? 0 : p.labels[0] == SIDE - 1 ? 1 : p.labels[0] == SIDE * (SIDE - 1) ? 2 : 3;
    corners[corner][abs(p.labels[1] - p.labels[0]) == 1]++;
  }
  for (int i = 0; i < 8; i++) ck_assert_msg(corners[i / 2][i % 2] > 5, "symmetry %d: %d of 200", i, corners[i / 2][i % 2]);
}
END_TEST

static void moments(const ebb_patch *p, double *mean, double *std)
{
  double sum = 0, squares = 0;
  for (int i = 0; i < VOXELS; i++) sum += (double)p->x[i], squares += (double)p->x[i] * (double)p->x[i];
  *mean = sum / VOXELS;
  *std = sqrt(squares / VOXELS - *mean * *mean);
}

START_TEST(values_change_as_asked)
{
  double mean, std, mean0, std0, most = 0;
  ebb_patch p = ball(0, 0);
  moments(&p, &mean0, &std0);
  for (uint64_t number = 0; number < 40; number++) {
    p = ball(0, 0);
    ebb_augment_values(p, &(ebb_augment){.mirror = "", .noise = 0.5}, values[1], 3, some, number);
    moments(&p, &mean, &std);
    ck_assert(fabs(mean - mean0) < 0.02 && std < sqrt(std0 * std0 + 0.26));
    most = fmax(most, std);
    p = ball(0, 0);
    ebb_augment_values(p, &(ebb_augment){.mirror = "", .contrast = 0.2, .brightness = 0.1}, values[1], 3, some, number);
    moments(&p, &mean, &std);
    ck_assert(std > 0.79 * std0 && std < 1.21 * std0 && std != std0);
    p = ball(0, 0);
    for (int i = 0; i < VOXELS; i++) p.x[i] = (ebb_real)(i % 100) - 20;
    ebb_augment_values(p, &(ebb_augment){.mirror = "", .gamma = 0.5}, values[1], 3, some, number);
    for (int i = 1; i < 100; i++) ck_assert(p.x[i] > p.x[i - 1]);
    ck_assert(fabs((double)p.x[0] + 20) < 1e-4 && fabs((double)p.x[99] - 79) < 1e-4);
    p = ball(0, 0);
    ebb_augment_values(p, &(ebb_augment){.mirror = "", .blur = 1}, values[1], 3, some, number);
    moments(&p, &mean, &std);
    ck_assert(fabs(mean - mean0) < 1e-3 && std <= std0 + 1e-6);
  }
  ck_assert(most > sqrt(std0 * std0 + 0.1));
}
END_TEST

/* ---- what is found ------------------------------------------------------------------------------------------------ */
static const struct { file f; const char *axes; int rank, count, channels; } layouts[] = {
    {{.name = "a.h5", .d = 4, .h = 5, .w = 6}, "dhw", 3, 1, 1},
    {{.name = "a.h5", .n = 4, .h = 5, .w = 6}, "nhw", 2, 4, 1},
    {{.name = "a.h5", .c = 2, .d = 4, .h = 5, .w = 6}, "", 3, 1, 2},
    {{.name = "a.h5", .n = 3, .c = 2, .h = 5, .w = 6}, "", 2, 3, 2},
    {{.name = "a.h5", .n = 3, .c = 1, .d = 4, .h = 5, .w = 6}, "", 3, 3, 1},
    {{.name = "a.h5", .h = 5, .w = 6}, "", 2, 1, 1},
    {{.name = "a.h5", .c = 3, .h = 5, .w = 6}, "", 2, 1, 3},
    {{.name = "a.h5", .n = 2, .c = 1, .d = 4, .h = 5, .w = 6}, "tczyx", 3, 2, 1},
};

START_TEST(layouts_are_found)
{
  make(layouts[_i].f);
  ebb_data_options o = options(at("a.h5"));
  o.axes = layouts[_i].axes;
  ebb_data *d = open_data(&o);
  ck_assert(d->maps);
  const ebb_volumes *v = &ebb_data_inside(d)->maps[EBB_TRAIN_SET].volumes;
  ck_assert_int_eq(v->rank, layouts[_i].rank);
  ck_assert_int_eq(v->count, layouts[_i].count);
  ck_assert_int_eq(v->channels, layouts[_i].channels);
  ck_assert_int_eq(v->at[0].size[2], 6);
  ebb_data_close(d);
}
END_TEST

START_TEST(ranges_patterns_and_masks)
{
  for (int i = 0; i < 5; i++) {
    char name[16];
    snprintf(name, sizeof name, "s%d.h5", i);
    make((file){.name = name, .volume = i, .d = 4, .h = 5, .w = 6});
  }
  ebb_data_options o = options(at("[1:4]"));
  ebb_data *d = open_data(&o);
  ck_assert_uint_eq(d->samples[EBB_TRAIN_SET], 3);
  ck_assert_ptr_nonnull(strstr(ebb_data_inside(d)->maps[EBB_TRAIN_SET].volumes.at[0].stack->file, "s1.h5"));
  ebb_data_close(d);
  o.train = at("s?.h5[3:]");
  d = open_data(&o);
  ck_assert_uint_eq(d->samples[EBB_TRAIN_SET], 2);
  ebb_data_close(d);
  make((file){.name = "mask.h5", .n = 6, .c = 1, .h = 5, .w = 6, .label_scale = 0.5}); /* 0, 0 and 1 */
  o.train = at("mask.h5[2:5]");
  d = open_data(&o);
  ck_assert_uint_eq(d->samples[EBB_TRAIN_SET], 3);
  ck_assert_int_eq(d->classes, 2);
  ebb_data_close(d);
}
END_TEST

/* Groups are whole on one side, the share is right, and the choice is the same again. */
START_TEST(holding_out_parts_no_group)
{
  static double groups[40];
  make((file){.name = "g.h5", .n = 40, .c = 1, .h = 8, .w = 8});
  hid_t f = H5Fopen(at("g.h5"), H5F_ACC_RDWR, H5P_DEFAULT);
  for (int i = 0; i < 40; i++) groups[i] = 100 + i % 10;
  put(f, "patient", H5T_STD_I32LE, 1, (int[]){40}, groups);
  H5Fclose(f);
  ebb_data_options o = options(at("g.h5"));
  o.holdout = 0.3;
  o.group = "patient";
  int side[10] = {0};
  for (int again = 0; again < 2; again++) {
    ebb_data *d = open_data(&o);
    ck_assert_uint_eq(d->samples[EBB_TRAIN_SET], 28);
    ck_assert_uint_eq(d->samples[EBB_VAL_SET], 12);
    for (int k = 0; k < EBB_SPLITS; k++) {
      const ebb_volumes *v = &ebb_data_inside(d)->maps[k].volumes;
      for (int i = 0; i < v->count; i++) {
        int g = (int)v->at[i].sample % 10;
        ck_assert(side[g] == 0 || side[g] == k + 1);
        side[g] = k + 1;
      }
    }
    ebb_data_close(d);
  }
  o.holdout = 0.01;
  ebb_data *d;
  ck_assert_int_eq(ebb_data_open(&d, &o), EBB_CONFIG);
  o.holdout = 0.3;
  o.group = "doctor";
  ck_assert_int_eq(ebb_data_open(&d, &o), EBB_DATA);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "doctor"));
}
END_TEST

START_TEST(masks_of_255_are_class_1)
{
  static double raw[64], label[64];
  const int dims[] = {8, 8};
  for (int i = 0; i < 64; i++) raw[i] = i, label[i] = i > 40 ? 255 : 0;
  hid_t f = H5Fcreate(at("m.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put(f, "image", H5T_STD_U8LE, 2, dims, raw);
  put(f, "mask", H5T_STD_U8LE, 2, dims, label);
  H5Fclose(f);
  ebb_data_options o = options(at("")); /* one of a folder: a volume */
  ebb_data *d = open_data(&o);
  ck_assert_int_eq(d->classes, 2);
  ck_assert_str_eq(d->label_map, "0:0,255:1");
  ebb_data_close(d);
}
END_TEST

/* ---- what is refused ---------------------------------------------------------------------------------------------- */
static void refuses_with(const ebb_data_options *o, ebb_status code, const char *const *words)
{
  ebb_data *d;
  ck_assert_int_eq(ebb_data_open(&d, o), code);
  ck_assert_ptr_null(d);
  for (; *words; words++) ck_assert_msg(strstr(ebb_message(), *words), "no \"%s\" in: %s", *words, ebb_message());
}
#define REFUSES(o, code, ...) refuses_with((o), (code), (const char *const[]){__VA_ARGS__, NULL})

START_TEST(refuses_labels_outside_of_the_classes)
{
  make((file){.name = "a.h5", .d = 4, .h = 5, .w = 6, .label_scale = 2}); /* 0, 2, 4 */
  ebb_data_options o = options(at("[0:1]"));
  o.classes = 3;
  REFUSES(&o, EBB_DATA, "a.h5", "/label", "0 to 2", "found 4", "0 (", "2 (", "4 (", "data.label_map=0:0,2:1,4:2");
  o.label_map = "0:0,2:1,4:2";
  ebb_data_close(open_data(&o));
  o.label_map = "0:0,2";
  REFUSES(&o, EBB_CONFIG, "data.label_map", "value:class");
}
END_TEST

START_TEST(refuses_what_does_not_go_together)
{
  static double zeros[1000];
  hid_t f = H5Fcreate(at("a.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put(f, "raw", H5T_IEEE_F32LE, 3, (int[]){4, 5, 6}, zeros);
  put(f, "label", H5T_STD_U8LE, 3, (int[]){4, 5, 7}, zeros);
  H5Fclose(f);
  ebb_data_options o = options(at("[0:1]"));
  REFUSES(&o, EBB_DATA, "a.h5", "/raw (4, 5, 6)", "/label (4, 5, 7)", "hint");
  make((file){.name = "a.h5", .d = 4, .h = 5, .w = 6});
  o = options(at("a.h5"));
  REFUSES(&o, EBB_DATA, "a.h5", "dhw", "nhw", "data.axes="); /* a volume, or a stack of images */
  make((file){.name = "b.h5", .c = 2, .d = 4, .h = 5, .w = 6});
  o = options(at(""));
  REFUSES(&o, EBB_DATA, "b.h5", "3-D data of 1 channels", "a.h5", "3-D of 2");
  o.patch = "4x4";
  o.train = at("[0:1]");
  REFUSES(&o, EBB_CONFIG, "data.patch", "3 for 3-D data", "64x64x64", "4x4");
  o = options("/proc/self/fdinfo"); /* a directory without HDF5 files */
  REFUSES(&o, EBB_NOINPUT, "/proc/self/fdinfo", "directory", "*.h5", "hint");
  o = options(at("[7:9]"));
  REFUSES(&o, EBB_NOINPUT, "[7:9]", "not so many");
  o = options(at("[3:2]"));
  REFUSES(&o, EBB_CONFIG, "[3:2]", "range");
}
END_TEST

static bool notes(const ebb_data *d, const char *words)
{
  for (int i = 0; i < d->note_count; i++)
    if (strstr(d->notes[i], words)) return true;
  return false;
}

START_TEST(says_what_one_might_trip_over)
{
  static double zeros[500];
  make_three();
  hid_t f = H5Fcreate(at("empty.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  zeros[3] = 1;
  put(f, "raw", H5T_IEEE_F32LE, 3, (int[]){5, 10, 10}, zeros);
  zeros[3] = 0;
  put(f, "label", H5T_STD_U8LE, 3, (int[]){5, 10, 10}, zeros);
  H5Fclose(f);
  ebb_data_options o = options(at(""));
  o.patch = "6x8x8";
  ebb_data *d = open_data(&o);
  ck_assert(notes(d, "warning: 1 of 4 samples have no foreground"));
  ck_assert(notes(d, "2 of 4 samples are smaller than the patch: padded with the mean"));
  ebb_data_close(d);
  o = options(at("empty.h5"));
  o.axes = "dhw";
  d = open_data(&o);
  ck_assert(notes(d, "warning: all labels are 0"));
  ebb_data_close(d);
  f = H5Fopen(at("a.h5"), H5F_ACC_RDWR, H5P_DEFAULT); /* two candidates */
  put(f, "image", H5T_IEEE_F32LE, 3, (int[]){5, 10, 10}, zeros);
  H5Fclose(f);
  o = options(at("[0:1]"));
  REFUSES(&o, EBB_DATA, "a.h5", "two candidates", "/image", "/raw", "data.raw=");
}
END_TEST

/* Values are one for all or one a channel where they are given. */
START_TEST(mean_and_deviation_may_be_given)
{
  make((file){.name = "a.h5", .c = 2, .d = 4, .h = 5, .w = 6});
  ebb_data_options o = options(at("a.h5"));
  o.mean = (ebb_numbers){2, {10, 20}};
  o.std = (ebb_numbers){1, {4}};
  ebb_data *d = open_data(&o);
  const ebb_volume *v = &ebb_data_inside(d)->maps[EBB_TRAIN_SET].volumes.at[0];
  ck_assert(v->mean[0] == 10 && v->mean[1] == 20 && v->std[0] == 4 && v->std[1] == 4);
  ck_assert(d->mean.count == 2 && d->std.at[0] == 4); /* a checkpoint keeps them */
  ebb_data_close(d);
  o.mean.count = 1, o.std = (ebb_numbers){3, {1, 1, 1}};
  REFUSES(&o, EBB_CONFIG, "data.std", "1 or 2 numbers", "found 3");
  o.std = (ebb_numbers){1, {0}};
  REFUSES(&o, EBB_CONFIG, "data.std", "above 0");
}
END_TEST

START_TEST(ranges_of_labels_become_classes)
{
  ebb_label_map map;
  ck_assert_int_eq(ebb_label_map_read(&map, "0:0,1-3:1,7:2,-4--2:3"), EBB_OK);
  const struct { double value; int class; } known[] = {{0, 0}, {1, 1}, {3, 1}, {7, 2}, {-3, 3}, {4, -1}, {2.5, -1}, {-1, -1}};
  for (int i = 0; i < 8; i++) ck_assert_int_eq(ebb_label_class(&map, 4, known[i].value), known[i].class);
  ck_assert_int_eq(ebb_label_map_read(&map, "3-1:2"), EBB_CONFIG);
  ck_assert_int_eq(ebb_label_map_read(&map, "1-:2"), EBB_CONFIG);
}
END_TEST

/* Probabilities of three classes, or of class 1 alone; the raw data are those of class 1. `sum` is what they add up to. */
static void make_soft(const char *name, bool all, double sum)
{
  static double raw[6 * 6 * 6], t[3 * 6 * 6 * 6];
  int sites = 6 * 6 * 6;
  for (int i = 0; i < sites; i++) {
    double one = 0.5 + 0.4 * sin(0.7 * i), two = (1 - one) * 0.25;
    raw[i] = one;
    t[all ? sites + i : i] = one * sum;
    if (all) t[i] = (1 - one - two) * sum, t[2 * sites + i] = two * sum;
  }
  hid_t f = H5Fcreate(at(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put(f, "raw", H5T_IEEE_F32LE, 3, (int[]){6, 6, 6}, raw);
  if (all) put(f, "label", H5T_IEEE_F32LE, 4, (int[]){3, 6, 6, 6}, t);
  else put(f, "label", H5T_IEEE_F32LE, 3, (int[]){6, 6, 6}, t);
  H5Fclose(f);
}

static ebb_data_options soft_options(void)
{
  ebb_data_options o = options(at(""));
  o.val = at("");
  o.label_map = "soft";
  o.per_volume = 4;
  o.mean = (ebb_numbers){1, {0}};
  o.std = (ebb_numbers){1, {1}};
  return o;
}

/* Sites that count: probabilities of `classes` add up to 1, the label is the most probable one; and how many have class 1's equal to
 * the raw value. */
static int check_soft(const ebb_batch *b, int classes)
{
  int same = 0;
  ck_assert_int_eq(b->x.s.n, 1);
  ck_assert_int_eq(b->soft.s.n, 1);
  ck_assert_int_eq(b->soft.s.c, classes);
  for (int i = 0; i < 216; i++) {
    const ebb_real *t = ebb_reals(b->soft) + i * classes;
    double sum = 0;
    if (b->labels[i] < 0) continue;
    for (int k = 0; k < classes; k++) sum += (double)t[k];
    ck_assert_double_eq_tol(sum, 1, 1e-6);
    same += fabs((double)t[1] - (double)ebb_reals(b->x)[i]) < 1e-6;
  }
  return same;
}

START_TEST(soft_labels_are_read_and_follow_geometry)
{
  ebb_source *source;
  ebb_batch b;
  int classes = _i ? 3 : 2;
  make_soft("s.h5", _i, 1);
  ebb_data_options o = soft_options();
  o.augment.mirror = "dhw";
  o.augment.turn = true;
  ebb_data *d = open_data(&o);
  ck_assert_int_eq(d->classes, classes);
  ck_assert_str_eq(d->label_map, "soft");
  ck_assert(notes(d, "labels are soft"));
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_VAL_SET, 1), EBB_OK);
  ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
  ck_assert_int_eq(check_soft(&b, classes), 216);
  for (int i = 0; i < 216; i++) {
    const ebb_real *t = ebb_reals(b.soft) + i * classes;
    for (int k = 0; k < classes; k++) ck_assert(t[b.labels[i]] >= t[k]);
  }
  source->ops->close(source);
  ck_assert_int_eq(ebb_data_train(&source, d, 1, 3), EBB_OK);
  for (int i = 0; i < 4; i++) {
    ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
    ck_assert_int_eq(check_soft(&b, classes), 216);
  }
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

/* A warp takes raw data and probabilities from the same places; near the border probabilities are made whole. */
START_TEST(soft_labels_follow_warps)
{
  ebb_source *source;
  ebb_batch b;
  int moved = 0;
  make_soft("s.h5", true, 1);
  ebb_data_options o = soft_options();
  o.augment.rotate = 30;
  o.augment.scale = 0.1;
  o.augment.elastic = 0.5;
  ebb_data *d = open_data(&o);
  ck_assert_int_eq(ebb_data_train(&source, d, 1, 3), EBB_OK);
  for (int i = 0; i < 4; i++) {
    ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
    ck_assert_int_ge(check_soft(&b, 3), 64);
    moved += fabs((double)ebb_reals(b.x)[80] - (0.5 + 0.4 * sin(0.7 * 80))) > 1e-3;
  }
  ck_assert_int_gt(moved, 0);
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

START_TEST(soft_labels_that_are_no_probabilities_are_refused)
{
  make_soft("s.h5", true, 0.5);
  ebb_data_options o = soft_options();
  REFUSES(&o, EBB_DATA, "s.h5", "expected probabilities", "together 0.5", "voxel (0, 0, 0)");
  make_soft("s.h5", false, 2);
  REFUSES(&o, EBB_DATA, "expected probabilities", "voxel (0, 0, 1)");
  make_soft("s.h5", true, 1);
  o.classes = 4;
  REFUSES(&o, EBB_DATA, "4 classes", "found 3");
  o.classes = 0;
  make_soft("t.h5", false, 1);
  REFUSES(&o, EBB_DATA, "t.h5", "of 3 classes", "found 2");
  ck_assert_int_eq(remove(at("t.h5")), 0);
  make_soft("s.h5", false, 1);
  o = soft_options();
  o.label_map = "";
  REFUSES(&o, EBB_DATA, "s.h5", "data.label_map=soft");
}
END_TEST

/* Classes 0, 1, 2 as three masks, or as two without the background's. */
static void make_masks(const char *name, bool background, bool overlap)
{
  static double raw[4 * 5 * 6], masks[3 * 4 * 5 * 6];
  int count = background ? 3 : 2, sites = 4 * 5 * 6;
  for (int i = 0; i < sites; i++) {
    int class = label_at(i / 30, i / 6 % 5, i % 6);
    raw[i] = i;
    for (int k = 0; k < count; k++) masks[k * sites + i] = class == k + !background ? 255 : 0;
  }
  if (overlap) masks[7] = masks[sites + 7] = 1;
  hid_t f = H5Fcreate(at(name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put(f, "raw", H5T_IEEE_F32LE, 3, (int[]){4, 5, 6}, raw);
  put(f, "label", H5T_STD_U8LE, 4, (int[]){count, 4, 5, 6}, masks);
  H5Fclose(f);
}

START_TEST(masks_become_classes)
{
  ebb_source *source;
  ebb_batch b;
  bool background = _i;
  make_masks("m.h5", background, false);
  ebb_data_options o = options(at("")); /* one of a folder: a volume */
  o.val = at("");
  ebb_data *d = open_data(&o);
  ck_assert(d->maps);
  ck_assert_int_eq(d->classes, 3);
  ck_assert_str_eq(d->label_map, background ? "one-hot" : "");
  ck_assert(notes(d, background ? "one-hot" : "labels are masks"));
  const ebb_volume *v = &ebb_data_inside(d)->maps[EBB_TRAIN_SET].volumes.at[0];
  int foreground = 0;
  for (int i = 0; i < 120; i++) foreground += label_at(i / 30, i / 6 % 5, i % 6) > 0;
  ck_assert_int_eq(v->foreground_count, foreground);
  ck_assert_int_eq(ebb_data_eval(&source, d, EBB_VAL_SET, 1), EBB_OK);
  ck_assert_int_eq(source->ops->next(source, &b), EBB_OK);
  for (int i = 0; i < 120; i++) ck_assert_int_eq(b.labels[i], label_at(i / 30, i / 6 % 5, i % 6));
  source->ops->close(source);
  ebb_data_close(d);
  make_masks("m.h5", background, true);
  REFUSES(&o, EBB_DATA, "m.h5", "at most one of the", "(0, 1, 1)");
}
END_TEST

START_TEST(a_file_that_vanishes_is_named)
{
  ebb_source *source;
  ebb_batch b;
  ebb_status status = EBB_OK;
  make_three();
  ebb_data_options o = options(at(""));
  ebb_data *d = open_data(&o);
  ck_assert_int_eq(ebb_data_train(&source, d, 1, 7), EBB_OK);
  unlink(at("b.h5"));
  for (int i = 0; i < 3 && status == EBB_OK; i++) status = source->ops->next(source, &b);
  ck_assert_int_eq(status, EBB_NOINPUT);
  ck_assert_ptr_nonnull(strstr(ebb_message(), "b.h5"));
  source->ops->close(source);
  ebb_data_close(d);
}
END_TEST

START_TEST(refuses_nan)
{
  static double raw[64], label[64];
  raw[9] = NAN;
  label[3] = 1;
  hid_t f = H5Fcreate(at("n.h5"), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  put(f, "raw", H5T_IEEE_F32LE, 2, (int[]){8, 8}, raw);
  put(f, "label", H5T_STD_U8LE, 2, (int[]){8, 8}, label);
  H5Fclose(f);
  ebb_data_options o = options(at("n.h5"));
  REFUSES(&o, EBB_DATA, "n.h5", "/raw", "nan", "(0, 1, 1)");
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("volumes");
  TCase *t = tcase_create("volumes");
  tcase_set_timeout(t, 120);
  tcase_add_checked_fixture(t, folder_make, folder_remove);
  tcase_add_loop_test(t, tiles_cover_each_voxel_once, 0, 5);
  tcase_add_test(t, patches_are_what_the_files_hold);
  tcase_add_loop_test(t, foreground_is_in_the_share_of_patches_that_is_asked_for, 0, 3);
  tcase_add_loop_test(t, warps_move_raw_and_labels_together, 0, 5);
  tcase_add_test(t, mirrors_and_turns_are_permutations);
  tcase_add_test(t, values_change_as_asked);
  tcase_add_loop_test(t, layouts_are_found, 0, (int)(sizeof layouts / sizeof *layouts));
  tcase_add_test(t, ranges_patterns_and_masks);
  tcase_add_test(t, holding_out_parts_no_group);
  tcase_add_test(t, masks_of_255_are_class_1);
  tcase_add_test(t, refuses_labels_outside_of_the_classes);
  tcase_add_test(t, refuses_what_does_not_go_together);
  tcase_add_test(t, says_what_one_might_trip_over);
  tcase_add_test(t, mean_and_deviation_may_be_given);
  tcase_add_test(t, ranges_of_labels_become_classes);
  tcase_add_loop_test(t, masks_become_classes, 0, 2);
  tcase_add_loop_test(t, soft_labels_are_read_and_follow_geometry, 0, 2);
  tcase_add_test(t, soft_labels_follow_warps);
  tcase_add_test(t, soft_labels_that_are_no_probabilities_are_refused);
  tcase_add_test(t, a_file_that_vanishes_is_named);
  tcase_add_test(t, refuses_nan);
  suite_add_tcase(suite, t);
  return run_suite(suite);
}
