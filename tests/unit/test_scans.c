/* test_scans.c -- whole volumes to be predicted, the files of predictions, and pairs of NIfTI or PNG files to HDF5.
 * Read back with libhdf5 itself; NIfTI files are written byte by byte from its standard, PNG files by libpng. */
#include "tests/unit/volume_files.h"

#include <math.h>
#include <png.h>
#include <stdint.h>
#include <sys/stat.h>

#include "datasets/predictions.h"
#include "datasets/scans.h"
#include "tests/suite.h"

static ebb_data_options plain_options(void)
{
  ebb_data_options o = {0};
  ebb_options_default(&o, ebb_data_option_table);
  o.classes = 3;
  return o;
}

static ebb_shape input(int rank, int channels)
{
  return (ebb_shape){.rank = rank, .n = 1, .d = rank > 2 ? 8 : 1, .h = rank > 1 ? 8 : 1, .w = 8, .c = channels};
}

static void says(const char *words)
{
  ck_assert_msg(strstr(ebb_message(), words) != NULL, "expected \"%s\" in: %s", words, ebb_message());
}

static void succeeds(ebb_status status)
{
  ck_assert_msg(status == EBB_OK, "%d: %s", (int)status, ebb_message());
}

static void unlabel(const char *name)
{
  hid_t f = H5Fopen(at(name), H5F_ACC_RDWR, H5P_DEFAULT);
  ck_assert_int_ge(H5Ldelete(f, "label", H5P_DEFAULT), 0);
  H5Fclose(f);
}

/* ---- which axis is which follows from the network ------------------------------------------------------------------- */
static const struct reading { file f; int rank, channels; const char *axes; int count, size[3]; } files_to_read[] = {
    {{.name = "v.h5", .d = 5, .h = 6, .w = 7}, 3, 1, "dhw", 1, {5, 6, 7}},
    {{.name = "v.h5", .d = 5, .h = 6, .w = 7}, 2, 1, "nhw", 5, {1, 6, 7}},
    {{.name = "v.h5", .c = 2, .d = 5, .h = 6, .w = 7}, 3, 2, "cdhw", 1, {5, 6, 7}},
    {{.name = "v.h5", .n = 4, .c = 1, .h = 6, .w = 7}, 2, 1, "nchw", 4, {1, 6, 7}},
    {{.name = "v.h5", .n = 4, .c = 3, .h = 6, .w = 7}, 2, 3, "nchw", 4, {1, 6, 7}},
    {{.name = "v.h5", .n = 2, .c = 3, .d = 4, .h = 6, .w = 7}, 3, 3, "ncdhw", 2, {4, 6, 7}},
};
enum { READINGS = sizeof files_to_read / sizeof *files_to_read };

START_TEST(axes_follow_from_the_network)
{
  const struct reading *k = &files_to_read[_i];
  ebb_data_options o = plain_options();
  const char *place;
  ebb_scans *s;
  make(k->f);
  unlabel("v.h5");
  place = at("v.h5");
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(k->rank, k->channels)));
  ck_assert_int_eq(s->count, k->count);
  ck_assert_str_eq(s->at[0].axes, k->axes);
  ck_assert_int_eq(memcmp(s->at[0].size, k->size, sizeof k->size), 0);
  ck_assert(!s->at[0].labelled);
  ebb_scans_close(s);
}
END_TEST

START_TEST(refuses_what_the_network_cannot_take)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5");
  ebb_scans *s;
  make((file){.name = "v.h5", .c = 2, .d = 5, .h = 6, .w = 7});
  ck_assert_int_eq(ebb_scans_open(&s, &place, 1, &o, input(3, 4)), EBB_DATA);
  says("expected 3-D data of 4 channels");
  make((file){.name = "v.h5", .c = 7, .d = 5, .h = 6, .w = 7});
  ck_assert_int_eq(ebb_scans_open(&s, &place, 1, &o, input(3, 7)), EBB_DATA);
  says("data.axes=cdhw or data.axes=dhwc");
  o.axes = "cdhw";
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(3, 7)));
  ebb_scans_close(s);
  place = at("nowhere.h5");
  ck_assert_int_eq(ebb_scans_open(&s, &place, 1, &o, input(3, 7)), EBB_NOINPUT);
}
END_TEST

/* Colours for a network of one channel: their brightness. */
START_TEST(colours_are_read_as_grey)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5");
  ebb_scans *s;
  ebb_real x[42];
  const int start[3] = {0, 0, 0}, size[3] = {1, 6, 7};
  make((file){.name = "v.h5", .n = 2, .c = 3, .h = 6, .w = 7});
  o.mean = (ebb_numbers){1, {0}}, o.std = (ebb_numbers){1, {1}};
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(2, 1)));
  ck_assert_str_eq(s->at[0].axes, "nchw");
  ck_assert_int_eq(s->channels, 1);
  ck_assert(s->at[0].labelled);
  succeeds(ebb_scans_prepare(s, 42));
  succeeds(ebb_scans_image(s, x, 1, start, size));
  for (int i = 0; i < 42; i++) {
    double want = 0.299 * raw_at(1, 0, 0, i / 7, i % 7) + 0.587 * raw_at(1, 1, 0, i / 7, i % 7) + 0.114 * raw_at(1, 2, 0, i / 7, i % 7);
    ck_assert_double_eq_tol((double)x[i], want, 0.02);
  }
  ebb_scans_close(s);
}
END_TEST

/* Labels are not needed: what does not fit is said and left aside, unless it was asked for. */
START_TEST(labels_that_do_not_fit_are_left_aside)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5");
  ebb_scans *s;
  make((file){.name = "v.h5", .d = 5, .h = 6, .w = 7, .label_scale = 40});
  for (int round = 0; round < 2; round++) {
    succeeds(ebb_scans_open(&s, &place, 1, &o, input(3, 1)));
    ck_assert(!s->at[0].labelled);
    bool said = false;
    for (int i = 0; i < s->note_count; i++) said |= strstr(s->notes[i], round ? "a label for each site" : "expected labels 0 to 2, found 40") != NULL;
    ck_assert(said);
    ebb_scans_close(s);
    o.label = "label";
    ck_assert_int_eq(ebb_scans_open(&s, &place, 1, &o, input(3, 1)), EBB_DATA);
    o.label = "";
    unlabel("v.h5");
    hid_t f = H5Fopen(place, H5F_ACC_RDWR, H5P_DEFAULT);
    put(f, "label", H5T_STD_U8LE, 3, (int[]){5, 6, 8}, numbers);
    H5Fclose(f);
  }
}
END_TEST

/* ---- what is read --------------------------------------------------------------------------------------------------- */
START_TEST(boxes_hold_what_the_file_does)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5");
  ebb_scans *s;
  ebb_real x[2 * 3 * 4];
  int32_t labels[2 * 3 * 4];
  const int start[3] = {3, 2, 1}, size[3] = {2, 3, 4};
  make((file){.name = "v.h5", .d = 5, .h = 6, .w = 7});
  o.mean = (ebb_numbers){1, {0}}, o.std = (ebb_numbers){1, {1}};
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(3, 1)));
  ck_assert(s->at[0].labelled);
  ck_assert_str_eq(s->at[0].name, "v");
  succeeds(ebb_scans_prepare(s, 24));
  succeeds(ebb_scans_image(s, x, 0, start, size));
  succeeds(ebb_scans_labels(s, labels, 0, start, size));
  for (int d = 0, i = 0; d < 2; d++)
    for (int h = 0; h < 3; h++)
      for (int w = 0; w < 4; w++, i++) {
        ck_assert_double_eq((double)x[i], raw_at(0, 0, d + 3, h + 2, w + 1));
        ck_assert_int_eq(labels[i], label_at(d + 3, h + 2, w + 1));
      }
  ebb_scans_close(s);
}
END_TEST

/* ---- files of predictions --------------------------------------------------------------------------------------------- */
static void read_back(const char *path, int rank, const hsize_t *dims, hid_t type, void *values, hid_t file_type)
{
  hsize_t found[6];
  hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(f, "predictions", H5P_DEFAULT);
  hid_t space = H5Dget_space(set), stored = H5Dget_type(set);
  ck_assert_int_eq(H5Sget_simple_extent_dims(space, found, NULL), rank);
  for (int i = 0; i < rank; i++) ck_assert_uint_eq(found[i], dims[i]);
  ck_assert_int_gt(H5Tequal(stored, file_type), 0);
  ck_assert_int_ge(H5Dread(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  H5Tclose(stored);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(f);
}

START_TEST(labels_come_back_as_the_values_of_the_training)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5");
  ebb_scans *s;
  ebb_predictions *p;
  uint16_t plane[42];
  static int values[210];
  make((file){.name = "v.h5", .d = 5, .h = 6, .w = 7, .label_scale = 100});
  o.label_map = "0:0,100:1,200:2,1000:3";
  o.classes = 4;
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(3, 1)));
  succeeds(ebb_predictions_open(&p, at("out.h5"), s, &s->at[0], 1, 0));
  for (int d = 0; d < 5; d++) {
    for (int i = 0; i < 42; i++) plane[i] = (uint16_t)label_at(d, i / 7, i % 7);
    succeeds(ebb_predictions_labels(p, 0, d, plane));
  }
  succeeds(ebb_predictions_commit(p));
  ebb_predictions_close(p);
  read_back(at("out.h5"), 3, (hsize_t[]){5, 6, 7}, H5T_NATIVE_INT, values, H5T_STD_U16LE);
  for (int i = 0; i < 210; i++) ck_assert_int_eq(values[i], 100 * label_at(i / 42, i / 7 % 6, i % 7));
  ebb_scans_close(s);
}
END_TEST

START_TEST(probabilities_stand_channels_first)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5[1:3]");
  ebb_scans *s;
  ebb_predictions *p;
  float row[7 * 3];
  static double values[2 * 3 * 6 * 7];
  make((file){.name = "v.h5", .n = 4, .c = 1, .h = 6, .w = 7});
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(2, 1)));
  ck_assert_int_eq(s->count, 2);
  ck_assert_uint_eq(s->at[0].sample, 1);
  succeeds(ebb_predictions_open(&p, at("out.h5"), s, &s->at[0], 2, 3));
  for (int n = 0; n < 2; n++)
    for (int h = 0; h < 6; h++) {
      for (int i = 0; i < 21; i++) row[i] = (float)(1000 * n + 100 * (i % 3) + 10 * h + i / 3);
      succeeds(ebb_predictions_probabilities(p, n, h, row));
    }
  succeeds(ebb_predictions_commit(p));
  ebb_predictions_close(p);
  read_back(at("out.h5"), 4, (hsize_t[]){2, 3, 6, 7}, H5T_NATIVE_DOUBLE, values, H5T_IEEE_F32LE);
  for (int i = 0; i < 252; i++) ck_assert_double_eq(values[i], 1000 * (i / 126) + 100 * (i / 42 % 3) + 10 * (i / 7 % 6) + i % 7);
  ebb_scans_close(s);
}
END_TEST

START_TEST(an_unfinished_file_is_none)
{
  ebb_data_options o = plain_options();
  const char *place = at("v.h5");
  ebb_scans *s;
  ebb_predictions *p;
  make((file){.name = "v.h5", .d = 5, .h = 6, .w = 7});
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(3, 1)));
  succeeds(ebb_predictions_open(&p, at("out.h5"), s, &s->at[0], 1, 0));
  ebb_predictions_close(p);
  ck_assert_int_ne(access(at("out.h5"), F_OK), 0);
  ck_assert_int_eq(ebb_predictions_open(&p, at("v.h5"), s, &s->at[0], 1, 0), EBB_USAGE); /* what is read is not written */
  ebb_scans_close(s);
}
END_TEST

/* ---- NIfTI ---------------------------------------------------------------------------------------------------------- */
static void put_bytes(unsigned char *to, const void *from, size_t bytes)
{
  memcpy(to, from, bytes);
}

/* A NIfTI-1 file (nifti.nimh.nih.gov): a header of 348 bytes, 4 of padding, values, x fastest. */
static void write_nifti(const char *name, const int16_t *dim, int16_t datatype, const float *spacing, float slope, float intercept, const void *values,
                        size_t bytes, float shift)
{
  unsigned char h[352] = {0};
  int32_t size = 348;
  int16_t bits = (int16_t)(datatype == 2 ? 8 : 16), code = 1;
  float offset = 352, pixdim[8] = {1, spacing[0], spacing[1], spacing[2], 1, 1, 1, 1};
  float rows[3][4] = {{spacing[0], 0, 0, shift}, {0, spacing[1], 0, 0}, {0, 0, spacing[2], 0}};
  put_bytes(h, &size, 4);
  put_bytes(h + 40, dim, 16);
  put_bytes(h + 70, &datatype, 2);
  put_bytes(h + 72, &bits, 2);
  put_bytes(h + 76, pixdim, 32);
  put_bytes(h + 108, &offset, 4);
  put_bytes(h + 112, &slope, 4);
  put_bytes(h + 116, &intercept, 4);
  h[123] = 2; /* mm */
  put_bytes(h + 254, &code, 2);
  put_bytes(h + 280, rows, 48);
  memcpy(h + 344, "n+1", 4);
  FILE *f = fopen(at(name), "wb");
  ck_assert_uint_eq(fwrite(h, 1, sizeof h, f), sizeof h);
  ck_assert_uint_eq(fwrite(values, 1, bytes, f), bytes);
  fclose(f);
}

static void make_nifti(const char *image, const char *label, float shift)
{
  int16_t values[60];
  unsigned char labels[60];
  const float spacing[3] = {0.5F, 1, 2.5F}; /* x y z */
  for (int i = 0; i < 60; i++) values[i] = (int16_t)(i - 20), labels[i] = (unsigned char)(i % 3);
  write_nifti(image, (int16_t[8]){3, 3, 4, 5, 1, 1, 1, 1}, 4, spacing, 0, 0, values, sizeof values, 0);
  write_nifti(label, (int16_t[8]){3, 3, 4, 5, 1, 1, 1, 1}, 2, spacing, 0, 0, labels, sizeof labels, shift);
}

static void read_set(const char *path, const char *name, int rank, const hsize_t *dims, double *values)
{
  hsize_t found[6];
  hid_t f = H5Fopen(path, H5F_ACC_RDONLY, H5P_DEFAULT), set = H5Dopen2(f, name, H5P_DEFAULT), space = H5Dget_space(set);
  ck_assert_int_eq(H5Sget_simple_extent_dims(space, found, NULL), rank);
  for (int i = 0; i < rank; i++) ck_assert_uint_eq(found[i], dims[i]);
  ck_assert_int_ge(H5Dread(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  H5Sclose(space);
  H5Dclose(set);
  H5Fclose(f);
}

START_TEST(nifti_volumes_stand_z_y_x)
{
  double values[60], um[3];
  const char *in[] = {at("a.nii"), at("l.nii")};
  make_nifti("a.nii", "l.nii", 0);
  succeeds(ebb_convert_nifti(at("o.h5"), in, 2));
  read_set(at("o.h5"), "raw", 3, (hsize_t[]){5, 4, 3}, values);
  for (int i = 0; i < 60; i++) ck_assert_double_eq(values[i], i - 20);
  read_set(at("o.h5"), "label", 3, (hsize_t[]){5, 4, 3}, values);
  for (int i = 0; i < 60; i++) ck_assert_double_eq(values[i], i % 3);
  hid_t f = H5Fopen(at("o.h5"), H5F_ACC_RDONLY, H5P_DEFAULT), a = H5Aopen_by_name(f, "raw", "element_size_um", H5P_DEFAULT, H5P_DEFAULT);
  ck_assert_int_ge(H5Aread(a, H5T_NATIVE_DOUBLE, um), 0);
  H5Aclose(a);
  H5Fclose(f);
  ck_assert(um[0] == 2500 && um[1] == 1000 && um[2] == 500);
  ebb_data_options o = plain_options(); /* and are read in mm */
  ebb_scans *s;
  const char *place = at("o.h5");
  succeeds(ebb_scans_open(&s, &place, 1, &o, input(3, 1)));
  ck_assert(s->at[0].spaced && s->at[0].spacing[0] == 2.5 && s->at[0].spacing[2] == 0.5);
  ebb_scans_close(s);
}
END_TEST

START_TEST(nifti_values_are_scaled_and_channels_first)
{
  double values[24];
  int16_t stored[24];
  const char *in[] = {at("a.nii")};
  const float spacing[3] = {1, 1, 1};
  for (int i = 0; i < 24; i++) stored[i] = (int16_t)i;
  write_nifti("a.nii", (int16_t[8]){4, 2, 2, 3, 2, 1, 1, 1}, 4, spacing, 0.5F, -1, stored, sizeof stored, 0);
  succeeds(ebb_convert_nifti(at("o.h5"), in, 1));
  read_set(at("o.h5"), "raw", 4, (hsize_t[]){2, 3, 2, 2}, values);
  for (int i = 0; i < 24; i++) ck_assert_double_eq(values[i], 0.5 * i - 1);
}
END_TEST

START_TEST(nifti_pairs_that_do_not_fit_are_refused)
{
  const char *in[] = {at("a.nii"), at("l.nii")};
  unsigned char few[10] = {0};
  make_nifti("a.nii", "l.nii", 7);
  ck_assert_int_eq(ebb_convert_nifti(at("o.h5"), in, 2), EBB_DATA);
  says("place in space");
  write_nifti("l.nii", (int16_t[8]){3, 4, 4, 5, 1, 1, 1, 1}, 2, (float[3]){1, 1, 1}, 0, 0, few, sizeof few, 0);
  ck_assert_int_eq(ebb_convert_nifti(at("o.h5"), in, 2), EBB_DATA); /* cut short */
  says("l.nii");
  ck_assert_int_eq(truncate(at("a.nii"), 100), 0);
  ck_assert_int_eq(ebb_convert_nifti(at("o.h5"), in, 2), EBB_NOINPUT);
  ck_assert_int_ne(access(at("o.h5"), F_OK), 0);
}
END_TEST

/* ---- PNG ------------------------------------------------------------------------------------------------------------- */
static void write_png(const char *name, int width, int height, png_uint_32 format, const unsigned char *pixels)
{
  png_image image = {.version = PNG_IMAGE_VERSION, .width = (png_uint_32)width, .height = (png_uint_32)height, .format = format};
  ck_assert(png_image_write_to_file(&image, at(name), 0, pixels, 0, NULL));
}

/* Indexed colours, 2 bits a pixel: what label maps of annotation tools are. */
static void write_palette(const char *name, int width, int height, const unsigned char *pixels)
{
  png_color colours[4] = {{0, 0, 0}, {255, 0, 0}, {0, 255, 0}, {0, 0, 255}};
  FILE *f = fopen(at(name), "wb");
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, f);
  png_set_IHDR(png, info, (png_uint_32)width, (png_uint_32)height, 2, PNG_COLOR_TYPE_PALETTE, PNG_INTERLACE_ADAM7, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  png_set_PLTE(png, info, colours, 4);
  png_write_info(png, info);
  png_set_packing(png);
  int passes = png_set_interlace_handling(png);
  for (int p = 0; p < passes; p++)
    for (int y = 0; y < height; y++) png_write_row(png, (png_const_bytep)(pixels + y * width));
  png_write_end(png, NULL);
  png_destroy_write_struct(&png, &info);
  fclose(f);
}

static void make_png_folders(int second_width)
{
  unsigned char colour[6 * 5 * 3], label[6 * 5];
  mkdir(at("img"), 0777), mkdir(at("lab"), 0777);
  for (int i = 0; i < 90; i++) colour[i] = (unsigned char)(2 * i);
  for (int i = 0; i < 30; i++) label[i] = (unsigned char)(i % 4);
  write_png("img/a_0000.png", 6, 5, PNG_FORMAT_RGB, colour);
  write_palette("lab/a.png", 6, 5, label);
  write_png("img/b.png", second_width, 5, PNG_FORMAT_RGB, colour);
  write_palette("lab/b.png", second_width, 5, label);
}

static void remove_png_folders(void)
{
  static const char *const names[] = {"img/a_0000.png", "img/b.png", "lab/a.png", "lab/b.png", "out/a.h5", "out/b.h5"};
  for (int i = 0; i < 6; i++) unlink(at(names[i]));
  rmdir(at("img")), rmdir(at("lab")), rmdir(at("out"));
}

START_TEST(png_folders_become_a_stack)
{
  double values[180];
  make_png_folders(6);
  const char *in[] = {at("img"), at("lab")};
  succeeds(ebb_convert_png(at("o.h5"), in, 2));
  read_set(at("o.h5"), "raw", 4, (hsize_t[]){2, 3, 5, 6}, values);
  for (int i = 0; i < 180; i++) ck_assert_double_eq(values[i], 2 * (3 * (i % 30) + i / 30 % 3));
  read_set(at("o.h5"), "label", 3, (hsize_t[]){2, 5, 6}, values);
  for (int i = 0; i < 60; i++) ck_assert_double_eq(values[i], i % 30 % 4);
  remove_png_folders();
}
END_TEST

START_TEST(png_files_of_different_sizes_become_a_folder)
{
  double values[180];
  make_png_folders(4);
  const char *in[] = {strdup(at("img")), strdup(at("lab"))}; /* at() keeps eight names */
  ck_assert_int_eq(ebb_convert_png(at("o.h5"), in, 2), EBB_DATA);
  says("name a folder");
  ck_assert_int_ne(access(at("o.h5"), F_OK), 0);
  succeeds(ebb_convert_png(at("out"), in, 2));
  read_set(at("out/b.h5"), "raw", 3, (hsize_t[]){3, 5, 4}, values);
  read_set(at("out/a.h5"), "label", 2, (hsize_t[]){5, 6}, values);
  unlink(at("lab/b.png"));
  ck_assert_int_eq(ebb_convert_png(at("out"), in, 2), EBB_DATA);
  says("b.png: expected a label of the same name");
  free((void *)in[0]), free((void *)in[1]);
  remove_png_folders();
}
END_TEST

START_TEST(damaged_and_coloured_labels_are_refused)
{
  unsigned char colour[90] = {0};
  const char *in[] = {at("a.png"), at("l.png")};
  write_png("a.png", 6, 5, PNG_FORMAT_RGB, colour);
  write_png("l.png", 6, 5, PNG_FORMAT_RGB, colour);
  ck_assert_int_eq(ebb_convert_png(at("o.h5"), in, 2), EBB_DATA);
  says("label map of one number a pixel");
  ck_assert_int_eq(truncate(at("a.png"), 60), 0);
  ck_assert_int_eq(ebb_convert_png(at("o.h5"), in, 2), EBB_DATA);
  says("a.png");
  ck_assert_int_ne(access(at("o.h5"), F_OK), 0);
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("scans");
  TCase *t = tcase_create("scans");
  tcase_set_timeout(t, 60);
  tcase_add_checked_fixture(t, folder_make, folder_remove);
  tcase_add_loop_test(t, axes_follow_from_the_network, 0, READINGS);
  tcase_add_test(t, refuses_what_the_network_cannot_take);
  tcase_add_test(t, colours_are_read_as_grey);
  tcase_add_test(t, labels_that_do_not_fit_are_left_aside);
  tcase_add_test(t, boxes_hold_what_the_file_does);
  tcase_add_test(t, labels_come_back_as_the_values_of_the_training);
  tcase_add_test(t, probabilities_stand_channels_first);
  tcase_add_test(t, an_unfinished_file_is_none);
  tcase_add_test(t, nifti_volumes_stand_z_y_x);
  tcase_add_test(t, nifti_values_are_scaled_and_channels_first);
  tcase_add_test(t, nifti_pairs_that_do_not_fit_are_refused);
  tcase_add_test(t, png_folders_become_a_stack);
  tcase_add_test(t, png_files_of_different_sizes_become_a_folder);
  tcase_add_test(t, damaged_and_coloured_labels_are_refused);
  suite_add_tcase(suite, t);
  return run_suite(suite);
}
