/* spawn.c -- see spawn.h. */
#define _POSIX_C_SOURCE 200809L
#include "spawn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MOST = 256 };

static ebb_status own_path(char path[EBB_PROGRAM_PATH])
{
  ssize_t length = readlink("/proc/self/exe", path, EBB_PROGRAM_PATH - 1);
  if (length <= 0) return ebb_fail(EBB_OSERR, "/proc/self/exe: expected this program's path, found: %s", strerror(errno));
  path[length] = '\0';
  return EBB_OK;
}

ebb_status ebb_spawn_find(char path[EBB_PROGRAM_PATH], const char *name)
{
  const char *folder = getenv("EBB_LIBEXEC");
  char        self[EBB_PROGRAM_PATH];
  if (!folder) {
    EBB_TRY(own_path(self));
    *strrchr(self, '/') = '\0';
    folder = self;
  }
  if (snprintf(path, EBB_PROGRAM_PATH, "%s/%s", folder, name) < EBB_PROGRAM_PATH && access(path, X_OK) == 0) return EBB_OK;
  return ebb_fail(EBB_SOFTWARE, "%s: expected the program %s there, found none\n"
                  "hint: the build makes it; EBB_LIBEXEC names its folder", folder, name);
}

/* Between fork and exec: only what a forked process may do. */
static _Noreturn void become(const char *path, char *const *argv, int out)
{
  if (dup2(out, STDOUT_FILENO) >= 0) execv(path, argv);
  _exit(127);
}

static ebb_status collect(json_t **answer, FILE *from, const char *path)
{
  json_error_t error;
  *answer = json_loadf(from, JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK, &error);
  char rest[4096];
  while (fread(rest, 1, sizeof rest, from) > 0) continue;
  if (*answer) return EBB_OK;
  return ebb_fail(EBB_SOFTWARE, "%s: expected a JSON document, found: %s", path, error.text);
}

static ebb_status outcome(pid_t child, const char *path, ebb_status collected)
{
  int   code = 0;
  pid_t done;
  while ((done = waitpid(child, &code, 0)) < 0 && errno == EINTR) continue;
  if (done < 0) return ebb_fail(EBB_OSERR, "%s: its end could not be awaited: %s", path, strerror(errno));
  if (WIFSIGNALED(code)) return ebb_fail(EBB_SOFTWARE, "%s: ended by signal %d", path, WTERMSIG(code));
  if (WEXITSTATUS(code) == 0) return collected;
  if (WEXITSTATUS(code) == 127) return ebb_fail(EBB_OSERR, "%s: could not be started", path);
  return ebb_fail((ebb_status)WEXITSTATUS(code), "%s: failed with code %d (its message is above)", path, WEXITSTATUS(code));
}

ebb_status ebb_spawn_json(json_t **answer, const char *program, const char *const *arguments)
{
  char  self[EBB_PROGRAM_PATH], *argv[ARGUMENTS_MOST] = {0};
  int   ends[2], count = 0;
  *answer = NULL;
  if (!program) EBB_TRY(own_path(self));
  argv[count++] = program ? (char *)(size_t)program : self;
  for (; *arguments && count < ARGUMENTS_MOST - 1; arguments++) argv[count++] = (char *)(size_t)*arguments;
  if (*arguments) return ebb_fail(EBB_USAGE, "expected at most %d words", ARGUMENTS_MOST - 2);
  if (pipe(ends) != 0) return ebb_fail(EBB_OSERR, "pipe: %s", strerror(errno));
  fflush(NULL);
  pid_t child = fork();
  if (child == 0) become(argv[0], argv, ends[1]);
  close(ends[1]);
  FILE *from = child > 0 ? fdopen(ends[0], "r") : NULL;
  if (!from) {
    close(ends[0]);
    return ebb_fail(EBB_OSERR, "a new process: %s", strerror(errno));
  }
  ebb_status status = collect(answer, from, argv[0]);
  fclose(from);
  status = outcome(child, argv[0], status);
  if (status != EBB_OK) {
    json_decref(*answer);
    *answer = NULL;
  }
  return status;
}
