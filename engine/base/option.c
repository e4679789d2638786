/* option.c -- see option.h. Reading and writing of one value by its kind; the table decides everything else. */
#define _POSIX_C_SOURCE 200809L
#include "base/option.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- numbers ---------------------------------------------------------------------------------------------- */
static const char *skip_space(const char *text)
{
  while (isspace((unsigned char)*text)) text++;
  return text;
}

/* A finite decimal number at `text`; returns where it ends, NULL if there is none. */
static const char *read_real(double *out, const char *text)
{
  char *end;
  errno = 0;
  *out = strtod(text, &end);
  return end == text || !isfinite(*out) ? NULL : end;
}

static const char *read_int(int *out, const char *text)
{
  char *end;
  errno = 0;
  long value = strtol(text, &end, 10);
  if (end == text || errno || value < INT_MIN || value > INT_MAX) return NULL;
  *out = (int)value;
  return end;
}

typedef struct size_unit { const char *name; double bytes; } size_unit;

/* The binary ones last first, so that printing finds the largest that divides. */
static const size_unit size_units[] = {
  {"TiB", 0x1p40}, {"GiB", 0x1p30}, {"MiB", 0x1p20}, {"KiB", 0x1p10},
  {"TB", 1e12},    {"GB", 1e9},     {"MB", 1e6},     {"kB", 1e3},     {"KB", 1e3}, {"B", 1},
};
enum { SIZE_UNITS = sizeof size_units / sizeof *size_units, BINARY_UNITS = 4 };

/* "4096", "1.5 GiB"; plain digits are read as an integer, so that all 64 bits of a seed survive. */
static const char *read_size(size_t *out, const char *text)
{
  const char *digits = skip_space(text);
  char       *end;
  if (!isdigit((unsigned char)*digits)) return NULL;
  errno = 0;
  unsigned long long whole = strtoull(digits, &end, 10);
  if (errno == 0 && whole <= SIZE_MAX && *skip_space(end) == '\0') {
    *out = (size_t)whole;
    return end;
  }
  double      value;
  const char *after = read_real(&value, digits);
  if (!after) return NULL;
  after = skip_space(after);
  for (int i = 0; i < SIZE_UNITS; i++) {
    if (strcasecmp(after, size_units[i].name) != 0) continue;
    value *= size_units[i].bytes;
    if (value > 0x1p62) return NULL;
    *out = (size_t)value;
    return after + strlen(after);
  }
  return NULL;
}

/* ---- one value, by kind ----------------------------------------------------------------------------------- */
static bool ends(const char *text)
{
  return text && *skip_space(text) == '\0';
}

static bool within(const ebb_option *o, double value)
{
  return (o->low == 0 && o->high == 0) || (value >= o->low && value <= o->high);
}

static bool read_bool(bool *out, const char *text)
{
  static const char *const words[] = {"false", "true", "no", "yes", "off", "on", "0", "1"};
  for (int i = 0; i < 8; i++)
    if (strcasecmp(text, words[i]) == 0) {
      *out = i % 2 == 1;
      return true;
    }
  return false;
}

/* Index of `word` among "a|b|c"; -1 if it is none of them. */
static int choice_index(const char *choices, const char *word)
{
  size_t length = strlen(word);
  for (int i = 0; length > 0; i++) {
    size_t next = strcspn(choices, "|");
    if (next == length && memcmp(choices, word, length) == 0) return i;
    if (choices[next] == '\0') return -1;
    choices += next + 1;
  }
  return -1;
}

/* What a list is made of, one element at a time; `index` < EBB_LIST_MOST. */
typedef const char *(*read_element)(void *list, int index, const char *text, double *value);

static const char *int_element(void *list, int index, const char *text, double *value)
{
  int        *at = &((ebb_ints *)list)->at[index];
  const char *end = read_int(at, text);
  *value = *at;
  return end;
}

static const char *real_element(void *list, int index, const char *text, double *value)
{
  double     *at = &((ebb_numbers *)list)->at[index];
  const char *end = read_real(at, text);
  *value = *at;
  return end;
}

typedef enum verdict { FINE, UNREADABLE, OUT_OF_BOUNDS, TOO_LONG } verdict;

/* "1,2,3", also "[1, 2, 3]" as YAML has it, and "" for none. */
static verdict read_list(int *count, void *list, read_element read, const ebb_option *o, const char *text)
{
  text = skip_space(text);
  bool bracket = *text == '[';
  if (bracket) text = skip_space(text + 1);
  *count = 0;
  while (*text && *text != ']') {
    double value = 0;
    if (*count == EBB_LIST_MOST) return TOO_LONG;
    text = read(list, *count, text, &value);
    if (!text) return UNREADABLE;
    if (!within(o, value)) return OUT_OF_BOUNDS;
    ++*count;
    text = skip_space(text);
    if (*text == ',') {
      text = skip_space(text + 1);
      if (!*text || *text == ']') return UNREADABLE;
    } else if (*text && *text != ']') {
      return UNREADABLE;
    }
  }
  if (bracket != (*text == ']')) return UNREADABLE;
  return ends(text + bracket) ? FINE : UNREADABLE;
}

/* Reads `text` into the field at `field`, which is untouched unless all is well. */
static verdict read_value(void *field, const ebb_option *o, const char *text, ebb_pool *pool)
{
  union { int i; size_t size; double real; bool yes; ebb_ints ints; ebb_numbers numbers; } v = {0};
  verdict list;
  switch (o->kind) {
  case EBB_OPTION_INT:
    if (!ends(read_int(&v.i, text))) return UNREADABLE;
    if (!within(o, v.i)) return OUT_OF_BOUNDS;
    memcpy(field, &v.i, sizeof v.i);
    return FINE;
  case EBB_OPTION_SIZE:
    if (!ends(read_size(&v.size, text))) return UNREADABLE;
    if (!within(o, (double)v.size)) return OUT_OF_BOUNDS;
    memcpy(field, &v.size, sizeof v.size);
    return FINE;
  case EBB_OPTION_REAL:
    if (!ends(read_real(&v.real, text))) return UNREADABLE;
    if (!within(o, v.real)) return OUT_OF_BOUNDS;
    memcpy(field, &v.real, sizeof v.real);
    return FINE;
  case EBB_OPTION_BOOL:
    if (!read_bool(&v.yes, text)) return UNREADABLE;
    memcpy(field, &v.yes, sizeof v.yes);
    return FINE;
  case EBB_OPTION_CHOICE:
    v.i = choice_index(o->choices, text);
    if (v.i < 0) return UNREADABLE;
    memcpy(field, &v.i, sizeof v.i);
    return FINE;
  case EBB_OPTION_LIST:
    list = read_list(&v.ints.count, &v.ints, int_element, o, text);
    if (list == FINE && v.ints.count == 0 && *o->standard) return UNREADABLE;
    if (list == FINE) memcpy(field, &v.ints, sizeof v.ints);
    return list;
  case EBB_OPTION_REALS:
    list = read_list(&v.numbers.count, &v.numbers, real_element, o, text);
    if (list == FINE && v.numbers.count == 0 && *o->standard) return UNREADABLE;
    if (list == FINE) memcpy(field, &v.numbers, sizeof v.numbers);
    return list;
  case EBB_OPTION_TEXT:
    if (pool) text = ebb_pool_text(pool, "%s", text);
    memcpy(field, &text, sizeof text);
    return FINE;
  }
  return UNREADABLE;
}

/* ---- messages --------------------------------------------------------------------------------------------- */
enum { NAMES_MOST = 64, WORDS_MOST = 256 };

static const char *expected(const ebb_option *o)
{
  switch (o->kind) {
  case EBB_OPTION_INT: return "a whole number";
  case EBB_OPTION_SIZE: return "a whole number, or a size such as 512MiB or 1.5GiB";
  case EBB_OPTION_REAL: return "a number";
  case EBB_OPTION_BOOL: return "true or false";
  case EBB_OPTION_LIST: return "whole numbers such as 32,64,128";
  case EBB_OPTION_REALS: return "numbers such as 0.5,0.75";
  default: return "a value";
  }
}

static ebb_status refuse_choice(const ebb_option *o, const char *section, const char *value)
{
  char        words[WORDS_MOST];
  const char *names[NAMES_MOST] = {NULL};
  size_t      count = 0;
  snprintf(words, sizeof words, "%s", o->choices);
  char *rest = NULL;
  for (char *w = strtok_r(words, "|", &rest); w && count < NAMES_MOST; w = strtok_r(NULL, "|", &rest)) names[count++] = w;
  const char *near = ebb_nearest(value, names, count);
  return ebb_fail(EBB_CONFIG, "%s.%s: expected one of %s, found '%s'%s%s%s", section, o->key, o->choices, value,
                  near ? "\nhint: did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static ebb_status refuse_value(verdict why, const ebb_option *o, const char *section, const char *value)
{
  const char *space = *o->unit ? " " : "";
  if (o->kind == EBB_OPTION_CHOICE) return refuse_choice(o, section, value);
  if (why == OUT_OF_BOUNDS)
    return ebb_fail(EBB_CONFIG, "%s.%s: expected %.10g to %.10g%s%s, found '%s'\nhint: %s", section, o->key, o->low,
                    o->high, space, o->unit, value, o->help);
  if (why == TOO_LONG)
    return ebb_fail(EBB_CONFIG, "%s.%s: expected at most %d numbers, found '%s'", section, o->key, EBB_LIST_MOST, value);
  return ebb_fail(EBB_CONFIG, "%s.%s: expected %s, found '%s'\nhint: %s%s%s; the default is %s", section, o->key,
                  expected(o), value, o->help, *o->unit ? ", in " : "", o->unit,
                  *o->standard ? o->standard : "empty");
}

static ebb_status refuse_key(const ebb_option *table, const char *section, const char *key)
{
  const char *names[NAMES_MOST] = {NULL};
  size_t      count = 0;
  for (const ebb_option *o = table; o->key && count < NAMES_MOST; o++) names[count++] = o->key;
  const char *near = ebb_nearest(key, names, count);
  if (near)
    return ebb_fail(EBB_CONFIG, "%s.%s: there is no such option\nhint: did you mean %s.%s?", section, key, section, near);
  char   list[1024] = "";
  size_t used = 0;
  for (size_t i = 0; i < count && used < sizeof list; i++)
    used += (size_t)snprintf(list + used, sizeof list - used, " %s", names[i]);
  return ebb_fail(EBB_CONFIG, "%s.%s: there is no such option\nhint: %s has%s", section, key, section, *list ? list : " none");
}

/* ---- the interface ---------------------------------------------------------------------------------------- */
static void *field_of(void *fields, const ebb_option *o)
{
  return (char *)fields + o->offset;
}

void ebb_options_default(void *fields, const ebb_option *table)
{
  for (const ebb_option *o = table; o->key; o++) {
    verdict v = read_value(field_of(fields, o), o, o->standard, NULL);
    EBB_ASSERT(v == FINE, "option %s: its own default '%s' is refused", o->key, o->standard);
  }
}

ebb_status ebb_option_set(void *fields, const ebb_option *table, const char *section, const char *key,
                          const char *value, ebb_pool *pool)
{
  const ebb_option *o = table;
  while (o->key && strcmp(o->key, key) != 0) o++;
  if (!o->key) return refuse_key(table, section, key);
  verdict v = read_value(field_of(fields, o), o, value, pool);
  return v == FINE ? EBB_OK : refuse_value(v, o, section, value);
}

/* The shortest decimal text that reads back as the same number; whole numbers of everyday size without exponent. */
static char *print_real(ebb_pool *pool, double value)
{
  char text[40];
  if (fabs(value) < 1e9 && value == floor(value)) return ebb_pool_text(pool, "%.0f", value);
  for (int digits = 1; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, value);
    if (strtod(text, NULL) == value) break;
  }
  return ebb_pool_text(pool, "%s", text);
}

/* Bytes with the largest binary unit that divides them; counts whose default has no unit (a seed) plain. */
static char *print_size(ebb_pool *pool, const ebb_option *o, size_t value)
{
  bool bytes = strncmp(o->unit, "byte", 4) == 0 || strchr(o->standard, 'B');
  for (int i = 0; bytes && value > 0 && i < BINARY_UNITS; i++) {
    size_t unit = (size_t)size_units[i].bytes;
    if (value % unit == 0) return ebb_pool_text(pool, "%zu%s", value / unit, size_units[i].name);
  }
  return ebb_pool_text(pool, "%zu", value);
}

static const char *print_choice(ebb_pool *pool, const ebb_option *o, int index)
{
  const char *word = o->choices;
  for (; index > 0 && *word; index--) {
    word += strcspn(word, "|");
    if (*word) word++;
  }
  return ebb_pool_text(pool, "%.*s", (int)strcspn(word, "|"), word);
}

static const char *print_list(ebb_pool *pool, const ebb_ints *ints, const ebb_numbers *numbers)
{
  const char *text = "";
  int         count = ints ? ints->count : numbers->count;
  for (int i = 0; i < count; i++) {
    const char *comma = i ? "," : "";
    text = ints ? ebb_pool_text(pool, "%s%s%d", text, comma, ints->at[i])
                : ebb_pool_text(pool, "%s%s%s", text, comma, print_real(pool, numbers->at[i]));
  }
  return text;
}

ebb_status ebb_options_set(void *fields, const ebb_option *table, const char *section, const char *words, ebb_pool *pool)
{
  char *rest = ebb_pool_text(pool, "%s", words), *next = NULL;
  for (char *word = strtok_r(rest, " ", &next); word; word = strtok_r(NULL, " ", &next)) {
    char *value = strchr(word, '=');
    EBB_ASSERT(value, "%s: expected key=value, found '%s'", section, word);
    *value = '\0';
    EBB_TRY(ebb_option_set(fields, table, section, word, value + 1, pool));
  }
  return EBB_OK;
}

const char *ebb_option_get(const void *fields, const ebb_option *o, ebb_pool *pool)
{
  const void *field = (const char *)fields + o->offset;
  switch (o->kind) {
  case EBB_OPTION_INT: return ebb_pool_text(pool, "%d", *(const int *)field);
  case EBB_OPTION_SIZE: return print_size(pool, o, *(const size_t *)field);
  case EBB_OPTION_REAL: return print_real(pool, *(const double *)field);
  case EBB_OPTION_BOOL: return *(const bool *)field ? "true" : "false";
  case EBB_OPTION_TEXT: return *(const char *const *)field;
  case EBB_OPTION_CHOICE: return print_choice(pool, o, *(const int *)field);
  case EBB_OPTION_LIST: return print_list(pool, field, NULL);
  case EBB_OPTION_REALS: return print_list(pool, NULL, field);
  }
  return "";
}
