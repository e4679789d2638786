/* file.c -- see file.h. */
#define _GNU_SOURCE
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

static ebb_status trouble(ebb_status code, const char *path, const char *what)
{
  const char *hint = errno == ENOSPC || errno == EFBIG || errno == EDQUOT ? "free some space; what stood there before is unchanged"
                     : errno == EACCES || errno == EROFS ? "choose a folder you may write to"
                                                         : "check the path";
  return ebb_fail(code, "%s: %s: %s\nhint: %s", path, what, strerror(errno), hint);
}

static ebb_status write_all(int fd, const char *path, const void *bytes, size_t size)
{
  const char *p = bytes;
  while (size > 0) {
    ssize_t n = write(fd, p, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return trouble(EBB_IOERR, path, "writing failed");
    p += n;
    size -= (size_t)n;
  }
  return EBB_OK;
}

static ebb_status write_parts(int fd, const char *path, const ebb_bytes_part *parts, size_t count)
{
  for (size_t i = 0; i < count; i++) EBB_TRY(write_all(fd, path, parts[i].bytes, parts[i].size));
  return fsync(fd) == 0 ? EBB_OK : trouble(EBB_IOERR, path, "writing to disk failed");
}

/* The folder of `path`, so that the rename itself is on disk. A file system that cannot do this is not an error. */
static void sync_folder(const char *path)
{
  char        folder[PATH_SIZE];
  const char *slash = strrchr(path, '/');
  snprintf(folder, sizeof folder, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
  int fd = open(folder, O_RDONLY | O_DIRECTORY);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

ebb_status ebb_file_replace(const char *path, const ebb_bytes_part *parts, size_t count)
{
  char temporary[PATH_SIZE];
  if (snprintf(temporary, sizeof temporary, "%s.tmp.%ld", path, (long)getpid()) >= (int)sizeof temporary)
    return ebb_fail(EBB_CANTCREAT, "%s: the path is too long", path);
  int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return trouble(EBB_CANTCREAT, path, "cannot be created");
  ebb_status status = write_parts(fd, path, parts, count);
  if (close(fd) != 0 && status == EBB_OK) status = trouble(EBB_IOERR, path, "closing failed");
  if (status == EBB_OK && rename(temporary, path) != 0) status = trouble(EBB_IOERR, path, "cannot be put in place");
  if (status != EBB_OK) unlink(temporary);
  else sync_folder(path);
  return status;
}

const char *ebb_file_temporary(const char *path, ebb_pool *pool)
{
  return ebb_pool_text(pool, "%s.tmp.%ld", path, (long)getpid());
}

ebb_status ebb_file_put(const char *path, const char *temporary)
{
  int        fd = open(temporary, O_RDONLY | O_CLOEXEC);
  ebb_status status = fd >= 0 && fsync(fd) == 0 ? EBB_OK : trouble(EBB_IOERR, path, "writing to disk failed");
  if (fd >= 0) close(fd);
  if (status == EBB_OK && rename(temporary, path) != 0) status = trouble(EBB_IOERR, path, "cannot be put in place");
  if (status != EBB_OK) unlink(temporary);
  else sync_folder(path);
  return status;
}

ebb_status ebb_folder_make(const char *path)
{
  char part[PATH_SIZE];
  if (!*path) return ebb_fail(EBB_CANTCREAT, "expected the name of a folder, found nothing");
  if (snprintf(part, sizeof part, "%s", path) >= (int)sizeof part)
    return ebb_fail(EBB_CANTCREAT, "%s: the path is too long", path);
  for (char *p = part + 1;; p++) {
    char c = *p;
    if (c != '/' && c != 0) continue;
    *p = 0;
    if (mkdir(part, 0777) != 0 && errno != EEXIST) return trouble(EBB_CANTCREAT, path, "the folder cannot be made");
    *p = c;
    if (c == 0) break;
  }
  struct stat s;
  if (stat(path, &s) != 0 || !S_ISDIR(s.st_mode)) return ebb_fail(EBB_CANTCREAT, "%s: expected a folder, found a file", path);
  if (access(path, W_OK | X_OK) != 0) return trouble(EBB_CANTCREAT, path, "the folder is not writable");
  return EBB_OK;
}
