/* verb_audit.c -- `ebb audit`: every gradient against differences, and every mode against the stored run.
 * Differences need double precision, so this program asks its twin, ebb-double, and adds its own comparison of modes. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "build.h"
#include "print.h"
#include "spawn.h"
#include "verb.h"

enum { SIDE_MOST = 8, BATCH = 2, WORDS_MOST = 200 };

/* Small, so that thousands of passes take seconds: sides of at most 8, two samples. */
static ebb_shape audit_shape(ebb_shape s)
{
  s.d = s.d > SIDE_MOST ? SIDE_MOST : s.d;
  s.h = s.h > SIDE_MOST ? SIDE_MOST : s.h;
  s.w = s.w > SIDE_MOST ? SIDE_MOST : s.w;
  return ebb_build_batch(s, BATCH);
}

/* null: no number */
static double error_of(const json_t *of)
{
  const json_t *error = json_object_get(of, "max_relative_error");
  return json_is_number(error) ? json_number_value(error) : INFINITY;
}

/* The same bits, or, where there is rounding, near enough. */
static bool agrees(const json_t *mode)
{
  return json_is_true(mode) || (json_is_real(mode) && json_real_value(mode) <= EBB_AUDIT_ROUNDING);
}

static bool all_agree(const json_t *modes)
{
  const char *key;
  json_t     *value;
  json_object_foreach((json_t *)(size_t)modes, key, value) if (!agrees(value)) return false;
  return true;
}

/* ---- the double program's part --------------------------------------------------------------------------------- */
#ifdef EBB_DOUBLE
static void show_row(const json_t *row)
{
  if (isatty(STDERR_FILENO))
    fprintf(stderr, "\r\033[K%-50s %.1e", json_string_value(json_object_get(row, "name")),
            error_of(row));
}

static ebb_status inspect(json_t **answer, const ebb_config *c, const ebb_model *m, ebb_shape x, const ebb_flags *flags,
                          ebb_words words)
{
  json_t *modes = NULL, *gradients = NULL;
  (void)words;
  ebb_status status = ebb_audit_modes(&modes, c, m, x);
  if (status == EBB_OK) status = ebb_audit_gradients(&gradients, c, m, x, flags->entries, show_row);
  if (isatty(STDERR_FILENO)) fputs("\r\033[K", stderr);
  bool good = status == EBB_OK && all_agree(modes) && json_is_true(json_object_get(gradients, "passed"));
  *answer = status == EBB_OK ? json_pack("{s:b, s:O, s:O}", "passed", good, "double_bits_equal", modes, "gradients", gradients)
                             : NULL;
  json_decref(modes);
  json_decref(gradients);
  return status;
}
#else
/* ---- the float program's part ---------------------------------------------------------------------------------- */
static ebb_status ask_twin(json_t **answer, const ebb_flags *flags, ebb_words words)
{
  char        path[EBB_PROGRAM_PATH], entries[40];
  const char *arguments[WORDS_MOST + 8] = {"audit", "--json", entries, "--"};
  int         count = 4;
  snprintf(entries, sizeof entries, "--entries=%d", flags->entries);
  if (words.count > WORDS_MOST) return ebb_fail(EBB_USAGE, "expected at most %d words", WORDS_MOST);
  for (int i = 0; i < words.count; i++) arguments[count++] = words.at[i];
  EBB_TRY(ebb_spawn_find(path, "ebb-double"));
  return ebb_spawn_json(answer, path, arguments);
}

static ebb_status inspect(json_t **answer, const ebb_config *c, const ebb_model *m, ebb_shape x, const ebb_flags *flags,
                          ebb_words words)
{
  json_t    *modes = NULL;
  ebb_status status = ebb_audit_modes(&modes, c, m, x);
  *answer = NULL;
  if (status == EBB_OK) status = ask_twin(answer, flags, words);
  if (status == EBB_OK) {
    bool good = json_is_true(json_object_get(*answer, "passed")) && all_agree(modes);
    json_object_set(*answer, "float_bits_equal", modes);
    json_object_set_new(*answer, "passed", json_boolean(good));
  }
  json_decref(modes);
  return status;
}
#endif

/* ---- telling ---------------------------------------------------------------------------------------------------- */
static void print_modes(const char *precision, const json_t *modes)
{
  const char *key;
  json_t     *value;
  if (!modes) return;
  printf("%s, gradients and statistics equal to store's by memcmp:", precision);
  json_object_foreach((json_t *)(size_t)modes, key, value) {
    if (strcmp(key, "store") == 0) continue;
    if (json_is_real(value)) printf("  %s but for rounding, %.1e of the largest%s", key, json_real_value(value), agrees(value) ? "" : ": TOO FAR");
    else printf("  %s %s", key, json_is_true(value) ? "yes" : "NO");
  }
  putchar('\n');
}

static void print_human(const json_t *answer)
{
  const json_t *gradients = json_object_get(answer, "gradients"), *rows = json_object_get(gradients, "parameters");
  printf("%-48s %10s %8s  %s\n", "parameter", "values", "tried", "largest relative error");
  for (size_t i = 0; i < json_array_size(rows); i++) {
    const json_t *row = json_array_get(rows, i);
    double        error = error_of(row);
    printf("%-48s %10lld %8lld  %.1e%s\n", json_string_value(json_object_get(row, "name")),
           (long long)json_integer_value(json_object_get(row, "values")),
           (long long)json_integer_value(json_object_get(row, "tried")), error, error <= EBB_AUDIT_TOLERANCE ? "" : "  TOO LARGE");
  }
  printf("\nlargest of all: %.1e, allowed: %.0e\n", error_of(gradients), EBB_AUDIT_TOLERANCE);
  print_modes("double", json_object_get(answer, "double_bits_equal"));
  print_modes("float", json_object_get(answer, "float_bits_equal"));
  printf("audit %s\n", json_is_true(json_object_get(answer, "passed")) ? "passed" : "FAILED");
}

/* The double program's answer goes to the float program, whatever the verdict. */
static int tell(json_t *answer, const ebb_model *m, ebb_shape x, const ebb_flags *flags)
{
  bool good = json_is_true(json_object_get(answer, "passed"));
  json_object_set_new(answer, "model", json_string(m->name));
  json_object_set_new(answer, "batch", json_integer(x.n));
  json_object_set_new(answer, "shape", ebb_json_shape(x));
  int code = EBB_OK;
  if (flags->json) {
    code = ebb_print_json(answer);
  } else {
    print_human(answer);
    json_decref(answer);
  }
  return good || sizeof(ebb_real) == sizeof(double) ? code : EBB_SOFTWARE;
}

/* ---- the verb --------------------------------------------------------------------------------------------------- */
static int with_config(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  ebb_model  m;
  ebb_input  in = {0};
  json_t    *answer = NULL;
  ebb_status status = ebb_build_input(&in, c);
  ebb_shape  x = audit_shape(in.shape);
  if (status == EBB_OK) status = ebb_build_model(&m, c, x, in.classes);
  if (status != EBB_OK) return ebb_verb_failed(status);
  status = inspect(&answer, c, &m, x, flags, words);
  int code = status == EBB_OK ? tell(answer, &m, x, flags) : ebb_verb_failed(status);
  ebb_model_destroy(&m);
  return code;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  return ebb_build_with_config(flags, words, with_config);
}

const ebb_verb ebb_verb_audit = {
  .name = "audit", .arguments = "CONFIG [key=value ...]", .summary = "Checks every gradient against differences and the stored run",
  .text = "On random input of data.shape with sides cut to 8, two samples. Exit code 70 if anything fails. Needs ebb-double "
          "beside this program, or in $EBB_LIBEXEC.",
  .flags = "json entries", .sections = "model data train run", .least = 1, .run = run,
};
