/* threads.h -- how many threads compute.
 * Owns: the thread counts of OpenMP, and with it of OpenBLAS (its OpenMP build follows OpenMP's count, and runs
 * on one thread inside a parallel region). Nobody else sets them. Results do not depend on the number. */
#pragma once

/* 0: one per core this process may use, or OMP_NUM_THREADS. At most EBB_THREADS_MOST. */
#define EBB_THREADS_MOST 256
void ebb_threads_set(int count);
int  ebb_threads(void);

/* First thing in main(): lets threads that wait for each other sleep after some microseconds instead of milliseconds of
 * spinning, which on a machine with other work to do costs a multiple of the time. The OpenMP runtime reads this from the
 * environment before main() begins, so the program starts itself once more; a user's own setting is left alone. */
void ebb_threads_settle(char **argv);
