/* option.h -- options as tables: one table makes the parser, the help page, the defaults and the resolved config.
 * Owns: turning "key=value" into a field of a struct. Must not know: where the text came from. */
#pragma once
#include "base/arena.h"

typedef enum ebb_option_kind {
  EBB_OPTION_INT,      /* int                                                          */
  EBB_OPTION_SIZE,     /* size_t: bytes, with B KiB MiB GiB (also kB MB GB)            */
  EBB_OPTION_REAL,     /* double                                                       */
  EBB_OPTION_BOOL,     /* bool: true false yes no on off 1 0                           */
  EBB_OPTION_TEXT,     /* const char *, owned by the pool given to ebb_option_set      */
  EBB_OPTION_CHOICE,   /* int: index into the words of `choices`, "reverse|store"      */
  EBB_OPTION_LIST,     /* ebb_ints: "32,64,128"; may be empty if its default is        */
  EBB_OPTION_REALS,    /* ebb_numbers: "0.5,0.25", likewise                            */
} ebb_option_kind;

#define EBB_LIST_MOST 256
typedef struct ebb_ints { int count, at[EBB_LIST_MOST]; } ebb_ints;
typedef struct ebb_numbers { int count; double at[EBB_LIST_MOST]; } ebb_numbers;

typedef struct ebb_option {
  const char     *key;       /* "batch"; NULL ends a table                       */
  ebb_option_kind kind;
  size_t          offset;    /* of the field in its struct                       */
  const char     *standard;  /* the default, as a user would write it            */
  const char     *unit;      /* "samples", "" if none                            */
  const char     *help;      /* one line                                         */
  const char     *choices;   /* CHOICE: "reverse|store|checkpoint"               */
  double          low, high; /* INT, SIZE, REAL, LIST, REALS: inclusive bounds, none if both are 0 */
} ebb_option;

/* Sets every field to its default. Text defaults are not copied. */
void ebb_options_default(void *fields, const ebb_option *table);

/* Sets one field. EBB_CONFIG: unknown key (with the nearest), or a value that cannot be read or is out of bounds.
 * `section` ("train") is for messages; texts are copied to `pool`. */
ebb_status ebb_option_set(void *fields, const ebb_option *table, const char *section, const char *key,
                          const char *value, ebb_pool *pool);

/* Sets those that `words` names, "lr=0.1 batch=3", a text of the program's own: each word has a '='. */
ebb_status ebb_options_set(void *fields, const ebb_option *table, const char *section, const char *words, ebb_pool *pool);

/* The field's value as a user would write it, in the pool. */
const char *ebb_option_get(const void *fields, const ebb_option *option, ebb_pool *pool);
