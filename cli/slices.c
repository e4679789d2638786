/* slices.c -- see slices.h. */
#include "slices.h"

#include <string.h>

static size_t sites(const ebb_overlay_slice *s)
{
  return (size_t)s->height * (size_t)s->width;
}

void ebb_slices_clear(ebb_slices *s)
{
  ebb_pool_clear(&s->pool);
  *s = (ebb_slices){0};
}

void ebb_slices_begin(ebb_slices *s, const int size[3])
{
  ebb_slices_clear(s);
  memcpy(s->size, size, sizeof s->size);
  s->count = size[0] > 1 ? 3 : size[1] > 1 ? 1 : 0;
  for (int i = 0; i < s->count; i++) {
    s->axis[i] = i;
    s->at[i].height = i == 0 ? size[1] : size[0];
    s->at[i].width = i == 2 ? size[1] : size[2];
    s->at[i].predicted = s->predicted[i] = ebb_pool_take(&s->pool, sites(&s->at[i]) * sizeof(uint16_t));
  }
}

void ebb_slices_add(ebb_slices *s, int outer, int at, const uint16_t *classes)
{
  int begin[3] = {0}, end[3], p[3];
  for (int i = 0; i < 3; i++) end[i] = s->size[i];
  begin[outer] = at, end[outer] = at + 1;
  size_t n = 0;
  if (s->count == 0) return;
  for (p[0] = begin[0]; p[0] < end[0]; p[0]++)
    for (p[1] = begin[1]; p[1] < end[1]; p[1]++)
      for (p[2] = begin[2]; p[2] < end[2]; p[2]++, n++)
        for (int i = 0; i < s->count; i++) {
          if (p[s->axis[i]] != s->size[s->axis[i]] / 2) continue;
          int row = s->axis[i] == 0 ? p[1] : p[0], column = s->axis[i] == 2 ? p[1] : p[2];
          s->predicted[i][row * s->at[i].width + column] = classes[n];
        }
}

/* The mean over channels. */
static const float *grey(const ebb_real *x, size_t count, int channels, ebb_pool *pool)
{
  float *g = ebb_pool_take(pool, count * sizeof *g);
  for (size_t i = 0; i < count; i++)
    for (int c = 0; c < channels; c++) g[i] += (float)x[i * (size_t)channels + (size_t)c] / (float)channels;
  return g;
}

static const uint16_t *as_classes(const int32_t *labels, size_t count, ebb_pool *pool)
{
  uint16_t *classes = ebb_pool_take(pool, count * sizeof *classes);
  for (size_t i = 0; i < count; i++) classes[i] = labels[i] < 0 ? 0 : (uint16_t)labels[i];
  return classes;
}

ebb_status ebb_slices_finish(ebb_slices *s, ebb_scans *scans, int i)
{
  for (int k = 0; k < s->count; k++) {
    int       start[3] = {0}, size[3] = {s->size[0], s->size[1], s->size[2]};
    size_t    count = sites(&s->at[k]);
    ebb_real *x = ebb_pool_take(&s->pool, count * (size_t)scans->channels * sizeof *x);
    start[s->axis[k]] = s->size[s->axis[k]] / 2;
    size[s->axis[k]] = 1;
    EBB_TRY(ebb_scans_image(scans, x, i, start, size));
    s->at[k].image = grey(x, count, scans->channels, &s->pool);
    if (!scans->at[i].labelled) continue;
    int32_t *labels = ebb_pool_take(&s->pool, count * sizeof *labels);
    EBB_TRY(ebb_scans_labels(scans, labels, i, start, size));
    s->at[k].label = as_classes(labels, count, &s->pool);
  }
  return EBB_OK;
}
