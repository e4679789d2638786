/* verb.h -- a verb of the program is one constant struct.
 * Owns: what verbs and main share: flags, words, the table's row. To add a verb: one file, one row in main.c, one
 * line in meson.build. */
#pragma once
#include "base/option.h"

enum { EBB_ROUNDS_MOST = 100 }; /* of --rounds */

/* The flags of all verbs, read by the table in main.c; each verb names those it takes. */
typedef struct ebb_flags {
  bool        json, resume, force, quiet, errors;
  int         steps, warmup, repeat, rounds, entries, split;
  size_t      seed;
  const char *modes, *sweep, *fit, *only, *csv, *png, *child;
} ebb_flags;

typedef struct ebb_words {
  char    **at;
  int       count;
} ebb_words;

typedef struct ebb_verb {
  const char *name;
  const char *arguments;     /* "CONFIG.yaml [key=value ...]"                                     */
  const char *summary;       /* one line                                                          */
  const char *text;          /* more, for its help page; "" if none                               */
  const char *flags;         /* names of the flags it takes, "json steps"                         */
  const char *sections;      /* configuration sections its help page shows, "data train"          */
  int         least;         /* words it needs                                                    */
  int       (*run)(const ebb_flags *flags, ebb_words words); /* returns the exit code             */
} ebb_verb;

extern const ebb_verb ebb_verb_train, ebb_verb_eval, ebb_verb_predict, ebb_verb_sample, ebb_verb_plan, ebb_verb_profile, ebb_verb_bench, ebb_verb_audit,
    ebb_verb_check, ebb_verb_convert, ebb_verb_layers, ebb_verb_models;

/* Prints the message of a failed call ("ebb: ...") and returns the exit code. */
int ebb_verb_failed(ebb_status status);
