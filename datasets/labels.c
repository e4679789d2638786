/* labels.c -- see labels.h. */
#include "datasets/labels.h"

#include <math.h>

#define PIECE ((uint64_t)65536)

static uint64_t row_values(const ebb_h5_dataset *d)
{
  uint64_t values = 1;
  for (int i = 1; i < d->rank; i++) values *= d->dims[i];
  return values;
}

uint64_t ebb_rows_together(const ebb_h5_dataset *d)
{
  uint64_t bytes = row_values(d) * d->bytes;
  uint64_t rows = bytes && bytes < PIECE ? PIECE / bytes : 1;
  if (d->chunked && d->filtered) rows = rows < d->chunk[0] ? d->chunk[0] : rows / d->chunk[0] * d->chunk[0];
  return rows < d->dims[0] ? rows : d->dims[0] ? d->dims[0] : 1;
}

ebb_status ebb_labels_describe(ebb_labels *l, ebb_notes *notes, const ebb_h5 *f, const ebb_h5_dataset *d)
{
  uint64_t values = row_values(d);
  *l = (ebb_labels){.samples = d->rank ? d->dims[0] : 0};
  if (d->trouble) return ebb_fail(EBB_DATA, "%s:%s: expected labels, but %s", ebb_h5_path(f), d->path, d->trouble);
  if (values == 1) return EBB_OK;
  if (d->rank != 2 || values == 0 || values > 1000000)
    return ebb_fail(EBB_DATA,
                    "%s:%s: expected a class for each sample, as (N), (N, 1) or one-hot (N, classes), found %s"
                    "\nhint: choose another dataset with data.label=NAME",
                    ebb_h5_path(f), d->path, ebb_h5_describe(d, notes->pool));
  l->one_hot = (int)values;
  ebb_note(notes, "%s:%s: one-hot labels of %d classes", ebb_h5_path(f), d->path, l->one_hot);
  return EBB_OK;
}

static ebb_status take_number(int32_t *label, double v, const ebb_h5 *f, const ebb_h5_dataset *d, uint64_t i,
                              int classes)
{
  double most = classes ? classes - 1 : INT32_MAX;
  if (v >= 0 && v <= most && v == floor(v)) return *label = (int32_t)v, EBB_OK;
  const char *hint = isnan(v) || isinf(v) || v != floor(v)
                         ? "labels are class numbers; choose the dataset with data.label=NAME"
                     : v < 0   ? "number the classes from 0; leave out samples without a class"
                     : classes ? "raise data.classes if there are more, or number the classes from 0"
                               : "number the classes from 0";
  return ebb_fail(EBB_DATA, "%s:%s: expected whole numbers 0 to %.0f, found %.10g at sample %llu\nhint: %s",
                  ebb_h5_path(f), d->path, most, v, (unsigned long long)i, hint);
}

static ebb_status take_one_hot(int32_t *label, const void *row, const ebb_h5 *f, const ebb_h5_dataset *d, uint64_t i,
                               uint64_t at, int columns)
{
  int ones = 0, others = 0;
  for (int k = 0; k < columns; k++) {
    double v = ebb_h5_value(row, d->kind, (size_t)at * (size_t)columns + (size_t)k);
    if (v == 1.0) *label = k, ones++;
    if (v != 1.0 && v != 0.0) others++;
  }
  if (ones == 1 && others == 0) return EBB_OK;
  return ebb_fail(
      EBB_DATA,
      "%s:%s: expected one 1 and else 0 in each one-hot row, found %d ones and %d other values at sample %llu"
      "\nhint: choose another dataset with data.label=NAME",
      ebb_h5_path(f), d->path, ones, others, (unsigned long long)i);
}

static ebb_status read_piece(int32_t *label, void *piece, ebb_h5 *f, const ebb_h5_dataset *d, const ebb_labels *l,
                             int classes, uint64_t first, uint64_t count)
{
  EBB_TRY(ebb_h5_read_rows(piece, f, first, count));
  for (uint64_t i = 0; i < count; i++)
    EBB_TRY(l->one_hot ? take_one_hot(&label[first + i], piece, f, d, first + i, i, l->one_hot)
                       : take_number(&label[first + i], ebb_h5_value(piece, d->kind, i), f, d, first + i, classes));
  return EBB_OK;
}

ebb_status ebb_labels_read(int32_t *label, ebb_h5 *f, const ebb_h5_dataset *d, const ebb_labels *l, int classes)
{
  ebb_arena scratch;
  uint64_t together = ebb_rows_together(d);
  if (l->one_hot && classes && l->one_hot > classes)
    return ebb_fail(EBB_DATA,
                    "%s:%s: expected one-hot labels of %d classes, found %d columns"
                    "\nhint: raise data.classes",
                    ebb_h5_path(f), d->path, classes, l->one_hot);
  EBB_TRY(ebb_h5_choose(f, d));
  EBB_TRY(ebb_arena_create(&scratch, "labels", together * row_values(d) * d->bytes));
  void *piece = ebb_arena_low(&scratch, scratch.size, EBB_USE_KEPT);
  ebb_status status = EBB_OK;
  for (uint64_t first = 0; status == EBB_OK && first < l->samples; first += together)
    status = read_piece(label, piece, f, d, l, classes, first,
                        l->samples - first < together ? l->samples - first : together);
  ebb_arena_destroy(&scratch);
  return status;
}
