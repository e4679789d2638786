/* reader.c -- see reader.h. */
#include "datasets/reader.h"

#include <string.h>

static ebb_status open_stack(ebb_h5 **f, ebb_reader *r, const ebb_stack *stack)
{
  for (int i = 0; i < EBB_READER_FILES; i++)
    if (r->open[i].stack == stack) return *f = r->open[i].file, EBB_OK;
  ebb_opened *o = &r->open[r->next];
  r->next = (r->next + 1) % EBB_READER_FILES;
  ebb_h5_close(o->file);
  ebb_pool_clear(&o->pool);
  *o = (ebb_opened){0};
  EBB_TRY(ebb_stack_reopen(&o->file, stack, &o->pool));
  o->stack = stack;
  *f = o->file;
  return EBB_OK;
}

/* The part of the wanted box that lies in the volume. */
static ebb_box inside(const ebb_volume *v, const int start[3], const int size[3])
{
  ebb_box b = {0};
  for (int i = 0; i < 3; i++) {
    int end = start[i] + size[i] < v->size[i] ? start[i] + size[i] : v->size[i];
    b.start[i] = start[i] > 0 ? start[i] : 0;
    b.size[i] = end - b.start[i];
  }
  return b;
}

static bool empty(const ebb_box *b)
{
  return b->size[0] <= 0 || b->size[1] <= 0 || b->size[2] <= 0;
}

/* Site of the wanted box, in memory, of site (z, y, x) of the part inside. */
static size_t site_of(const ebb_box *b, const int start[3], const int size[3], int z, int y, int x)
{
  int d = z + b->start[0] - start[0], h = y + b->start[1] - start[1], w = x + b->start[2] - start[2];
  return ((size_t)d * (size_t)size[1] + (size_t)h) * (size_t)size[2] + (size_t)w;
}

static size_t sites_of(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

/* The part of the wanted box that lies in volume `i`, in r->numbers; without sites if there is none. */
static ebb_status read_inside(ebb_box *b, ebb_reader *r, int i, bool label, const int start[3], const int size[3])
{
  ebb_h5               *f;
  const ebb_volume     *v = &r->volumes->at[i];
  const ebb_h5_dataset *d = label ? v->stack->label : v->stack->raw;
  *b = inside(v, start, size);
  if (empty(b)) return *b = (ebb_box){0}, EBB_OK;
  EBB_TRY(open_stack(&f, r, v->stack));
  EBB_TRY(ebb_h5_choose(f, d));
  return ebb_box_read(b, r->numbers, f, d, label ? v->stack->label_axes : v->stack->raw_axes, v->sample);
}

ebb_status ebb_reader_image(ebb_reader *r, ebb_real *x, int i, const int start[3], const int size[3])
{
  ebb_box           b;
  const ebb_volume *v = &r->volumes->at[i];
  size_t            c = (size_t)r->volumes->channels;
  memset(x, 0, sites_of(size) * c * sizeof *x);
  EBB_TRY(read_inside(&b, r, i, false, start, size));
  for (int d = 0; d < b.size[0]; d++)
    for (int h = 0; h < b.size[1]; h++)
      for (int w = 0; w < b.size[2]; w++) {
        ebb_real *to = x + site_of(&b, start, size, d, h, w) * c;
        for (size_t k = 0; k < c; k++) {
          double value = ebb_raw_value(v->stack, &b, r->numbers, d, h, w, (int)k);
          to[k] = (ebb_real)((value - v->mean[k]) / v->std[k]);
        }
      }
  return EBB_OK;
}

static bool owned(const int own[3][2], int d, int h, int w)
{
  return !own || (d >= own[0][0] && d < own[0][1] && h >= own[1][0] && h < own[1][1] && w >= own[2][0] && w < own[2][1]);
}

ebb_status ebb_reader_labels(ebb_reader *r, int32_t *labels, ebb_real *soft, int i, const int start[3], const int size[3], const int own[3][2])
{
  ebb_box          b;
  const ebb_stack *s = r->volumes->at[i].stack;
  size_t           classes = soft ? (size_t)ebb_soft_classes(s) : 0;
  double           t[EBB_CHANNELS_MOST];
  memset(labels, 0xff, sites_of(size) * sizeof *labels); /* -1 */
  if (classes) memset(soft, 0, sites_of(size) * classes * sizeof *soft);
  EBB_TRY(read_inside(&b, r, i, true, start, size));
  for (int d = 0; d < b.size[0]; d++)
    for (int h = 0; h < b.size[1]; h++)
      for (int w = 0; w < b.size[2]; w++) {
        size_t site = site_of(&b, start, size, d, h, w);
        if (!owned(own, d + b.start[0], h + b.start[1], w + b.start[2])) continue;
        labels[site] = ebb_label_class(r->map, r->classes, ebb_label_value(s, &b, r->numbers, d, h, w));
        if (!classes) continue;
        ebb_soft_values(t, s, &b, r->numbers, d, h, w);
        for (size_t k = 0; k < classes; k++) soft[site * classes + k] = (ebb_real)t[k];
      }
  return EBB_OK;
}

void ebb_reader_close(ebb_reader *r)
{
  for (int i = 0; i < EBB_READER_FILES; i++) {
    ebb_h5_close(r->open[i].file);
    ebb_pool_clear(&r->open[i].pool);
  }
}
