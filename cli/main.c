/* main.c -- the program `ebb`: finds the verb, reads its flags, prints help, returns the exit code.
 * Owns: the table of verbs, the table of flags. Must not know: what verbs do. */
#include <argp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/threads.h"
#include "config.h"
#include "kernels/kernels.h"
#include "verb.h"
#include "version.h"

static const ebb_verb *const verbs[] = {
  &ebb_verb_train, &ebb_verb_eval,  &ebb_verb_predict, &ebb_verb_sample, &ebb_verb_plan,   &ebb_verb_profile,
  &ebb_verb_bench, &ebb_verb_audit, &ebb_verb_check,   &ebb_verb_convert, &ebb_verb_layers, &ebb_verb_models,
};
enum { VERBS = sizeof verbs / sizeof *verbs };

#define AT(field) offsetof(ebb_flags, field)
/* clang-format off */
static const ebb_option flag_table[] = {
  {"json",    EBB_OPTION_BOOL,   AT(json),    "false", "",        "print one JSON document instead of text", NULL, 0, 0},
  {"resume",  EBB_OPTION_BOOL,   AT(resume),  "false", "",        "go on from out/checkpoint_last.h5, to the same bytes as an uninterrupted run", NULL, 0, 0},
  {"force",   EBB_OPTION_BOOL,   AT(force),   "false", "",        "replace what is there already", NULL, 0, 0},
  {"quiet",   EBB_OPTION_BOOL,   AT(quiet),   "false", "",        "no progress", NULL, 0, 0},
  {"split",   EBB_OPTION_CHOICE, AT(split),   "val",   "",        "the set to evaluate on", "val|train", 0, 0},
  {"steps",   EBB_OPTION_INT,    AT(steps),   "5",     "steps",   "measured training steps", NULL, 1, 1000000},
  {"warmup",  EBB_OPTION_INT,    AT(warmup),  "1",     "steps",   "steps before those that are measured", NULL, 0, 1000000},
  {"repeat",  EBB_OPTION_INT,    AT(repeat),  "1",     "rounds",  "measure all modes this often, taking turns", NULL, 1, 1000},
  {"modes",   EBB_OPTION_TEXT,   AT(modes),   "reverse,store,checkpoint", "", "which modes, in which order", NULL, 0, 0},
  {"sweep",   EBB_OPTION_TEXT,   AT(sweep),   "",      "",        "instead, one point for each value of depth=, size=, batch= or KEY=, such as depth=10,50,100", NULL, 0, 0},
  {"fit",     EBB_OPTION_TEXT,   AT(fit),     "",      "",        "instead, the largest batch, size, depth or value of this key that fits in run.memory, or in what is free", NULL, 0, 0},
  {"rounds",  EBB_OPTION_INT,    AT(rounds),  "9",     "rounds",  "times that everything is measured; medians are told", NULL, 1, EBB_ROUNDS_MOST},
  {"only",    EBB_OPTION_TEXT,   AT(only),    "",      "",        "only what has this text in its name", NULL, 0, 0},
  {"errors",  EBB_OPTION_BOOL,   AT(errors),  "false", "",        "also each convolution's largest error against double, of the largest value", NULL, 0, 0},
  {"entries", EBB_OPTION_INT,    AT(entries), "40",    "values",  "gradient entries tried for each parameter tensor", NULL, 1, 1000000},
  {"seed",    EBB_OPTION_SIZE,   AT(seed),    "1",     "",        "of the shuffle that parts a table's rows", NULL, 0, 0},
  {"csv",     EBB_OPTION_TEXT,   AT(csv),     "",      "",        "also write the table to this file", NULL, 0, 0},
  {"png",     EBB_OPTION_TEXT,   AT(png),     "",      "",        "also draw memory and time into this file, and how memory is taken and given back within a step (needs gnuplot)", NULL, 0, 0},
  {"child",   EBB_OPTION_TEXT,   AT(child),   "",      "",        "", NULL, 0, 0},
  {.key = NULL},
};
/* clang-format on */
enum { FLAGS = sizeof flag_table / sizeof *flag_table - 1, FIRST_KEY = 1000, HELP_KEY = 2000 };

int ebb_verb_failed(ebb_status status)
{
  fprintf(stderr, "ebb: %s\n", ebb_message());
  return status;
}

/* ---- help ----------------------------------------------------------------------------------------------------- */
static void print_verbs(FILE *out)
{
  fputs("Usage: ebb VERB [flags] [words]\n"
        "Trains deep reversible networks in constant memory: activations are not kept, they are reconstructed.\n\n", out);
  for (int i = 0; i < VERBS; i++) fprintf(out, "  ebb %-9s %-41s %s\n", verbs[i]->name, verbs[i]->arguments, verbs[i]->summary);
  fputs("\n`ebb VERB --help` tells more; `ebb --version` names the parts. Try: ebb plan revnet-38\n", out);
}

static bool has_word(const char *words, const char *word)
{
  size_t length = strlen(word);
  for (const char *at = words; (at = strstr(at, word)); at += length)
    if ((at == words || at[-1] == ' ') && (at[length] == ' ' || !at[length])) return true;
  return false;
}

/* The configuration's part of a help page, from the same tables that read it. */
static void print_sections(FILE *out, const ebb_verb *v)
{
  ebb_config c;
  if (!*v->sections || ebb_config_plain(&c, NULL, 0) != EBB_OK) return;
  fputs("\nConfiguration: KEY=VALUE after the CONFIG, or in its YAML, with these defaults\n", out);
  if (has_word(v->sections, "model"))
    fputs("  model.name=NAME\n        the network; `ebb models` lists them, `ebb models NAME` their options\n", out);
  for (int i = EBB_DATA_SECTION; i < EBB_SECTIONS; i++) {
    ebb_section s = ebb_config_section(&c, i);
    if (has_word(v->sections, s.name)) ebb_options_print(out, s.name, s.table, s.fields, &c.pool);
  }
  if (has_word(v->sections, "out")) fputs("  out=out\n        folder of the results (text)\n", out);
  ebb_config_clear(&c);
}

/* ---- flags ---------------------------------------------------------------------------------------------------- */
typedef struct reading {
  const ebb_verb *verb;
  ebb_flags       flags;
  ebb_words       words;
  ebb_pool       *pool;
} reading;

static void set_flag(reading *r, const ebb_option *o, const char *value, const struct argp_state *state)
{
  /* the section "x" stands for the dashes: the message begins with "x." */
  if (ebb_option_set(&r->flags, flag_table, "x", o->key, value ? value : "true", r->pool) != EBB_OK)
    argp_error(state, "--%s", ebb_message() + strlen("x."));
}

static error_t parse_flag(int key, char *value, struct argp_state *state)
{
  reading *r = state->input;
  if (key == HELP_KEY) {
    argp_state_help(state, stdout, ARGP_HELP_USAGE | ARGP_HELP_DOC | ARGP_HELP_LONG);
    print_sections(stdout, r->verb);
    exit(EBB_OK);
  }
  if (key >= FIRST_KEY && key < FIRST_KEY + FLAGS) {
    set_flag(r, &flag_table[key - FIRST_KEY], value, state);
    return 0;
  }
  if (key == ARGP_KEY_ARG) {
    r->words.at[r->words.count++] = value;
    return 0;
  }
  if (key == ARGP_KEY_END && r->words.count < r->verb->least)
    argp_error(state, "expected %s, found %d word%s", r->verb->arguments, r->words.count, r->words.count == 1 ? "" : "s");
  return key == ARGP_KEY_END ? 0 : ARGP_ERR_UNKNOWN;
}

static const char *flag_help(const ebb_option *o, ebb_pool *pool)
{
  if (o->kind == EBB_OPTION_BOOL) return o->help;
  return ebb_pool_text(pool, "%s (%s%s%s)", o->help, *o->standard ? o->standard : "none", *o->unit ? " " : "", o->unit);
}

/* Of a text: what a help page calls it, where it is not the name of a file. */
static const char *text_value(const char *key)
{
  static const char *const names[][2] = {{"modes", "A,B"}, {"only", "TEXT"}, {"sweep", "KEY=A,B"}, {"fit", "KEY"}};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (strcmp(names[i][0], key) == 0) return names[i][1];
  return "FILE";
}

static const char *flag_value(const ebb_option *o)
{
  switch (o->kind) {
  case EBB_OPTION_BOOL: return NULL;
  case EBB_OPTION_INT:
  case EBB_OPTION_SIZE: return "N";
  case EBB_OPTION_CHOICE: return o->choices;
  default: return text_value(o->key);
  }
}

/* The verb's flags as argp likes them. */
static const struct argp_option *argp_flags(const ebb_verb *v, ebb_pool *pool)
{
  struct argp_option *options = ebb_pool_take(pool, (FLAGS + 2) * sizeof *options);
  int                 count = 0;
  for (int i = 0; i < FLAGS; i++) {
    const ebb_option *o = &flag_table[i];
    if (!has_word(v->flags, o->key)) continue;
    options[count++] = (struct argp_option){.name = o->key, .key = FIRST_KEY + i, .arg = flag_value(o),
                                            .flags = *o->help ? 0 : OPTION_HIDDEN, .doc = flag_help(o, pool)};
  }
  options[count] = (struct argp_option){.name = "help", .key = HELP_KEY, .doc = "this page", .group = -1};
  return options;
}

static int run_verb(const ebb_verb *v, int argc, char **argv)
{
  ebb_pool    pool = {0};
  reading     r = {.verb = v, .pool = &pool};
  struct argp argp = {.options = argp_flags(v, &pool), .parser = parse_flag, .args_doc = v->arguments,
                      .doc = ebb_pool_text(&pool, "%s.%s%s", v->summary, *v->text ? "\n\n" : "", v->text)};
  ebb_options_default(&r.flags, flag_table);
  r.words.at = ebb_pool_take(&pool, (size_t)(argc + 1) * sizeof *r.words.at);
  argv[0] = ebb_pool_text(&pool, "ebb %s", v->name);
  argp_err_exit_status = EBB_USAGE;
  error_t failed = argp_parse(&argp, argc, argv, ARGP_NO_HELP, NULL, &r);
  int     code = failed ? EBB_USAGE : v->run(&r.flags, r.words);
  ebb_pool_clear(&pool);
  return code;
}

/* ---- main ----------------------------------------------------------------------------------------------------- */
static int unknown_verb(const char *word)
{
  const char *names[VERBS];
  for (int i = 0; i < VERBS; i++) names[i] = verbs[i]->name;
  const char *near = ebb_nearest(word, names, VERBS);
  fprintf(stderr, "ebb: there is no verb '%s'\nhint: %s%s%s\n", word, near ? "did you mean `ebb " : "`ebb --help` lists them",
          near ? near : "", near ? "`?" : "");
  return EBB_USAGE;
}

/* Output that nobody could take (a full disk, a closed pipe) is an error, too. */
static int finish(int code)
{
  if ((fflush(stdout) == 0 && !ferror(stdout)) || code != EBB_OK) return code;
  fputs("ebb: standard output: writing failed\n", stderr);
  return EBB_IOERR;
}

int main(int argc, char **argv)
{
  ebb_threads_settle(argv);
  ebb_data_init();
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN); /* a full disk is reported by write(), not by death */
  const char *word = argc > 1 ? argv[1] : "";
  if (!*word) {
    print_verbs(stderr);
    return EBB_USAGE;
  }
  if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0 || strcmp(word, "help") == 0) {
    print_verbs(stdout);
    return finish(EBB_OK);
  }
  ebb_status status = ebbk_start();
  if (status != EBB_OK) return ebb_verb_failed(status);
  if (strcmp(word, "--version") == 0 || strcmp(word, "-V") == 0) {
    ebb_version_print(stdout);
    return finish(EBB_OK);
  }
  for (int i = 0; i < VERBS; i++)
    if (strcmp(verbs[i]->name, word) == 0) return finish(run_verb(verbs[i], argc - 1, argv + 1));
  return unknown_verb(word);
}
