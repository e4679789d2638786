/* verb_convert.c -- `ebb convert`: files of other formats to HDF5. */
#include <stdio.h>
#include <string.h>

#include "datasets/datasets.h"
#include "verb.h"

typedef struct format {
  const char *name;
  ebb_status (*convert)(const char *out, const char *const *in, int count); /* NULL: a table */
} format;

static const format formats[] = {
    {"idx", ebb_convert_idx}, {"cifar", ebb_convert_cifar}, {"nifti", ebb_convert_nifti}, {"png", ebb_convert_png}, {"table", NULL}};
enum { FORMATS = sizeof formats / sizeof *formats };

static ebb_status convert_table(const ebb_flags *flags, const char *out, const char *const *in, int count)
{
  ebb_table_counts n;
  EBB_TRY(ebb_convert_table(&n, out, in, count, flags->seed));
  printf("%d columns; rows: %llu train, %llu val, %llu test, shuffled by seed %zu; %llu with missing values were left out\n", n.columns,
         (unsigned long long)n.rows[0], (unsigned long long)n.rows[1], (unsigned long long)n.rows[2], flags->seed, (unsigned long long)n.missing);
  return EBB_OK;
}

static ebb_status convert(const ebb_flags *flags, const format *f, const char *out, const char *const *in, int count)
{
  return f->convert ? f->convert(out, in, count) : convert_table(flags, out, in, count);
}

static int unknown_format(const char *word)
{
  const char *names[FORMATS];
  for (int i = 0; i < FORMATS; i++) names[i] = formats[i].name;
  const char *near = ebb_nearest(word, names, FORMATS);
  return ebb_verb_failed(ebb_fail(EBB_USAGE, "convert: expected a format (see `ebb convert --help`), found '%s'%s%s%s", word,
                                  near ? "\nhint: did you mean " : "", near ? near : "", near ? "?" : ""));
}

static int run(const ebb_flags *flags, ebb_words words)
{
  const char *out = words.at[words.count - 1];
  for (int i = 0; i < FORMATS; i++) {
    if (strcmp(words.at[0], formats[i].name) != 0) continue;
    ebb_status status = convert(flags, &formats[i], out, (const char *const *)words.at + 1, words.count - 2);
    if (status != EBB_OK) return ebb_verb_failed(status);
    printf("wrote %s\n", out);
    return EBB_OK;
  }
  return unknown_format(words.at[0]);
}

const ebb_verb ebb_verb_convert = {
  .name = "convert", .arguments = "FORMAT IN... OUT", .summary = "Converts idx, cifar, nifti, png, tables to HDF5",
  .text = "idx: IMAGES LABELS [TEST-IMAGES TEST-LABELS] of MNIST and its kin, plain or .gz. "
          "cifar: the files of the binary version, data_batch_1.bin ... test_batch.bin. "
          "nifti, png: IMAGE [LABEL] OUT.h5, or the folders of images and labels, paired by name, and a folder for one file each (or FILE.h5 for "
          "one stack of equal sizes). "
          "table: FILE.csv OUT.h5, names in the first line, plain or .gz; rows with missing values are left out, the others are shuffled and parted "
          "8 : 1 : 1 into train, val, test.",
  .flags = "seed", .sections = "", .least = 3, .run = run,
};
