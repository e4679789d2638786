/* status.h -- how the engine says that something went wrong.
 * Owns: the status codes, the one message of the current thread, assertions. Must not know: anything else.
 *
 * Three kinds of trouble, three answers:
 *  the world     (file, HDF5, memory, options)  a status is returned, ebb_message() holds one clear text
 *  a caller's mistake                           EBB_ASSERT stops the program with the values
 *  numbers       (NaN, range)                   counted in the run; the trainer decides (run.h) */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* The values are those of sysexits.h, so that a status is the program's exit code. */
typedef enum ebb_status {
  EBB_OK = 0,
  EBB_USAGE = 64,      /* the command line                                                      */
  EBB_DATA = 65,       /* the content of a user's file                                          */
  EBB_NOINPUT = 66,    /* a file that is not there or cannot be read                            */
  EBB_SOFTWARE = 70,   /* numbers that went astray (NaN), or an internal error                  */
  EBB_OSERR = 71,      /* memory, threads                                                       */
  EBB_CANTCREAT = 73,  /* an output that cannot be created                                      */
  EBB_IOERR = 74,      /* reading or writing failed half-way                                    */
  EBB_CONFIG = 78,     /* a configuration: unknown key, value out of range                      */
} ebb_status;

/* Sets this thread's message and returns `code`. Write: "WHERE: expected X, found Y", then "\nhint: what to do". */
ebb_status ebb_fail(ebb_status code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* This thread's last message; "" if there was none. Valid until the next ebb_fail of this thread. */
const char *ebb_message(void);

/* Returns from the current function if `call` did not succeed. */
#define EBB_TRY(call)                                \
  do {                                               \
    ebb_status status_ = (call);                     \
    if (status_ != EBB_OK) return status_;           \
  } while (0)

/* A caller's mistake: prints the condition, the place and the values, and aborts. Checked in every build. */
#define EBB_ASSERT(condition, ...)                                            \
  do {                                                                        \
    if (!(condition)) ebb_abort(__FILE__, __LINE__, #condition, __VA_ARGS__); \
  } while (0)

_Noreturn void ebb_abort(const char *file, int line, const char *condition, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The nearest of `count` names to `word`, for "did you mean ...?"; NULL if none is near. */
const char *ebb_nearest(const char *word, const char *const *names, size_t count);
