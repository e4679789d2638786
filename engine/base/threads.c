/* threads.c -- see threads.h. */
#define _GNU_SOURCE
#include "base/threads.h"

#include <omp.h>
#include <stdlib.h>
#include <unistd.h>

void ebb_threads_settle(char **argv)
{
  if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) return;
  if (setenv("GOMP_SPINCOUNT", "20000", 0) == 0) execv("/proc/self/exe", argv); /* returns only if it fails */
}

void ebb_threads_set(int count)
{
  static int initial = 0;
  if (initial == 0) initial = omp_get_max_threads();
  if (count <= 0) count = initial;
  omp_set_dynamic(0);
  omp_set_num_threads(count < EBB_THREADS_MOST ? count : EBB_THREADS_MOST);
}

int ebb_threads(void)
{
  return omp_get_max_threads();
}
