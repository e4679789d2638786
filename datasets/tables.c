/* tables.c -- see tables.h.
 * Where a share of the rows has the very same value, a likelihood has no bound: the density is made a peak there, as high as one likes.
 * Such values are found in one pass with few counters: when all are taken, each loses one, so that a value loses no more than
 * 1 / (counters + 1) of the rows, and what it keeps is at most its true count: each value of more than share_most of the rows is found, and
 * some of little less. Source: Misra and Gries 1982. Whole numbers in a range shorter than the number of rows are such values, too, however
 * many there are. */
#include "datasets/tables.h"

#include <math.h>
#include <string.h>

enum { COUNTERS = 64, SHARED_LEAST = 16 };
static const double share_most = 0.05;

typedef struct column {
  int      held;            /* values that are counted                  */
  bool     more;            /* there are more than COUNTERS values      */
  bool     broken;          /* not all values are whole numbers         */
  double   least, most;
  double   value[COUNTERS];
  uint64_t count[COUNTERS];
} column;

static void lose_one_each(column *c)
{
  int kept = 0;
  c->more = true;
  for (int i = 0; i < c->held; i++) {
    if (--c->count[i] == 0) continue;
    c->value[kept] = c->value[i];
    c->count[kept++] = c->count[i];
  }
  c->held = kept;
}

static void count(column *c, double v)
{
  if (c->held == 0 && !c->more) c->least = c->most = v;
  c->least = fmin(c->least, v);
  c->most = fmax(c->most, v);
  c->broken |= v != floor(v);
  for (int i = 0; i < c->held; i++)
    if (c->value[i] == v) {
      c->count[i]++;
      return;
    }
  if (c->held == COUNTERS) {
    lose_one_each(c);
    return;
  }
  c->value[c->held] = v;
  c->count[c->held++] = 1;
}

/* "column 6 (SLP)" */
static const char *column_name(const ebb_set *s, int number, ebb_pool *pool)
{
  const char *name = s->images->columns;
  for (int i = 0; name && i < number; i++) name = strchr(name, ',') ? strchr(name, ',') + 1 : NULL;
  return name ? ebb_pool_text(pool, "column %d (%.*s)", number, (int)strcspn(name, ","), name) : ebb_pool_text(pool, "column %d", number);
}

ebb_status ebb_table_refuse(const ebb_set *s, const void *numbers, uint64_t row)
{
  ebb_pool pool = {0};
  int      k = 0;
  while (k + 1 < s->axes.shape.c && isfinite(ebb_h5_value(numbers, s->images->kind, (size_t)k))) k++;
  ebb_status status = ebb_fail(EBB_DATA, "%s: expected finite values, found %g in row %llu, %s, counted from 0\nhint: leave such rows out; `ebb convert "
                               "table` does so with missing values", s->name, ebb_h5_value(numbers, s->images->kind, (size_t)k),
                               (unsigned long long)row, column_name(s, k, &pool));
  ebb_pool_clear(&pool);
  return status;
}

static ebb_status refuse_column(const ebb_set *s, int number, const char *found, ebb_pool *pool)
{
  return ebb_fail(EBB_DATA, "%s: expected columns of continuous values, found %s, counted from 0, with %s\nhint: a density has no bound there; leave "
                  "the column out, or dequantise it: add uniform noise as wide as the step between its values", s->name,
                  column_name(s, number, pool), found);
}

static ebb_status check_column(const ebb_set *s, int number, const column *c, ebb_pool *pool)
{
  int      most = 0;
  uint64_t rows = s->samples;
  double   lost = 1.0 / (COUNTERS + 1);
  for (int i = 1; i < c->held; i++)
    if (c->count[i] > c->count[most]) most = i;
  if (c->held == 1 && !c->more)
    return refuse_column(s, number, ebb_pool_text(pool, "%g in every row", c->value[0]), pool);
  if (!c->more && 2 * (uint64_t)c->held <= rows)
    return refuse_column(s, number, ebb_pool_text(pool, "no more than %d different values in %llu rows", c->held, (unsigned long long)rows), pool);
  if (!c->broken && c->most - c->least < (double)rows)
    return refuse_column(s, number, ebb_pool_text(pool, "nothing but whole numbers, %g to %g in %llu rows", c->least, c->most, (unsigned long long)rows), pool);
  if (c->held && c->count[most] >= SHARED_LEAST && (double)c->count[most] > (share_most - lost) * (double)rows)
    return refuse_column(s, number, ebb_pool_text(pool, "%g in at least %llu of %llu rows", c->value[most], (unsigned long long)c->count[most],
                                                  (unsigned long long)rows), pool);
  return EBB_OK;
}

/* Rows first .. first + n - 1 are in `piece`. */
static ebb_status count_rows(column *columns, const ebb_set *s, const char *piece, uint64_t first, uint64_t n)
{
  size_t c = (size_t)s->axes.shape.c;
  for (uint64_t i = 0; i < n; i++) {
    const char *row = piece + (size_t)i * c * s->images->bytes;
    for (size_t k = 0; k < c; k++) {
      double v = ebb_h5_value(row, s->images->kind, k);
      if (!isfinite(v)) return ebb_table_refuse(s, row, first + i);
      count(&columns[k], v);
    }
  }
  return EBB_OK;
}

ebb_status ebb_table_check(const ebb_set *s, ebb_h5 *f, ebb_notes *notes)
{
  ebb_arena scratch;
  int       c = s->axes.shape.c;
  uint64_t  together = ebb_rows_together(s->images);
  column   *columns = ebb_pool_take(notes->pool, (size_t)c * sizeof *columns);
  if (c > EBB_LIST_MOST)
    return ebb_fail(EBB_DATA, "%s: expected at most %d columns, each with a mean and deviation of its own, found %d\nhint: learn fewer at once", s->name,
                    EBB_LIST_MOST, c);
  EBB_TRY(ebb_h5_choose(f, s->images));
  EBB_TRY(ebb_arena_create(&scratch, "columns", together * (size_t)c * s->images->bytes));
  char      *piece = ebb_arena_low(&scratch, scratch.size, EBB_USE_KEPT);
  ebb_status status = EBB_OK;
  for (uint64_t first = 0; status == EBB_OK && first < s->samples; first += together) {
    uint64_t n = s->samples - first < together ? s->samples - first : together;
    status = ebb_h5_read_rows(piece, f, first, n);
    if (status == EBB_OK) status = count_rows(columns, s, piece, first, n);
  }
  ebb_arena_destroy(&scratch);
  for (int k = 0; status == EBB_OK && k < c; k++) status = check_column(s, k, &columns[k], notes->pool);
  if (status == EBB_OK && !ebb_h5_is_float(s->images->kind))
    ebb_note(notes, "warning: %s holds whole numbers, %s, whose density has no bound in the end; uniform noise between 0 and 1 gives it one", s->name,
             s->images->type);
  return status;
}
