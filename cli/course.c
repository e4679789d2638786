/* course.c -- see course.h. */
#include "course.h"

#include <string.h>

#include "base/clock.h"

enum { PARTS = 200, FIRST_ROOM = 1 << 12 };

typedef struct change { double seconds; size_t bytes; } change;

typedef struct course {
  ebb_pool pool;
  double   began;
  change  *at;
  size_t   count, room;
} course;

static void grow(course *k)
{
  size_t  room = k->room ? 2 * k->room : FIRST_ROOM;
  change *at = ebb_pool_take(&k->pool, room * sizeof *at);
  if (k->count) memcpy(at, k->at, k->count * sizeof *at);
  k->at = at;
  k->room = room;
}

static void note(const ebb_arena *a, void *context)
{
  course *k = context;
  if (k->count == k->room) grow(k);
  k->at[k->count++] = (change){ebb_seconds() - k->began, a->low + a->high};
}

/* The most that is taken in each of the parts; what a part begins with is what was taken last. */
static json_t *thinned(const course *k, double seconds, size_t others)
{
  json_t *times = json_array(), *bytes = json_array();
  size_t  next = 0, taken = 0;
  for (int i = 0; i <= PARTS; i++) {
    double until = seconds * i / PARTS;
    size_t most = taken;
    for (; next < k->count && k->at[next].seconds <= until; next++) {
      taken = k->at[next].bytes;
      if (taken > most) most = taken;
    }
    json_array_append_new(times, json_real(until));
    json_array_append_new(bytes, json_integer((json_int_t)(others + most)));
  }
  return json_pack("{s:o, s:o}", "seconds", times, "bytes", bytes);
}

ebb_status ebb_course(json_t **timeline, ebb_trainer *t, ebb_source *source, size_t others)
{
  course      k = {.began = ebb_seconds()};
  ebb_metrics m = {0};
  t->work.arena.watch = note;
  t->work.arena.watcher = &k;
  ebb_status status = ebb_trainer_step(t, source, &m);
  t->work.arena.watch = NULL;
  *timeline = status == EBB_OK ? thinned(&k, ebb_seconds() - k.began, others) : NULL;
  ebb_pool_clear(&k.pool);
  return status;
}
