/* isa.c -- which table of kernels is in use.
 * Owns: the pointer `ebbk`, the question what this processor can do, the variable EBB_ISA. */
#include "kernels/tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const ebbk_table *ebbk = &ebbk_reference;

/* The build's tables in rising order of speed, NULL for those that this processor cannot run. */
static const ebbk_table *const *candidates(void)
{
  static const ebbk_table *all[4];
  all[0] = &ebbk_reference;
#ifndef EBB_DOUBLE
  all[1] = &ebbk_baseline;
#ifdef __x86_64__
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    all[2] = &ebbk_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
      all[3] = &ebbk_avx512;
  }
#endif
#endif
  return all;
}

size_t ebbk_tables(const ebbk_table *tables[4])
{
  const ebbk_table *const *all = candidates();
  size_t count = 0;
  for (int i = 0; i < 4; i++)
    if (all[i]) tables[count++] = all[i];
  return count;
}

ebb_status ebbk_start(void)
{
  const ebbk_table *tables[4];
  size_t      count = ebbk_tables(tables);
  const char *wanted = getenv("EBB_ISA");
#ifndef EBB_DOUBLE
  if (wanted && *wanted) {
    char names[64] = "";
    for (size_t i = 0; i < count; i++) {
      if (strcmp(tables[i]->isa, wanted) == 0) {
        ebbk = tables[i];
        return EBB_OK;
      }
      size_t length = strlen(names);
      snprintf(names + length, sizeof names - length, "%s%s", i ? ", " : "", tables[i]->isa);
    }
    return ebb_fail(EBB_CONFIG, "EBB_ISA: expected one of %s, found \"%s\"\nhint: unset EBB_ISA to have the fastest",
                    names, wanted);
  }
#else
  (void)wanted;
#endif
  ebbk = tables[count - 1];
  return EBB_OK;
}
