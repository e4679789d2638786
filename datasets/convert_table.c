/* convert_table.c -- tables of numbers as text (CSV, plain or gzip) to HDF5: /train/data, /val/data and /test/data.
 * Owns: that text, and which row goes where. Must not know: how HDF5 is written.
 *
 *   first line: names of the columns; then a row a line. Commas, semicolons or tabs part fields, whichever the first line has.
 *
 * The file is read twice: for its size, then for its numbers. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/rng.h"
#include "datasets/datasets.h"
#include "datasets/write.h"

enum { LINE_MOST = 1 << 20, COLUMNS_MOST = 65536, ROWS_LEAST = 10, ROWS_TOGETHER = 4096 };

typedef struct table {
  const char *path;
  gzFile      file;
  char       *line;      /* (LINE_MOST)                    */
  uint64_t    number;    /* of the line, from 1            */
  char        between;   /* the character between fields   */
  int         columns;
  const char *names;     /* "SST,SLP"                      */
  uint64_t    complete, missing; /* rows                   */
} table;

/* ---- lines ----------------------------------------------------------------------------------------------------------- */
/* The next line that is not empty, without its end; *end: there is none. */
static ebb_status next_line(table *t, bool *end)
{
  size_t length = 0;
  for (*end = false; length == 0;) {
    int code;
    if (!gzgets(t->file, t->line, LINE_MOST)) {
      const char *why = gzerror(t->file, &code);
      *end = true;
      return code == Z_OK || code == Z_STREAM_END ? EBB_OK : ebb_fail(EBB_DATA, "%s: expected line %llu, found damage: %s\nhint: copy the file again",
                                                                       t->path, (unsigned long long)t->number + 1, code == Z_ERRNO ? strerror(errno) : why);
    }
    t->number++;
    length = strlen(t->line);
    if (length + 1 == LINE_MOST) return ebb_fail(EBB_DATA, "%s:%llu: expected a line below 1 MiB, found a longer one\nhint: is it a table?", t->path,
                                                 (unsigned long long)t->number);
    while (length && strchr("\r\n", t->line[length - 1])) t->line[--length] = '\0';
  }
  return EBB_OK;
}

/* Cuts the first field off, without blanks and quotes around it; *rest is NULL after the last. */
static char *cut(char **rest, char between)
{
  char *field = *rest, *stop = strchr(field, between);
  *rest = stop ? stop + 1 : NULL;
  if (stop) *stop = '\0';
  field += strspn(field, " ");
  size_t length = strlen(field);
  while (length && field[length - 1] == ' ') field[--length] = '\0';
  if (length < 2 || field[0] != '"' || field[length - 1] != '"') return field;
  field[length - 1] = '\0';
  return field + 1;
}

static bool is_missing(const char *field)
{
  static const char *const words[] = {"", "na", "n/a", "nan", "null", "none", "?", "."};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcasecmp(field, words[i]) == 0) return true;
  return false;
}

static bool is_number(const char *field, double *v)
{
  char *end;
  *v = strtod(field, &end);
  return end != field && !*end && isfinite(*v) && !strpbrk(field, "xX");
}

/* ---- the first line ------------------------------------------------------------------------------------------------- */
static ebb_status read_names(table *t, ebb_pool *pool)
{
  bool   end, all_numbers = true;
  double v;
  EBB_TRY(next_line(t, &end));
  if (end) return ebb_fail(EBB_DATA, "%s: expected a table with names in its first line, found an empty file", t->path);
  char *rest = t->line + (strncmp(t->line, "\xef\xbb\xbf", 3) == 0 ? 3 : 0); /* the mark of UTF-8 */
  t->between = strchr(rest, ',') ? ',' : strchr(rest, ';') ? ';' : strchr(rest, '\t') ? '\t' : ',';
  t->names = "";
  for (t->columns = 0; rest; t->columns++) {
    const char *name = cut(&rest, t->between);
    if (t->columns == COLUMNS_MOST) return ebb_fail(EBB_DATA, "%s: expected at most %d columns, found more", t->path, COLUMNS_MOST);
    if (!*name || strchr(name, ','))
      return ebb_fail(EBB_DATA, "%s:%llu: expected a name without commas for each column, found \"%.40s\" for column %d\nhint: the first line names "
                      "the columns", t->path, (unsigned long long)t->number, name, t->columns);
    all_numbers &= is_number(name, &v);
    t->names = ebb_pool_text(pool, "%s%s%s", t->names, t->columns ? "," : "", name);
  }
  if (all_numbers)
    return ebb_fail(EBB_DATA, "%s:%llu: expected names of the columns, found numbers\nhint: give the columns names in the first line", t->path,
                    (unsigned long long)t->number);
  return EBB_OK;
}

/* ---- rows ------------------------------------------------------------------------------------------------------------- */
static ebb_status refuse_field(const table *t, int column, const char *field)
{
  const char *name = t->names;
  for (int i = 0; i < column; i++) name = strchr(name, ',') + 1;
  return ebb_fail(EBB_DATA, "%s:%llu: expected a finite number in column %d (%.*s), found \"%.40s\"\nhint: leave columns of words out; an empty field, "
                  "NA or NaN is a missing value", t->path, (unsigned long long)t->number, column, (int)strcspn(name, ","), name, field);
}

/* The numbers of t->line; *missing: of some there is none. */
static ebb_status read_row(double *row, bool *missing, const table *t)
{
  char *rest = t->line;
  int   k = 0;
  *missing = false;
  for (; rest && k < t->columns; k++) {
    const char *field = cut(&rest, t->between);
    if (is_missing(field)) *missing = true;
    else if (!is_number(field, &row[k])) return refuse_field(t, k, field);
  }
  if (k == t->columns && !rest) return EBB_OK;
  for (; rest; k++) cut(&rest, t->between);
  return ebb_fail(EBB_DATA, "%s:%llu: expected %d fields, as the first line has, found %d", t->path, (unsigned long long)t->number, t->columns, k);
}

/* All rows, of which those at `at` are kept up to `most`; NULL: none, they are counted. */
static ebb_status read_rows(table *t, double *at, uint64_t most, double *row)
{
  bool end, missing;
  t->complete = t->missing = 0;
  for (;;) {
    EBB_TRY(next_line(t, &end));
    if (end) return EBB_OK;
    EBB_TRY(read_row(row, &missing, t));
    if (missing) {
      t->missing++;
      continue;
    }
    if (at && t->complete < most) memcpy(at + t->complete * (size_t)t->columns, row, (size_t)t->columns * sizeof *row);
    t->complete++;
  }
}

static ebb_status open_table(table *t, const char *path, ebb_pool *pool)
{
  *t = (table){.path = path, .file = gzopen(path, "rb"), .line = ebb_pool_take(pool, LINE_MOST)};
  return t->file ? EBB_OK : ebb_fail(EBB_NOINPUT, "%s: expected a table, found none: %s", path, strerror(errno));
}

static ebb_status count_rows(table *t, double **row, ebb_pool *pool)
{
  EBB_TRY(read_names(t, pool));
  *row = ebb_pool_take(pool, (size_t)t->columns * sizeof **row);
  EBB_TRY(read_rows(t, NULL, 0, *row));
  if (t->complete >= ROWS_LEAST && t->complete <= UINT32_MAX) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected %d to 2^32 - 1 complete rows, found %llu, and %llu with missing values", t->path, ROWS_LEAST,
                  (unsigned long long)t->complete, (unsigned long long)t->missing);
}

static ebb_status load_rows(table *t, double *at, double *row, ebb_pool *pool)
{
  uint64_t complete = t->complete;
  t->number = 0;
  if (gzrewind(t->file) != 0) return ebb_fail(EBB_IOERR, "%s: expected to read it twice, could not go back to its beginning\nhint: a pipe cannot be", t->path);
  EBB_TRY(read_names(t, pool));
  EBB_TRY(read_rows(t, at, complete, row));
  if (t->complete == complete) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected what it held a moment ago, found a changed file\nhint: leave it as it is while it is in use", t->path);
}

/* ---- writing ---------------------------------------------------------------------------------------------------------- */
/* Rows order[0 .. count - 1] of the table. */
static ebb_status write_set(ebb_write *w, const table *t, const char *path, const double *at, const uint32_t *order, uint32_t count, double *piece)
{
  size_t   c = (size_t)t->columns;
  uint64_t dims[] = {count, c};
  EBB_TRY(ebb_write_dataset(w, path, (ebb_write_type){EBB_WRITE_FLOAT, sizeof(double), false}, 2, dims));
  EBB_TRY(ebb_write_text(w, "columns", t->names));
  for (uint32_t first = 0; first < count; first += ROWS_TOGETHER) {
    uint32_t n = count - first < ROWS_TOGETHER ? count - first : ROWS_TOGETHER;
    for (uint32_t i = 0; i < n; i++) memcpy(piece + i * c, at + order[first + i] * c, c * sizeof *piece);
    EBB_TRY(ebb_write_rows(w, piece, n));
  }
  return EBB_OK;
}

/* 8 of 10 rows to learn from, 1 to validate with, 1 to test; fractions go to the last. */
static ebb_status write_sets(ebb_write *w, ebb_table_counts *counts, const table *t, const double *at, const uint32_t *order, double *piece)
{
  static const char *const path[] = {"/train/data", "/val/data", "/test/data"};
  uint32_t n = (uint32_t)t->complete, count[] = {(uint32_t)(t->complete * 8 / 10), n / 10, 0};
  count[2] = n - count[0] - count[1];
  for (int i = 0; i < 3; i++) {
    EBB_TRY(write_set(w, t, path[i], at, order, count[i], piece));
    order += count[i];
    counts->rows[i] = count[i];
  }
  counts->missing = t->missing;
  counts->columns = t->columns;
  return EBB_OK;
}

static ebb_status shuffle_and_write(ebb_write *w, ebb_table_counts *counts, table *t, double *row, uint64_t seed, ebb_pool *pool)
{
  ebb_arena memory;
  size_t    c = (size_t)t->columns, n = (size_t)t->complete;
  size_t    bytes = ebb_align(n * c * sizeof(double)) + ebb_align(ROWS_TOGETHER * c * sizeof(double)) + ebb_align(n * sizeof(uint32_t));
  EBB_TRY(ebb_arena_create(&memory, "table", bytes));
  double    *at = ebb_arena_low(&memory, n * c * sizeof *at, EBB_USE_KEPT), *piece = ebb_arena_low(&memory, ROWS_TOGETHER * c * sizeof *piece, EBB_USE_KEPT);
  uint32_t  *order = ebb_arena_low(&memory, n * sizeof *order, EBB_USE_KEPT);
  ebb_status status = load_rows(t, at, row, pool);
  ebb_rng_permutation(order, (ebb_rng){seed, EBB_RNG_SHUFFLE, 0}, (uint32_t)n);
  if (status == EBB_OK) status = write_sets(w, counts, t, at, order, piece);
  if (status == EBB_OK) status = ebb_write_commit(w);
  ebb_arena_destroy(&memory);
  return status;
}

ebb_status ebb_convert_table(ebb_table_counts *counts, const char *out, const char *const *in, int count, uint64_t seed)
{
  ebb_write *w = NULL;
  ebb_pool   pool = {0};
  table      t;
  double    *row;
  *counts = (ebb_table_counts){0};
  if (count != 1) return ebb_fail(EBB_USAGE, "convert table: expected FILE.csv OUT.h5, found %d files to read", count);
  ebb_status status = open_table(&t, in[0], &pool);
  if (status == EBB_OK) status = count_rows(&t, &row, &pool);
  if (status == EBB_OK) status = ebb_write_open(&w, out, in, count);
  if (status == EBB_OK) status = shuffle_and_write(w, counts, &t, row, seed, &pool);
  ebb_write_close(w);
  if (t.file) gzclose_r(t.file);
  ebb_pool_clear(&pool);
  return status;
}
