/* threads.c -- see threads.h. */
#include "base/threads.h"

#include <omp.h>

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
