/* suite.h -- how a test program ends. Owns: running one suite of Check's. */
#pragma once
#include <check.h>
#include <stdlib.h>

enum { SKIPPED = 77 }; /* meson's: this machine cannot run the test */

/* Runs and frees the suite; the program's exit code. */
static inline int run_suite(Suite *suite)
{
  SRunner *runner = srunner_create(suite);
  srunner_run_all(runner, CK_ENV);
  int failed = srunner_ntests_failed(runner);
  srunner_free(runner);
  return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
