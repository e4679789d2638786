/* arena.c -- see arena.h. Where the environment has EBB_POISON, as in the tests, released memory is filled with a NaN
 * pattern, so that a use after release shows in the results; under AddressSanitizer it is unreadable as well. */
#define _GNU_SOURCE
#include "base/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define FORBID(p, n) __asan_poison_memory_region((p), (n))
#define PERMIT(p, n) __asan_unpoison_memory_region((p), (n))
#else
#define FORBID(p, n) ((void)(p), (void)(n))
#define PERMIT(p, n) ((void)(p), (void)(n))
#endif

#define HUGE_PAGE ((size_t)2 << 20)

size_t ebb_align(size_t bytes)
{
  return (bytes + EBB_ALIGN - 1) / EBB_ALIGN * EBB_ALIGN;
}

ebb_status ebb_arena_create(ebb_arena *a, const char *name, size_t size)
{
  *a = (ebb_arena){.name = name, .size = ebb_align(size), .poison = getenv("EBB_POISON") != NULL};
  if (a->size == 0) return EBB_OK;
  size_t available = ebb_memory_available();
  if (a->size > available)
    return ebb_fail(EBB_OSERR, "memory: the %s region needs %zu bytes, %zu are available", name, a->size, available);
  a->base = mmap(NULL, a->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (a->base == MAP_FAILED) {
    a->base = NULL;
    return ebb_fail(EBB_OSERR, "memory: the system refused %zu bytes for the %s region", a->size, name);
  }
  if (a->size >= HUGE_PAGE) madvise(a->base, a->size, MADV_HUGEPAGE); /* fewer page faults; a wish only */
  FORBID(a->base, a->size);
  return EBB_OK;
}

void ebb_arena_create_dry(ebb_arena *a, const char *name)
{
  *a = (ebb_arena){.name = name, .base = (char *)((size_t)1 << 32), .size = (size_t)1 << 62, .dry = true};
}

void ebb_arena_destroy(ebb_arena *a)
{
  if (!a->dry && a->base) {
    PERMIT(a->base, a->size);
    munmap(a->base, a->size);
  }
  *a = (ebb_arena){0};
}

static void note_peak(ebb_arena *a)
{
  size_t now = a->low + a->high;
  if (now <= a->peak) return;
  a->peak = now;
  a->at_peak[EBB_USE_STREAM] = a->stream;
  a->at_peak[EBB_USE_KEPT] = a->low - a->stream;
  a->at_peak[EBB_USE_SCRATCH] = a->high;
}

/* Of `before` bytes at an end that has `now`. */
static void tell(const ebb_arena *a, size_t before, size_t now)
{
  if (a->watch && now != before) a->watch(a, a->watcher);
}

static void require(const ebb_arena *a, size_t bytes)
{
  EBB_ASSERT(bytes <= a->size - a->low - a->high, "region %s: %zu bytes asked for, %zu of %zu free", a->name, bytes,
             a->size - a->low - a->high, a->size);
}

void *ebb_arena_low(ebb_arena *a, size_t bytes, ebb_use use)
{
  bytes = ebb_align(bytes);
  require(a, bytes);
  char *p = a->base + a->low;
  a->low += bytes;
  if (use == EBB_USE_STREAM) a->stream += bytes;
  note_peak(a);
  tell(a, a->low - bytes, a->low);
  if (!a->dry) PERMIT(p, bytes);
  return p;
}

void *ebb_arena_high(ebb_arena *a, size_t bytes)
{
  bytes = ebb_align(bytes);
  require(a, bytes);
  a->high += bytes;
  note_peak(a);
  tell(a, a->high - bytes, a->high);
  char *p = a->base + a->size - a->high;
  if (!a->dry) PERMIT(p, bytes);
  return p;
}

void ebb_arena_retag(ebb_arena *a, size_t bytes, ebb_use use)
{
  if (use == EBB_USE_STREAM) a->stream += ebb_align(bytes);
  else a->stream -= ebb_align(bytes);
}

ebb_mark ebb_arena_low_mark(const ebb_arena *a)
{
  return (ebb_mark){a->low, a->stream};
}

ebb_mark ebb_arena_high_mark(const ebb_arena *a)
{
  return (ebb_mark){a->high, 0};
}

static void poison(const ebb_arena *a, char *p, size_t bytes)
{
  if (a->dry) return;
  if (a->poison) memset(p, 0xff, bytes);
  FORBID(p, bytes);
}

void ebb_arena_low_release(ebb_arena *a, ebb_mark mark)
{
  EBB_ASSERT(mark.bytes <= a->low, "region %s: release to %zu from %zu", a->name, mark.bytes, a->low);
  size_t before = a->low;
  poison(a, a->base + mark.bytes, a->low - mark.bytes);
  a->low = mark.bytes;
  a->stream = mark.stream;
  tell(a, before, a->low);
}

void ebb_arena_high_release(ebb_arena *a, ebb_mark mark)
{
  EBB_ASSERT(mark.bytes <= a->high, "region %s: release to %zu from %zu", a->name, mark.bytes, a->high);
  size_t before = a->high;
  poison(a, a->base + a->size - a->high, a->high - mark.bytes);
  a->high = mark.bytes;
  tell(a, before, a->high);
}

void *ebb_arena_high_slide(ebb_arena *a, ebb_mark mark, size_t bytes)
{
  size_t high = mark.bytes + ebb_align(bytes);
  EBB_ASSERT(high <= a->high, "region %s: %zu bytes slide up from %zu to %zu", a->name, bytes, a->high, mark.bytes);
  char  *from = a->base + a->size - a->high, *to = a->base + a->size - high;
  size_t freed = a->high - high;
  if (!a->dry) {
    PERMIT(to, ebb_align(bytes));
    memmove(to, from, ebb_align(bytes));
  }
  poison(a, from, freed);
  a->high = high;
  tell(a, high + freed, high);
  return to;
}

/* The number that follows `key` in a file of the system, in units of `unit` bytes; `missing` if there is none. */
static size_t system_number(const char *path, const char *key, size_t unit, size_t missing)
{
  FILE  *f = fopen(path, "r");
  char   line[256];
  size_t value = missing;
  if (!f) return missing;
  while (fgets(line, sizeof line, f)) {
    size_t number;
    if (strncmp(line, key, strlen(key)) == 0 && sscanf(line + strlen(key), " %zu", &number) == 1) {
      value = number * unit;
      break;
    }
  }
  fclose(f);
  return value;
}

/* No limit that a system states is as large. */
static const size_t none = (size_t)1 << 46;

/* What a control group's files leave; `none` if they are not there or set no limit. */
static size_t group_free(const char *folder, const char *limit_file, const char *used_file, const char *cache_key)
{
  char path[512];
  snprintf(path, sizeof path, "%s/%s", folder, limit_file);
  size_t limit = system_number(path, "", 1, none);
  snprintf(path, sizeof path, "%s/%s", folder, used_file);
  size_t used = system_number(path, "", 1, 0);
  snprintf(path, sizeof path, "%s/memory.stat", folder);
  size_t cache = system_number(path, cache_key, 1, 0);
  return limit >= none ? none : limit + cache > used ? limit + cache - used : 0;
}

/* The folder of this process's group below `root`, from a line of /proc/self/cgroup: "0::/user.slice", "9:memory:/x". */
static void own_group(char folder[512], const char *root, const char *controller)
{
  FILE *f = fopen("/proc/self/cgroup", "r");
  char  line[400];
  snprintf(folder, 512, "%s", root);
  while (f && fgets(line, sizeof line, f)) {
    char *name = strchr(line, ':'), *place = name ? strchr(name + 1, ':') : NULL;
    if (!place) continue;
    *place++ = 0;
    place[strcspn(place, "\n")] = 0;
    if (strcmp(name + 1, controller) == 0) snprintf(folder, 512, "%s%s", root, strcmp(place, "/") == 0 ? "" : place);
  }
  if (f) fclose(f);
}

/* The group's own limit and the root's: inside a container the group's path may be that of the host. */
static size_t group_least(const char *root, const char *controller, const char *limit, const char *used, const char *cache)
{
  char folder[512];
  own_group(folder, root, controller);
  size_t own = group_free(folder, limit, used, cache), top = group_free(root, limit, used, cache);
  return own < top ? own : top;
}

size_t ebb_memory_available(void)
{
  size_t machine = system_number("/proc/meminfo", "MemAvailable:", 1024, none);
  size_t second = group_least("/sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file");
  size_t first = group_least("/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                             "total_inactive_file");
  size_t group = first < second ? first : second;
  return machine < group ? machine : group;
}

/* ---- pool ------------------------------------------------------------------------------------------------- */
struct ebb_pool_block {
  struct ebb_pool_block *next;
  size_t                 used, size;
  _Alignas(EBB_ALIGN) char bytes[];
};

void *ebb_pool_take(ebb_pool *p, size_t bytes)
{
  bytes = (bytes + 15) / 16 * 16;
  struct ebb_pool_block *b = p->blocks;
  if (!b || b->size - b->used < bytes) {
    size_t size = bytes > 16384 ? bytes : 16384;
    size_t whole = ebb_align(sizeof *b + size);
    b = aligned_alloc(EBB_ALIGN, whole);
    EBB_ASSERT(b, "the system has no %zu bytes left", whole);
    memset(b, 0, whole);
    b->size = size;
    b->next = p->blocks;
    p->blocks = b;
  }
  void *q = b->bytes + b->used;
  b->used += bytes;
  return q;
}

char *ebb_pool_text(ebb_pool *p, const char *format, ...)
{
  va_list args;
  va_start(args, format);
  int length = vsnprintf(NULL, 0, format, args);
  va_end(args);
  char *text = ebb_pool_take(p, (size_t)length + 1);
  va_start(args, format);
  vsnprintf(text, (size_t)length + 1, format, args);
  va_end(args);
  return text;
}

void ebb_pool_clear(ebb_pool *p)
{
  while (p->blocks) {
    struct ebb_pool_block *next = p->blocks->next;
    free(p->blocks);
    p->blocks = next;
  }
}
