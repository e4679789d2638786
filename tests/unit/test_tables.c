/* test_tables.c -- tables of numbers: from text to HDF5, and from HDF5 to batches without labels; columns that have no density. */
#define _GNU_SOURCE
#include <check.h>
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "base/rng.h"
#include "datasets/datasets.h"
#include "datasets/hdf5.h"
#include "datasets/write.h"
#include "tests/suite.h"

/* ---- files ------------------------------------------------------------------------------------------------------- */
static char folder[64];

static void folder_make(void)
{
  strcpy(folder, "/tmp/ebb_tables_XXXXXX");
  ck_assert_ptr_nonnull(mkdtemp(folder));
  ck_assert_int_eq(chdir(folder), 0);
  ebb_data_init();
}

static void folder_remove(void)
{
  DIR           *d = opendir(".");
  struct dirent *e;
  while ((e = readdir(d)))
    if (e->d_name[0] != '.') unlink(e->d_name);
  closedir(d);
  ck_assert_int_eq(rmdir(folder), 0);
}

static void put_text(const char *name, const char *text)
{
  FILE *f = fopen(name, "w");
  ck_assert(f && fputs(text, f) >= 0 && fclose(f) == 0);
}

static void says(const char *words)
{
  ck_assert_msg(strstr(ebb_message(), words) != NULL, "expected \"%s\" in: %s", words, ebb_message());
}

static void succeeds(ebb_status status)
{
  ck_assert_msg(status == EBB_OK, "%s", ebb_message());
}

static double noise(uint32_t what, size_t i)
{
  return ebb_rng_normal((ebb_rng){23, EBB_RNG_TEST, what}, i);
}

enum { ROWS = 400, COLUMNS = 5 };

/* A dataset of ROWS rows of noise, column k about 10 k with deviation k + 1, or of whole numbers. */
static void put_table(ebb_write *w, const char *path, bool whole, void (*spoil)(double *))
{
  static double v[ROWS * COLUMNS];
  static int32_t n[ROWS * COLUMNS];
  uint64_t dims[] = {ROWS, COLUMNS};
  for (size_t i = 0; i < ROWS * COLUMNS; i++) v[i] = 10.0 * (double)(i % COLUMNS) + (double)(i % COLUMNS + 1) * noise(1, i);
  if (spoil) spoil(v);
  for (size_t i = 0; i < ROWS * COLUMNS; i++) n[i] = (int32_t)(1000 * v[i]);
  ebb_write_type real = {EBB_WRITE_FLOAT, 8, false}, integer = {EBB_WRITE_SIGNED, 4, false};
  succeeds(ebb_write_dataset(w, path, whole ? integer : real, 2, dims));
  succeeds(ebb_write_text(w, "columns", "a,b,c,d,e"));
  succeeds(ebb_write_rows(w, whole ? (void *)n : (void *)v, ROWS));
}

static void put_file(const char *name, const char *path, bool whole, void (*spoil)(double *))
{
  ebb_write *w;
  succeeds(ebb_write_open(&w, name, NULL, 0));
  put_table(w, path, whole, spoil);
  succeeds(ebb_write_commit(w));
  ebb_write_close(w);
}

static ebb_data_options options_of(const char *train)
{
  ebb_data_options o = {0};
  ebb_options_default(&o, ebb_data_option_table);
  o.train = train;
  o.density = true;
  return o;
}

/* ---- from text ----------------------------------------------------------------------------------------------------- */
enum { LINES = 1003 };

/* Rows "i, i + 0.5", of which each seventh lacks one number or the other. */
static bool is_complete(int i)
{
  return i % 7 != 3;
}

static void put_numbered(const char *name, const char *end)
{
  FILE *f = fopen(name, "w");
  fprintf(f, "\"number\",half%s", end);
  for (int i = 0; i < LINES; i++) {
    if (is_complete(i)) fprintf(f, i % 2 ? "%d,%.1f%s" : " \"%d\" , %.1fe0%s", i, i + 0.5, end);
    else if (i % 2) fprintf(f, "%d,%s", i, end);
    else fprintf(f, "NA,1.5%s", end);
  }
  ck_assert_int_eq(fclose(f), 0);
}

static ebb_table_counts convert(const char *out, const char *in, uint64_t seed)
{
  ebb_table_counts n;
  succeeds(ebb_convert_table(&n, out, &in, 1, seed));
  return n;
}

static double *read_set(uint64_t *rows, const char *file, const char *path, ebb_pool *pool)
{
  ebb_h5 *f;
  double *v = NULL;
  succeeds(ebb_h5_open(&f, file, pool));
  ebb_h5_list list = ebb_h5_datasets(f);
  for (int i = 0; i < list.count; i++) {
    const ebb_h5_dataset *d = &list.at[i];
    if (strcmp(d->path, path) != 0) continue;
    ck_assert(d->rank == 2 && d->dims[1] == 2 && d->kind == EBB_H5_F64);
    ck_assert_str_eq(d->columns, "number,half");
    *rows = d->dims[0];
    v = ebb_pool_take(pool, d->count * sizeof *v);
    succeeds(ebb_h5_choose(f, d));
    succeeds(ebb_h5_read_rows(v, f, 0, *rows));
  }
  ebb_h5_close(f);
  ck_assert_ptr_nonnull(v);
  return v;
}

/* Every complete row is in one set, once and whole; none is in two, and none else is there. */
static void expect_each_row_once(const char *file)
{
  static const char *const paths[] = {"/train/data", "/val/data", "/test/data"};
  ebb_pool pool = {0};
  int      seen[LINES] = {0};
  for (int s = 0; s < 3; s++) {
    uint64_t rows;
    double  *v = read_set(&rows, file, paths[s], &pool);
    for (uint64_t i = 0; i < rows; i++) {
      ck_assert(v[2 * i] >= 0 && v[2 * i] < LINES && v[2 * i + 1] == v[2 * i] + 0.5);
      seen[(int)v[2 * i]]++;
    }
  }
  for (int i = 0; i < LINES; i++) ck_assert_msg(seen[i] == is_complete(i), "row %d is there %d times", i, seen[i]);
  ebb_pool_clear(&pool);
}

START_TEST(every_complete_row_is_in_one_set)
{
  folder_make();
  put_numbered("t.csv", _i ? "\r\n" : "\n");
  ebb_table_counts n = convert("t.h5", "t.csv", 1);
  int complete = 0;
  for (int i = 0; i < LINES; i++) complete += is_complete(i);
  ck_assert_int_eq(n.columns, 2);
  ck_assert_uint_eq(n.missing, (uint64_t)(LINES - complete));
  ck_assert_uint_eq(n.rows[0], (uint64_t)(complete * 8 / 10));
  ck_assert_uint_eq(n.rows[1], (uint64_t)(complete / 10));
  ck_assert_uint_eq(n.rows[0] + n.rows[1] + n.rows[2], (uint64_t)complete);
  expect_each_row_once("t.h5");
  folder_remove();
}
END_TEST

/* The seed decides alone: equal ones write equal files, others part the rows otherwise. */
START_TEST(the_seed_parts_the_rows)
{
  ebb_pool pool = {0};
  uint64_t rows;
  folder_make();
  put_numbered("t.csv", "\n");
  const char *const files[] = {"a.h5", "b.h5", "c.h5"};
  for (int i = 0; i < 3; i++) convert(files[i], "t.csv", i < 2 ? 5 : 6);
  double *a = read_set(&rows, "a.h5", "/train/data", &pool), *b = read_set(&rows, "b.h5", "/train/data", &pool);
  double *c = read_set(&rows, "c.h5", "/train/data", &pool);
  uint64_t same = 0, in_place = 0;
  for (uint64_t i = 0; i < rows; i++) same += a[2 * i] == c[2 * i], in_place += i > 0 && a[2 * i] == a[2 * i - 2] + 1;
  ck_assert(memcmp(a, b, rows * 2 * sizeof *a) == 0);
  ck_assert_msg(same < rows / 20 && in_place < rows / 20, "%d of %d rows at one place under two seeds, %d behind their neighbour", (int)same,
                (int)rows, (int)in_place);
  ebb_pool_clear(&pool);
  folder_remove();
}
END_TEST

START_TEST(other_separators_and_gzip_are_read)
{
  folder_make();
  for (int kind = 0; kind < 2; kind++) {
    gzFile f = gzopen("t.csv.gz", "w");
    char   between = kind ? '\t' : ';';
    gzprintf(f, "\xef\xbb\xbfnumber%chalf\n\n", between);
    for (int i = 0; i < 20; i++) gzprintf(f, i < 19 ? "%d%c%d.5\n" : "%d%c%d.5", i, between, i);
    ck_assert_int_eq(gzclose(f), Z_OK);
    ebb_table_counts n = convert("t.h5", "t.csv.gz", 1);
    ck_assert(n.rows[0] == 16 && n.rows[1] == 2 && n.rows[2] == 2 && n.missing == 0);
  }
  folder_remove();
}
END_TEST

/* What is wrong is told with its line, and nothing is written. */
static const struct bad { const char *text, *words[2]; ebb_status status; } bads[] = {
    {"", {"bad.csv", "an empty file"}, EBB_DATA},
    {"1,2\n3,4\n", {"bad.csv:1", "names of the columns"}, EBB_DATA},
    {"a,,c\n1,2,3\n", {"bad.csv:1", "for column 1"}, EBB_DATA},
    {"a,b\n1,2\n3,4,5\n", {"bad.csv:3", "2 fields, as the first line has, found 3"}, EBB_DATA},
    {"a,b\n1,2\n\n3\n", {"bad.csv:4", "found 1"}, EBB_DATA},
    {"a,b\n1,2\n3,north\n", {"bad.csv:3", "column 1 (b), found \"north\""}, EBB_DATA},
    {"a,b\n1,2\ninf,4\n", {"bad.csv:3", "column 0 (a), found \"inf\""}, EBB_DATA},
    {"a,b\n1,2\n3,0x10\n", {"bad.csv:3", "found \"0x10\""}, EBB_DATA},
    {"a,b\n1,2 3\n", {"bad.csv:2", "found \"2 3\""}, EBB_DATA},
    {"a,b\n1,1e999\n", {"bad.csv:2", "1e999"}, EBB_DATA},
    {"a,b\n1,2\n3,\n", {"bad.csv", "found 1, and 1 with missing values"}, EBB_DATA},
};

START_TEST(bad_text_is_told_with_its_line)
{
  const struct bad *b = &bads[_i];
  const char       *in = "bad.csv";
  ebb_table_counts  n;
  folder_make();
  put_text(in, b->text);
  ck_assert_int_eq(ebb_convert_table(&n, "t.h5", &in, 1, 1), b->status);
  for (int i = 0; i < 2; i++) says(b->words[i]);
  ck_assert(access("t.h5", F_OK) != 0);
  folder_remove();
}
END_TEST

START_TEST(a_line_without_end_is_refused)
{
  const char      *in = "bad.csv";
  ebb_table_counts n;
  folder_make();
  FILE *f = fopen(in, "w");
  fputs("a,b\n", f);
  for (int i = 0; i < 1 << 21; i++) fputc('1', f);
  fclose(f);
  ck_assert_int_eq(ebb_convert_table(&n, "t.h5", &in, 1, 1), EBB_DATA);
  says("bad.csv:2");
  in = "absent.csv";
  ck_assert_int_eq(ebb_convert_table(&n, "t.h5", &in, 1, 1), EBB_NOINPUT);
  says("absent.csv");
  folder_remove();
}
END_TEST

/* ---- to batches ------------------------------------------------------------------------------------------------------ */
/* Mean 0 and mean square 1 in each column of an epoch, no label, each row once. */
static void expect_rows(const ebb_data *data)
{
  ebb_source *source;
  ebb_batch   batch;
  double      sum[COLUMNS] = {0}, squares[COLUMNS] = {0};
  int         seen[ROWS] = {0};
  succeeds(ebb_data_train(&source, data, 8, 1));
  for (int rows = 0; rows < ROWS; rows += batch.x.s.n) {
    succeeds(source->ops->next(source, &batch));
    ck_assert_int_eq(batch.x.s.n, 8);
    for (int i = 0; i < 8; i++) {
      ck_assert_int_eq(batch.labels[i], -1);
      seen[batch.index[i]]++;
      for (int k = 0; k < COLUMNS; k++) {
        double v = (double)ebb_reals(batch.x)[i * COLUMNS + k];
        sum[k] += v, squares[k] += v * v;
      }
    }
  }
  source->ops->close(source);
  for (int i = 0; i < ROWS; i++) ck_assert_int_eq(seen[i], 1);
  for (int k = 0; k < COLUMNS; k++)
    ck_assert_msg(fabs(sum[k]) < 1e-3 * ROWS && fabs(squares[k] - ROWS) < 1e-3 * ROWS, "column %d: sum %g, squares %g", k, sum[k], squares[k]);
}

START_TEST(a_table_is_standardised_by_column)
{
  ebb_data *data;
  folder_make();
  put_file("t.h5", "/rows", _i, NULL);
  ebb_data_options o = options_of("t.h5");
  succeeds(ebb_data_open(&data, &o));
  ck_assert(data->shape.rank == 1 && data->shape.w == 1 && data->shape.c == COLUMNS && data->samples[EBB_TRAIN_SET] == ROWS);
  ck_assert(data->measured && data->mean.count == COLUMNS);
  expect_rows(data);
  ebb_data_close(data);
  folder_remove();
}
END_TEST

/* Groups and datasets behind a colon, and a group val beside the training set. */
START_TEST(sets_are_named_by_group_or_dataset)
{
  ebb_write *w;
  ebb_data  *data;
  folder_make();
  succeeds(ebb_write_open(&w, "t.h5", NULL, 0));
  put_table(w, "/train/data", false, NULL);
  put_table(w, "/val/data", false, NULL);
  put_table(w, "/trainer", false, NULL);
  succeeds(ebb_write_commit(w));
  ebb_write_close(w);
  static const char *const names[][3] = {{"t.h5", "t.h5:/train/data", "t.h5:/val/data"}, {"t.h5:train", "t.h5:/train/data", ""},
                                         {"t.h5:/val", "t.h5:/val/data", ""}, {"t.h5:trainer", "t.h5:/trainer", ""},
                                         {"t.h5:train/data", "t.h5:/train/data", ""}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    ebb_data_options o = options_of(names[i][0]);
    succeeds(ebb_data_open(&data, &o));
    ck_assert_str_eq(data->name[EBB_TRAIN_SET], names[i][1]);
    ck_assert_str_eq(data->name[EBB_VAL_SET], names[i][2]);
    ebb_data_close(data);
  }
  ebb_data_options o = options_of("t.h5:tra");
  ck_assert_int_eq(ebb_data_open(&data, &o), EBB_DATA);
  says("expected a group or dataset /tra");
  folder_remove();
}
END_TEST

/* Images that nothing labels are good for a density, and for nothing else; labels that are there do not count for it. */
START_TEST(images_need_no_labels_for_a_density)
{
  ebb_write     *w;
  ebb_data      *data;
  ebb_source    *source;
  ebb_batch      batch;
  uint64_t       dims[] = {20, 5, 5, 1};
  static uint8_t pixels[20 * 25];
  static float   doubtful[20];
  folder_make();
  for (size_t i = 0; i < sizeof pixels; i++) pixels[i] = (uint8_t)(i * 37 % 251);
  for (int labelled = 0; labelled < 2; labelled++) {
    succeeds(ebb_write_open(&w, "i.h5", NULL, 0));
    succeeds(ebb_write_dataset(w, "/images", (ebb_write_type){EBB_WRITE_UNSIGNED, 1, false}, 4, dims));
    succeeds(ebb_write_rows(w, pixels, 20));
    if (labelled) {
      for (int i = 0; i < 20; i++) doubtful[i] = -1.5f;
      succeeds(ebb_write_dataset(w, "/labels", (ebb_write_type){EBB_WRITE_FLOAT, 4, false}, 1, dims));
      succeeds(ebb_write_rows(w, doubtful, 20));
    }
    succeeds(ebb_write_commit(w));
    ebb_write_close(w);
    ebb_data_options o = options_of("i.h5");
    succeeds(ebb_data_open(&data, &o));
    succeeds(ebb_data_eval(&source, data, EBB_TRAIN_SET, 20));
    succeeds(source->ops->next(source, &batch));
    ck_assert(batch.x.s.n == 20 && batch.x.s.h == 5 && batch.labels[7] == -1);
    source->ops->close(source);
    ebb_data_close(data);
    o.density = false;
    ck_assert_int_eq(ebb_data_open(&data, &o), EBB_DATA);
    says("labels");
    json_t *report;
    ck_assert_int_eq(ebb_data_check(&report, NULL, "i.h5", &o, 8), labelled ? EBB_DATA : EBB_OK);
    json_decref(report);
  }
  folder_remove();
}
END_TEST

/* ---- columns without a density ---------------------------------------------------------------------------------------- */
#define SPOIL(name, change) \
  static void name(double *v) \
  { \
    for (int i = 0; i < ROWS; i++) { \
      double *x = &v[i * COLUMNS + 2]; \
      change; \
    } \
  }
SPOIL(constant, *x = 7.25)
SPOIL(coarse, *x = floor(*x / 4))
SPOIL(half_zero, if (i % 2) *x = 0)
SPOIL(late_zeros, if (i >= ROWS * 9 / 10) *x = 0)
SPOIL(some_pairs, if (i % 2) *x = v[(i - 1) * COLUMNS + 2])
SPOIL(years, *x = i % 97)
SPOIL(far_years, *x = 10 * i)
SPOIL(six_in_hundred, if (i % 17 == 0) *x = 0)
SPOIL(not_a_number, if (i == 123) *x = NAN)
SPOIL(infinite, if (i == 399) *x = -INFINITY)

static const struct spoilt { void (*spoil)(double *); const char *words; } spoilts[] = {
    {constant, "column 2 (c), counted from 0, with 7.25 in every row"},
    {coarse, "column 2 (c), counted from 0, with no more than"},
    {half_zero, "with 0 in at least"},
    {late_zeros, "with 0 in at least"},
    {years, "column 2 (c), counted from 0, with nothing but whole numbers, 0 to 96 in 400 rows"},
    {far_years, NULL},
    {six_in_hundred, "with 0 in at least"},
    {not_a_number, "found nan in row 123, column 2 (c)"},
    {infinite, "found -inf in row 399, column 2 (c)"},
    {some_pairs, NULL},
};

START_TEST(columns_without_a_density_are_named)
{
  const struct spoilt *s = &spoilts[_i];
  ebb_data            *data;
  json_t              *report;
  folder_make();
  put_file("t.h5", "/rows", false, s->spoil);
  ebb_data_options o = options_of("t.h5");
  ebb_status       status = ebb_data_open(&data, &o);
  if (s->words) {
    ck_assert_int_eq(status, EBB_DATA);
    says("t.h5:/rows");
    says(s->words);
    says("hint: ");
  } else {
    succeeds(status);
    ebb_data_close(data);
  }
  o.density = false;
  ck_assert_int_eq(ebb_data_check(&report, NULL, "t.h5", &o, 8), s->words ? EBB_DATA : EBB_OK);
  if (s->words) says(s->words);
  json_decref(report);
  folder_remove();
}
END_TEST

START_TEST(a_table_too_wide_is_refused)
{
  enum { TALL = 20, WIDE = EBB_LIST_MOST + 1 };
  static double v[TALL * WIDE];
  ebb_write    *w;
  ebb_data     *data;
  uint64_t      dims[] = {TALL, WIDE};
  folder_make();
  for (size_t i = 0; i < TALL * WIDE; i++) v[i] = noise(2, i);
  succeeds(ebb_write_open(&w, "t.h5", NULL, 0));
  succeeds(ebb_write_dataset(w, "/rows", (ebb_write_type){EBB_WRITE_FLOAT, 8, false}, 2, dims));
  succeeds(ebb_write_rows(w, v, TALL));
  succeeds(ebb_write_commit(w));
  ebb_write_close(w);
  ebb_data_options o = options_of("t.h5");
  ck_assert_int_eq(ebb_data_open(&data, &o), EBB_DATA);
  says("expected at most 256 columns");
  folder_remove();
}
END_TEST

/* What is not looked through beforehand is told when it comes up. */
START_TEST(nan_in_another_set_is_told_by_row_and_column)
{
  ebb_data   *data;
  ebb_source *source;
  ebb_batch   batch;
  folder_make();
  put_file("t.h5", "/rows", false, NULL);
  put_file("v.h5", "/rows", false, not_a_number);
  ebb_data_options o = options_of("t.h5");
  o.val = "v.h5";
  succeeds(ebb_data_open(&data, &o));
  succeeds(ebb_data_eval(&source, data, EBB_VAL_SET, ROWS));
  ck_assert_int_eq(source->ops->next(source, &batch), EBB_DATA);
  says("v.h5:/rows");
  says("found nan in row 123, column 2 (c)");
  source->ops->close(source);
  ebb_data_close(data);
  folder_remove();
}
END_TEST

int main(void)
{
  Suite *suite = suite_create("tables");
  TCase *all = tcase_create("all");
  tcase_set_timeout(all, 120);
  tcase_add_loop_test(all, every_complete_row_is_in_one_set, 0, 2);
  tcase_add_test(all, the_seed_parts_the_rows);
  tcase_add_test(all, other_separators_and_gzip_are_read);
  tcase_add_loop_test(all, bad_text_is_told_with_its_line, 0, (int)(sizeof bads / sizeof *bads));
  tcase_add_test(all, a_line_without_end_is_refused);
  tcase_add_loop_test(all, a_table_is_standardised_by_column, 0, 2);
  tcase_add_test(all, sets_are_named_by_group_or_dataset);
  tcase_add_test(all, images_need_no_labels_for_a_density);
  tcase_add_loop_test(all, columns_without_a_density_are_named, 0, (int)(sizeof spoilts / sizeof *spoilts));
  tcase_add_test(all, a_table_too_wide_is_refused);
  tcase_add_test(all, nan_in_another_set_is_told_by_row_and_column);
  suite_add_tcase(suite, all);
  return run_suite(suite);
}
