/* convert_nifti.c -- NIfTI volumes to HDF5, by libnifti2. Owns: what the header means. */
#include <math.h>
#include <nifti2_io.h>
#include <string.h>

#include "datasets/convert_pairs.h"
#include "datasets/datasets.h"

#define VALUES_MOST ((int64_t)1 << 33)

static bool known_type(ebb_write_type *t, int datatype)
{
  static const struct { int code; ebb_write_type type; } known[] = {
      {DT_UINT8, {EBB_WRITE_UNSIGNED, 1, false}},  {DT_INT8, {EBB_WRITE_SIGNED, 1, false}},   {DT_UINT16, {EBB_WRITE_UNSIGNED, 2, false}},
      {DT_INT16, {EBB_WRITE_SIGNED, 2, false}},    {DT_UINT32, {EBB_WRITE_UNSIGNED, 4, false}}, {DT_INT32, {EBB_WRITE_SIGNED, 4, false}},
      {DT_UINT64, {EBB_WRITE_UNSIGNED, 8, false}}, {DT_INT64, {EBB_WRITE_SIGNED, 8, false}},  {DT_FLOAT32, {EBB_WRITE_FLOAT, 4, false}},
      {DT_FLOAT64, {EBB_WRITE_FLOAT, 8, false}}};
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (known[i].code == datatype) return *t = known[i].type, true;
  return false;
}

/* x is the fastest axis of a NIfTI file, so that C order is (channels,) z, y, x. */
static ebb_status settle_axes(ebb_array *a, const nifti_image *n, const char *path, bool label)
{
  int64_t channels = n->nt > 1 ? n->nt : n->nu > 1 ? n->nu : 1, sizes[] = {n->nz, n->ny, n->nx};
  if ((n->nt > 1 && n->nu > 1) || n->nv > 1 || n->nw > 1)
    return ebb_fail(EBB_DATA, "%s: expected at most four axes, found %lld of them", path, (long long)n->ndim);
  if (label && channels > 1) return ebb_fail(EBB_DATA, "%s: expected a label map, found %lld volumes in it", path, (long long)channels);
  a->channels = channels > 1;
  if (a->channels) a->dims[a->rank++] = (uint64_t)channels;
  for (int i = n->nz > 1 ? 0 : 1; i < 3; i++) {
    if (sizes[i] < 1) return ebb_fail(EBB_DATA, "%s: expected sizes of at least 1, found %lld", path, (long long)sizes[i]);
    a->dims[a->rank++] = (uint64_t)sizes[i];
  }
  return EBB_OK;
}

static void settle_space(ebb_array *a, const nifti_image *n)
{
  double um = n->xyz_units == NIFTI_UNITS_METER ? 1e6 : n->xyz_units == NIFTI_UNITS_MICRON ? 1 : 1e3, sizes[] = {n->dz, n->dy, n->dx};
  for (int i = 0; i < 3; i++)
    if (isfinite(sizes[i]) && sizes[i] != 0) a->um[i] = fabs(sizes[i]) * um;
  if (!(a->um[0] > 0 && a->um[1] > 0 && a->um[2] > 0)) memset(a->um, 0, sizeof a->um);
  const nifti_dmat44 *m = n->sform_code > 0 ? &n->sto_xyz : n->qform_code > 0 ? &n->qto_xyz : NULL;
  for (int i = 0; m && i < 16; i++) a->grid[i] = m->m[i / 4][i % 4];
}

/* stored * slope + intercept, as float32. */
static ebb_status scale(ebb_array *a, const nifti_image *n)
{
  size_t count = ebb_array_bytes(a) / (size_t)a->type.bytes;
  ebb_write_type from = a->type;
  a->type = (ebb_write_type){EBB_WRITE_FLOAT, 4, false};
  EBB_TRY(ebb_arena_create(&a->memory, "volume", count * sizeof(float)));
  float *to = a->values = ebb_arena_low(&a->memory, count * sizeof(float), EBB_USE_KEPT);
  for (size_t i = 0; i < count; i++) to[i] = (float)(ebb_write_value(n->data, from, i) * n->scl_slope + n->scl_inter);
  return EBB_OK;
}

static ebb_status copy(ebb_array *a, const nifti_image *n)
{
  size_t bytes = ebb_array_bytes(a);
  EBB_TRY(ebb_arena_create(&a->memory, "volume", bytes));
  a->values = ebb_arena_low(&a->memory, bytes, EBB_USE_KEPT);
  memcpy(a->values, n->data, bytes);
  return EBB_OK;
}

static ebb_status take(ebb_array *a, nifti_image *n, const char *path, bool label)
{
  bool scaled = !label && n->scl_slope != 0 && isfinite(n->scl_slope) && isfinite(n->scl_inter) && (n->scl_slope != 1 || n->scl_inter != 0);
  if (!known_type(&a->type, n->datatype))
    return ebb_fail(EBB_DATA, "%s: expected whole numbers or floats, found values of type %s", path, nifti_datatype_string(n->datatype));
  if (n->nvox < 1 || n->nvox > VALUES_MOST) return ebb_fail(EBB_DATA, "%s: expected 1 to %lld values, found %lld", path, (long long)VALUES_MOST, (long long)n->nvox);
  EBB_TRY(settle_axes(a, n, path, label));
  if (nifti_image_load(n) != 0 || !n->data) return ebb_fail(EBB_DATA, "%s: expected %lld values, found less: the file is cut short or damaged", path, (long long)n->nvox);
  settle_space(a, n);
  return scaled ? scale(a, n) : copy(a, n);
}

static ebb_status read_volume(ebb_array *a, const char *path, bool label)
{
  nifti_set_debug_level(0);
  nifti_image *n = nifti_image_read(path, 0);
  if (!n) return ebb_fail(EBB_NOINPUT, "%s: expected a NIfTI file, found none that can be read", path);
  ebb_status status = take(a, n, path, label);
  nifti_image_free(n);
  return status;
}

ebb_status ebb_convert_nifti(const char *out, const char *const *in, int count)
{
  static const char *const endings[] = {".nii.gz", ".nii", ".hdr", NULL};
  return ebb_convert_pairs(out, in, count, &(ebb_pair_format){endings, read_volume});
}
