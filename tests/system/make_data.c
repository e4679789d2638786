/* make_data.c -- writes the small HDF5 files of the system tests: make_data KIND FILE; balls7: number 7 of the volumes. */
#include <hdf5.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIDE = 8, PIXELS = SIDE * SIDE, CLASSES = 4, TRAIN = 640, TEST = 64 };

static void put(hid_t where, const char *name, hid_t type, int rank, const hsize_t *dims, const void *values)
{
  hid_t space = H5Screate_simple(rank, dims, NULL);
  hid_t set = H5Dcreate2(where, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  if (values) H5Dwrite(set, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values);
  H5Dclose(set);
  H5Sclose(space);
}

static uint32_t noise(uint32_t i)
{
  i = (i ^ 61u) ^ (i >> 16);
  i *= 9u;
  i ^= i >> 4;
  i *= 0x27d4eb2du;
  return i ^ (i >> 15);
}

/* A class is the quadrant that is bright. */
static void fill(float *images, int64_t *labels, int n, uint32_t seed)
{
  for (int i = 0; i < n; i++) {
    int label = (int)(noise(seed + (uint32_t)i) % CLASSES);
    labels[i] = label;
    for (int p = 0; p < PIXELS; p++) {
      int quadrant = 2 * (p / SIDE / (SIDE / 2)) + p % SIDE / (SIDE / 2);
      images[i * PIXELS + p] = (float)(noise(seed + (uint32_t)(i * PIXELS + p) * 7u) % 64) + (quadrant == label ? 150.f : 0.f);
    }
  }
}

/* images (n, 8, 8, 1) and labels (m) in `where`, after `spoil` had its way with them */
static void put_set(hid_t where, int n, int m, uint32_t seed, void (*spoil)(float *, int64_t *))
{
  static float   images[TRAIN * PIXELS];
  static int64_t labels[TRAIN];
  fill(images, labels, TRAIN, seed);
  if (spoil) spoil(images, labels);
  put(where, "images", H5T_NATIVE_FLOAT, 4, (hsize_t[]){(hsize_t)n, SIDE, SIDE, 1}, n ? images : NULL);
  put(where, "labels", H5T_NATIVE_INT64, 1, (hsize_t[]){(hsize_t)m}, m ? labels : NULL);
}

static void negative(float *x, int64_t *y) { (void)x, y[5] = -2; }
static void too_high(float *x, int64_t *y) { (void)x, y[7] = 9; }
static void not_a_number(float *x, int64_t *y) { (void)y, x[3 * PIXELS + 2] = NAN; }
static void infinite(float *x, int64_t *y) { (void)y, x[3 * PIXELS + 2] = INFINITY; }

static void put_good(hid_t file)
{
  hid_t train = H5Gcreate2(file, "train", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  hid_t test = H5Gcreate2(file, "test", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  put_set(train, TRAIN, TRAIN, 1, NULL);
  put_set(test, TEST, TEST, 99999, NULL);
  H5Gclose(train);
  H5Gclose(test);
}

static void put_odd(hid_t file)
{
  static const uint8_t zeros[40 * 7];
  put(file, "images", H5T_NATIVE_UINT8, 2, (hsize_t[]){40, 7}, zeros);
  put(file, "labels", H5T_NATIVE_UINT8, 1, (hsize_t[]){40}, zeros);
}

static void put_missing(hid_t file)
{
  static const uint8_t zeros[12];
  static const float   weather[12];
  put(file, "weather", H5T_NATIVE_FLOAT, 1, (hsize_t[]){12}, weather);
  put(file, "labels", H5T_NATIVE_UINT8, 1, (hsize_t[]){12}, zeros);
}

/* 500 rows of 3 columns, of which the third is nearly the product of the others; column 1 is rounded, or has a NaN in row 9. */
static void put_table(hid_t file, bool coarse, bool missing)
{
  enum { ROWS = 500 };
  static float x[ROWS * 3];
  for (uint32_t i = 0; i < ROWS; i++) {
    float a = (float)(noise(3 * i) % 100000) / 50000.f, b = (float)(noise(3 * i + 1) % 100000) / 50000.f;
    x[3 * i] = a;
    x[3 * i + 1] = coarse ? floorf(4 * b) : missing && i == 9 ? NAN : b;
    x[3 * i + 2] = a * b + (float)(noise(3 * i + 2) % 100000) / 500000.f;
  }
  put(file, "rows", H5T_NATIVE_FLOAT, 2, (hsize_t[]){ROWS, 3}, x);
}

/* The good images without their labels. */
static void put_unlabelled(hid_t file)
{
  static float   images[TRAIN * PIXELS];
  static int64_t labels[TRAIN];
  fill(images, labels, TRAIN, 1);
  put(file, "images", H5T_NATIVE_FLOAT, 4, (hsize_t[]){TRAIN, SIDE, SIDE, 1}, images);
}

/* A bright ball and a dark one in noise; labels 0, 1, 2. Sizes differ from file to file. */
static void put_balls(hid_t file, int seed)
{
  enum { DEPTH = 20, HEIGHT = 26 };
  int width = 22 + seed % 3;
  static float raw[DEPTH * HEIGHT * 24];
  static uint8_t label[DEPTH * HEIGHT * 24];
  for (int d = 0, i = 0; d < DEPTH; d++)
    for (int h = 0; h < HEIGHT; h++)
      for (int w = 0; w < width; w++, i++) {
        int a = (d - 6 - seed % 4) * (d - 6 - seed % 4) + (h - 8) * (h - 8) + (w - 8) * (w - 8);
        int b = (d - 12) * (d - 12) + (h - 17) * (h - 17) + (w - 12 - seed % 3) * (w - 12 - seed % 3);
        label[i] = a < 25 ? 1 : b < 30 ? 2 : 0;
        raw[i] = (float)(noise((uint32_t)(i + 7919 * seed)) % 64) + (label[i] == 1 ? 90.f : label[i] == 2 ? -90.f : 0.f);
      }
  hsize_t dims[] = {DEPTH, HEIGHT, (hsize_t)width};
  put(file, "raw", H5T_NATIVE_FLOAT, 3, dims, raw);
  put(file, "label", H5T_NATIVE_UINT8, 3, dims, label);
  double um[3] = {2000, 1000, 1000};
  hsize_t three = 3;
  hid_t set = H5Dopen2(file, "raw", H5P_DEFAULT), space = H5Screate_simple(1, &three, NULL);
  hid_t attribute = H5Acreate2(set, "element_size_um", H5T_NATIVE_DOUBLE, space, H5P_DEFAULT, H5P_DEFAULT);
  H5Awrite(attribute, H5T_NATIVE_DOUBLE, um);
  H5Aclose(attribute);
  H5Sclose(space);
  H5Dclose(set);
}

int main(int argc, char **argv)
{
  if (argc != 3) return EXIT_FAILURE;
  const char *kind = argv[1];
  hid_t       file = H5Fcreate(argv[2], H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  if (strcmp(kind, "good") == 0) put_good(file);
  else if (strcmp(kind, "missing") == 0) put_missing(file);
  else if (strcmp(kind, "lengths") == 0) put_set(file, 40, 39, 1, NULL);
  else if (strcmp(kind, "negative") == 0) put_set(file, 40, 40, 1, negative);
  else if (strcmp(kind, "high") == 0) put_set(file, 40, 40, 1, too_high);
  else if (strcmp(kind, "nan") == 0) put_set(file, 40, 40, 1, not_a_number);
  else if (strcmp(kind, "inf") == 0) put_set(file, 40, 40, 1, infinite);
  else if (strcmp(kind, "empty") == 0) put_set(file, 0, 0, 1, NULL);
  else if (strcmp(kind, "odd") == 0) put_odd(file);
  else if (strcmp(kind, "table") == 0) put_table(file, false, false);
  else if (strcmp(kind, "coarse") == 0) put_table(file, true, false);
  else if (strcmp(kind, "gap") == 0) put_table(file, false, true);
  else if (strcmp(kind, "unlabelled") == 0) put_unlabelled(file);
  else if (strncmp(kind, "balls", 5) == 0) put_balls(file, atoi(kind + 5));
  else return EXIT_FAILURE;
  return H5Fclose(file) < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
