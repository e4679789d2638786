/* test_option.c -- option tables: every kind, defaults, bounds, messages. */
#include <check.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/option.h"
#include "tests/suite.h"

typedef struct fields {
  int         whole, choice;
  size_t      size, seed;
  double      real;
  bool        yes;
  const char *text;
  ebb_ints    list;
  ebb_numbers reals;
} fields;

#define AT(f) offsetof(fields, f)
static const ebb_option table[] = {
  {"whole", EBB_OPTION_INT, AT(whole), "3", "samples", "a whole number", NULL, 1, 100},
  {"choice", EBB_OPTION_CHOICE, AT(choice), "store", "", "one of some", "reverse|store|checkpoint", 0, 0},
  {"size", EBB_OPTION_SIZE, AT(size), "4KiB", "bytes", "bytes", NULL, 0, 0},
  {"seed", EBB_OPTION_SIZE, AT(seed), "1", "", "a seed", NULL, 0, 0},
  {"real", EBB_OPTION_REAL, AT(real), "0.1", "", "a number", NULL, 0, 1},
  {"yes", EBB_OPTION_BOOL, AT(yes), "true", "", "a choice of two", NULL, 0, 0},
  {"text", EBB_OPTION_TEXT, AT(text), "", "", "words", NULL, 0, 0},
  {"list", EBB_OPTION_LIST, AT(list), "1,2", "", "whole numbers", NULL, 1, 9},
  {"reals", EBB_OPTION_REALS, AT(reals), "", "", "numbers", NULL, 0, 0},
  {.key = NULL},
};

static ebb_pool pool;
static fields   f;

static void setup(void)
{
  memset(&f, 0xff, sizeof f);
  ebb_options_default(&f, table);
}

static void teardown(void)
{
  ebb_pool_clear(&pool);
}

static ebb_status set(const char *key, const char *value)
{
  return ebb_option_set(&f, table, "test", key, value, &pool);
}

static const char *get(const char *key)
{
  const ebb_option *o = table;
  while (strcmp(o->key, key) != 0) o++;
  return ebb_option_get(&f, o, &pool);
}

START_TEST(defaults)
{
  ck_assert_int_eq(f.whole, 3);
  ck_assert_int_eq(f.choice, 1);
  ck_assert_uint_eq(f.size, 4096);
  ck_assert_uint_eq(f.seed, 1);
  ck_assert_double_eq(f.real, 0.1);
  ck_assert(f.yes);
  ck_assert_str_eq(f.text, "");
  ck_assert_int_eq(f.list.count, 2);
  ck_assert_int_eq(f.list.at[1], 2);
  ck_assert_int_eq(f.reals.count, 0);
}
END_TEST

static const struct { const char *key, *value, *back; } good[] = {
  {"whole", "1", "1"},
  {"whole", " 100 ", "100"},
  {"choice", "checkpoint", "checkpoint"},
  {"size", "0", "0"},
  {"size", "1.5GiB", "1536MiB"},
  {"size", "1 MB", "1000000"},
  {"size", "7b", "7"},
  {"seed", "18446744073709551615", "18446744073709551615"},
  {"seed", "1024", "1024"},
  {"real", "1e-3", "0.001"},
  {"real", "0.1", "0.1"},
  {"real", "0.30000000000000004", "0.30000000000000004"},
  {"yes", "off", "false"},
  {"yes", "YES", "true"},
  {"text", "a: 'b' #c", "a: 'b' #c"},
  {"list", "9", "9"},
  {"list", "[3, 4,5 ]", "3,4,5"},
  {"reals", "", ""},
  {"reals", "[]", ""},
  {"reals", "0.5,-2e10", "0.5,-2e+10"},
  {"reals", "250", "250"},
};
enum { GOOD = sizeof good / sizeof *good };

START_TEST(values_survive)
{
  ck_assert_int_eq(set(good[_i].key, good[_i].value), EBB_OK);
  ck_assert_str_eq(get(good[_i].key), good[_i].back);
  ck_assert_int_eq(set(good[_i].key, get(good[_i].key)), EBB_OK);
  ck_assert_str_eq(get(good[_i].key), good[_i].back);
}
END_TEST

/* What is refused, and what the message must say. */
#define SIXTEEN "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
static const struct { const char *key, *value, *says; } bad[] = {
  {"list", "", "whole numbers such as"},
  {"list", "[]", "whole numbers such as"},
  {"whole", "", "whole number"},
  {"whole", "three", "found 'three'"},
  {"whole", "3.5", "found '3.5'"},
  {"whole", "0", "1 to 100 samples"},
  {"whole", "99999999999", "99999999999"},
  {"whole", "3 4", "found '3 4'"},
  {"choice", "stor", "did you mean 'store'"},
  {"choice", "", "reverse|store|checkpoint"},
  {"choice", "store|checkpoint", "expected one of"},
  {"size", "-1", "found '-1'"},
  {"size", "3 parsecs", "512MiB"},
  {"size", "99999999TiB", "99999999TiB"},
  {"real", "nan", "found 'nan'"},
  {"real", "inf", "found 'inf'"},
  {"real", "1e400", "found '1e400'"},
  {"real", "1.01", "0 to 1"},
  {"yes", "perhaps", "true or false"},
  {"list", "1,,2", "found '1,,2'"},
  {"list", "1,2,", "32,64,128"},
  {"list", "[1,2", "found"},
  {"list", "1 2", "found"},
  {"list", "10", "1 to 9"},
  {"list", SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN SIXTEEN "1", "at most 256"},
  {"reals", "x", "0.5,0.75"},
  {"whol", "3", "did you mean test.whole?"},
  {"zzzzzzzz", "3", "test has whole choice size"},
};
enum { BAD = sizeof bad / sizeof *bad };

START_TEST(refusals)
{
  fields before = f;
  ck_assert_int_eq(set(bad[_i].key, bad[_i].value), EBB_CONFIG);
  ck_assert_msg(strstr(ebb_message(), bad[_i].says), "'%s' does not say '%s'", ebb_message(), bad[_i].says);
  ck_assert_msg(strstr(ebb_message(), "test."), "'%s' does not name the option", ebb_message());
  ck_assert_mem_eq(&before, &f, sizeof f);
}
END_TEST

START_TEST(texts_are_copied)
{
  char word[] = "here";
  ck_assert_int_eq(set("text", word), EBB_OK);
  word[0] = 'w';
  ck_assert_str_eq(f.text, "here");
}
END_TEST

int main(void)
{
  Suite *s = suite_create("option");
  TCase *t = tcase_create("option");
  tcase_add_checked_fixture(t, setup, teardown);
  tcase_add_test(t, defaults);
  tcase_add_loop_test(t, values_survive, 0, GOOD);
  tcase_add_loop_test(t, refusals, 0, BAD);
  tcase_add_test(t, texts_are_copied);
  suite_add_tcase(s, t);
  return run_suite(s);
}
