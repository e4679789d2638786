/* volume_files.h -- small HDF5 files of volumes and label maps in a folder of their own, for tests.
 * Every value is a function of its place, so that it tells where it comes from. */
#pragma once
#define _GNU_SOURCE
#include <check.h>
#include <dirent.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datasets/datasets.h"

static char folder[64];

static void folder_make(void)
{
  strcpy(folder, "/tmp/ebb_volumes_XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  ebb_data_init();
}

static void folder_remove(void)
{
  DIR *d = opendir(folder);
  char path[512];
  for (struct dirent *e; (e = readdir(d));) {
    snprintf(path, sizeof path, "%s/%s", folder, e->d_name);
    if (e->d_name[0] != '.') unlink(path);
  }
  closedir(d);
  ck_assert_int_eq(rmdir(folder), 0);
}

static inline const char *at(const char *name)
{
  static char path[8][256];
  static int turn;
  turn = (turn + 1) % 8;
  snprintf(path[turn], sizeof path[turn], "%s%s%s", folder, *name == '[' || !*name ? "" : "/", name);
  return path[turn];
}

static double raw_at(int volume, int c, int z, int y, int x)
{
  return volume * 100000 + c * 50000 + z * 1600 + y * 40 + x;
}

static int label_at(int z, int y, int x)
{
  return (z + y + x) % 4 == 0 ? 1 + x % 2 : 0;
}

static void put(hid_t f, const char *name, hid_t type, int rank, const int *dims, const double *values)
{
  hsize_t d[6];
  for (int i = 0; i < rank; i++) d[i] = (hsize_t)dims[i];
  hid_t space = H5Screate_simple(rank, d, NULL), set = H5Dcreate2(f, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  ck_assert_int_ge(H5Dwrite(set, H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values), 0);
  H5Dclose(set);
  H5Sclose(space);
}

enum { MOST = 200000 };
static double numbers[MOST];

/* A file of n samples (0: one, without that axis) of c channels (0: without that axis) and d x h x w sites; d 0: 2-D. Channels
 * stand first of a sample. label_scale: labels are written as label_at * label_scale. */
typedef struct file { const char *name; int volume, n, c, d, h, w; double label_scale; } file;

static void fill(const file *k, bool label)
{
  int count = 0, channels = label ? 1 : k->c ? k->c : 1;
  for (int n = 0; n < (k->n ? k->n : 1); n++)
    for (int c = 0; c < channels; c++)
      for (int z = 0; z < (k->d ? k->d : 1); z++)
        for (int y = 0; y < k->h; y++)
          for (int x = 0; x < k->w; x++)
            numbers[count++] = label ? label_at(z, y, x) * k->label_scale : raw_at(k->volume + n, c, z, y, x);
  ck_assert_int_le(count, MOST);
}

static int dims_of(int dims[6], const file *k, bool label)
{
  int rank = 0;
  if (k->n) dims[rank++] = k->n;
  if (k->c && !label) dims[rank++] = k->c;
  if (k->d) dims[rank++] = k->d;
  dims[rank++] = k->h;
  dims[rank++] = k->w;
  return rank;
}

static inline void make(file k)
{
  int dims[6];
  if (k.label_scale == 0) k.label_scale = 1;
  hid_t f = H5Fcreate(at(k.name), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  ck_assert_int_ge(f, 0);
  fill(&k, false);
  put(f, "raw", H5T_IEEE_F32LE, dims_of(dims, &k, false), dims, numbers);
  fill(&k, true);
  put(f, "label", H5T_STD_U8LE, dims_of(dims, &k, true), dims, numbers);
  H5Fclose(f);
}
