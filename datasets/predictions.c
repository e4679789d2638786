/* predictions.c -- see predictions.h. */
#include "datasets/predictions.h"

#include <string.h>

#include "datasets/hdf5.h"
#include "datasets/write.h"

#define MM_TO_UM 1000.0

struct ebb_predictions {
  ebb_pool       pool;
  ebb_write     *file;
  int            rank, sample_axis, class_axis, outer; /* axes of the dataset; -1: there is none            */
  uint64_t       dims[EBB_H5_RANK];
  size_t         plane;                                /* sites                                              */
  int            outputs, bytes;
  const ebb_scans *scans;
  float         *probabilities;                        /* (plane) one class                                  */
  void          *values;                               /* (plane) labels as they are written                 */
};

/* The smallest type that holds what stands for classes in files. */
static ebb_write_type label_type(const ebb_scans *s)
{
  int64_t most = 0, least = 0;
  for (int c = 0; c < s->classes; c++) {
    int64_t v = ebb_scans_value(s, c);
    if (v > most) most = v;
    if (v < least) least = v;
  }
  if (least < 0 || most > UINT16_MAX) return (ebb_write_type){EBB_WRITE_SIGNED, 4, false};
  return (ebb_write_type){EBB_WRITE_UNSIGNED, most > UINT8_MAX ? 2 : 1, false};
}

static void add_axis(ebb_predictions *p, uint64_t size)
{
  p->dims[p->rank++] = size;
}

/* The dataset's axes: samples, classes, then the image's. */
static void settle_axes(ebb_predictions *p, const ebb_scan *scan, int samples)
{
  static const char letters[] = "dhw";
  p->sample_axis = p->class_axis = p->outer = -1;
  if (strchr(scan->axes, 'n')) {
    p->sample_axis = p->rank;
    add_axis(p, (uint64_t)samples);
  }
  if (p->outputs) {
    p->class_axis = p->rank;
    add_axis(p, (uint64_t)p->outputs);
  }
  p->plane = 1;
  for (int i = 0; i < 3; i++) {
    if (!strchr(scan->axes, letters[i])) continue;
    if (p->outer < 0 && (scan->size[i] > 1 || i == 2)) p->outer = p->rank;
    else if (p->outer >= 0) p->plane *= (size_t)scan->size[i];
    add_axis(p, (uint64_t)scan->size[i]);
  }
}

static ebb_status begin_file(ebb_predictions *p, const char *path, const ebb_scan *scan)
{
  const char *const inputs[] = {scan->file};
  ebb_write_type type = p->outputs ? (ebb_write_type){EBB_WRITE_FLOAT, 4, false} : label_type(p->scans);
  p->bytes = type.bytes;
  EBB_TRY(ebb_write_open(&p->file, path, inputs, 1));
  EBB_TRY(ebb_write_dataset(p->file, "/predictions", type, p->rank, p->dims));
  double um[3];
  for (int i = 0; i < 3; i++) um[i] = scan->spacing[i] * MM_TO_UM;
  return scan->spaced ? ebb_write_numbers(p->file, "element_size_um", um, 3) : EBB_OK;
}

ebb_status ebb_predictions_open(ebb_predictions **out, const char *path, const ebb_scans *scans, const ebb_scan *scan, int samples, int outputs)
{
  ebb_pool pool = {0};
  ebb_predictions *p = EBB_POOL_NEW(&pool, ebb_predictions);
  *p = (ebb_predictions){.pool = pool, .scans = scans, .outputs = outputs};
  settle_axes(p, scan, samples);
  p->probabilities = ebb_pool_take(&p->pool, p->plane * sizeof *p->probabilities);
  p->values = ebb_pool_take(&p->pool, p->plane * sizeof(int32_t));
  ebb_status status = begin_file(p, path, scan);
  if (status == EBB_OK) return *out = p, EBB_OK;
  ebb_predictions_close(p);
  return status;
}

static ebb_status write_plane(ebb_predictions *p, const void *values, int sample, int class, int at)
{
  uint64_t start[EBB_H5_RANK] = {0}, count[EBB_H5_RANK];
  memcpy(count, p->dims, sizeof count);
  if (p->sample_axis >= 0) start[p->sample_axis] = (uint64_t)sample, count[p->sample_axis] = 1;
  if (p->class_axis >= 0) start[p->class_axis] = (uint64_t)class, count[p->class_axis] = 1;
  start[p->outer] = (uint64_t)at;
  count[p->outer] = 1;
  return ebb_write_box(p->file, values, start, count);
}

ebb_status ebb_predictions_labels(ebb_predictions *p, int sample, int at, const uint16_t *classes)
{
  for (size_t i = 0; i < p->plane; i++) {
    int64_t v = ebb_scans_value(p->scans, classes[i]);
    if (p->bytes == 1) ((uint8_t *)p->values)[i] = (uint8_t)v;
    else if (p->bytes == 2) ((uint16_t *)p->values)[i] = (uint16_t)v;
    else ((int32_t *)p->values)[i] = (int32_t)v;
  }
  return write_plane(p, p->values, sample, 0, at);
}

ebb_status ebb_predictions_probabilities(ebb_predictions *p, int sample, int at, const float *q)
{
  for (int c = 0; c < p->outputs; c++) {
    for (size_t i = 0; i < p->plane; i++) p->probabilities[i] = q[i * (size_t)p->outputs + (size_t)c];
    EBB_TRY(write_plane(p, p->probabilities, sample, c, at));
  }
  return EBB_OK;
}

ebb_status ebb_predictions_commit(ebb_predictions *p)
{
  return ebb_write_commit(p->file);
}

void ebb_predictions_close(ebb_predictions *p)
{
  if (!p) return;
  ebb_pool pool = p->pool; /* holds p itself */
  ebb_write_close(p->file);
  ebb_pool_clear(&pool);
}

const char *ebb_predictions_path(const char *folder, const ebb_scan *scan, ebb_pool *pool)
{
  const char *slash = strrchr(scan->file, '/'), *base = slash ? slash + 1 : scan->file, *dot = strrchr(base, '.');
  int length = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
  return ebb_pool_text(pool, "%s/%.*s_predictions.h5", folder, length, base);
}
