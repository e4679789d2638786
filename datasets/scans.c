/* scans.c -- see scans.h. */
#include "datasets/scans.h"

#include <string.h>

#include "datasets/data.h"
#include "datasets/reader.h"

typedef struct parts {
  ebb_scans     shown; /* first: an ebb_scans is one of these */
  ebb_pool      pool;
  ebb_notes     notes;
  ebb_volumes   volumes;
  ebb_label_map map;
  ebb_reader    reader;
  ebb_arena     memory;
} parts;

static parts *inside(ebb_scans *s)
{
  return (parts *)s;
}

/* The name without folder and ending. */
static const char *name_of(const ebb_volume *v, bool many, ebb_pool *pool)
{
  const char *slash = strrchr(v->stack->file, '/'), *base = slash ? slash + 1 : v->stack->file, *dot = strrchr(base, '.');
  int length = dot && dot > base ? (int)(dot - base) : (int)strlen(base);
  return many ? ebb_pool_text(pool, "%.*s_%u", length, base, v->sample) : ebb_pool_text(pool, "%.*s", length, base);
}

static void list(parts *p)
{
  const ebb_volumes *v = &p->volumes;
  ebb_scan *all = ebb_pool_take(&p->pool, (size_t)(v->count + 1) * sizeof *all);
  for (int i = 0; i < v->count; i++) {
    const ebb_volume *x = &v->at[i];
    const ebb_stack *s = x->stack;
    all[i] = (ebb_scan){.file = s->file, .name = name_of(x, strchr(s->raw_axes, 'n') != NULL, &p->pool), .axes = s->raw_axes,
                        .sample = x->sample, .spaced = s->raw->element_um[2] > 0, .labelled = s->label != NULL};
    memcpy(all[i].size, x->size, sizeof x->size);
    memcpy(all[i].spacing, x->spacing, sizeof x->spacing);
  }
  p->shown.at = all;
  p->shown.count = v->count;
  p->shown.channels = v->channels;
  p->shown.notes = p->notes.line;
  p->shown.note_count = p->notes.count;
  p->reader = (ebb_reader){.volumes = &p->volumes, .map = &p->map, .classes = p->shown.classes};
}

static parts *begin(int classes)
{
  ebb_pool pool = {0};
  parts *p = EBB_POOL_NEW(&pool, parts);
  p->pool = pool;
  p->notes.pool = &p->pool;
  p->shown.classes = classes;
  return p;
}

/* Adds what one place holds to the list so far. */
static ebb_status add_place(parts *p, const char *place, const ebb_data_options *o, ebb_shape x)
{
  ebb_volumes more, *v = &p->volumes;
  EBB_TRY(ebb_volumes_open_images(&more, &p->notes, p->shown.classes, &p->map, place, o, x));
  ebb_volume *all = ebb_pool_take(&p->pool, (size_t)(v->count + more.count) * sizeof *all);
  if (v->count) memcpy(all, v->at, (size_t)v->count * sizeof *all);
  memcpy(all + v->count, more.at, (size_t)more.count * sizeof *all);
  if (v->working_bytes > more.working_bytes) more.working_bytes = v->working_bytes;
  if (v->box_channels > more.box_channels) more.box_channels = v->box_channels;
  more.at = all;
  more.count += v->count;
  *v = more;
  return EBB_OK;
}

ebb_status ebb_scans_open(ebb_scans **s, const char *const *places, int count, const ebb_data_options *o, ebb_shape x)
{
  parts *p = begin(o->classes);
  ebb_status status = ebb_label_map_read(&p->map, o->label_map);
  for (int i = 0; i < count && status == EBB_OK; i++) status = add_place(p, places[i], o, x);
  list(p);
  *s = &p->shown;
  if (status == EBB_OK) return EBB_OK;
  ebb_scans_close(*s);
  *s = NULL;
  return status;
}

void ebb_scans_of(ebb_scans **s, const ebb_data *data, ebb_split split)
{
  const ebb_patch_set *set = &ebb_data_inside(data)->maps[split];
  parts *p = begin(set->classes);
  p->volumes = set->volumes;
  p->map = set->map;
  list(p);
  *s = &p->shown;
}

void ebb_scans_close(ebb_scans *s)
{
  if (!s) return;
  parts *p = inside(s);
  ebb_pool pool = p->pool; /* holds p itself */
  ebb_reader_close(&p->reader);
  ebb_arena_destroy(&p->memory);
  ebb_pool_clear(&pool);
}

static size_t room(const ebb_scans *s, size_t sites)
{
  return ebb_align(sites * (size_t)((const parts *)s)->volumes.box_channels * sizeof(double));
}

size_t ebb_scans_bytes(const ebb_scans *s, size_t sites)
{
  return room(s, sites) + ((const parts *)s)->volumes.working_bytes;
}

ebb_status ebb_scans_prepare(ebb_scans *s, size_t sites)
{
  parts *p = inside(s);
  ebb_arena_destroy(&p->memory);
  EBB_TRY(ebb_arena_create(&p->memory, "scans", room(s, sites)));
  p->reader.numbers = ebb_arena_low(&p->memory, room(s, sites), EBB_USE_KEPT);
  return EBB_OK;
}

ebb_status ebb_scans_image(ebb_scans *s, ebb_real *x, int i, const int start[3], const int size[3])
{
  return ebb_reader_image(&inside(s)->reader, x, i, start, size);
}

ebb_status ebb_scans_labels(ebb_scans *s, int32_t *labels, int i, const int start[3], const int size[3])
{
  return ebb_reader_labels(&inside(s)->reader, labels, NULL, i, start, size, NULL);
}

int64_t ebb_scans_value(const ebb_scans *s, int class)
{
  const ebb_label_map *map = &((const parts *)s)->map;
  for (int i = 0; i < map->count && !map->one_hot; i++)
    if (map->class[i] == class) return map->low[i];
  return class;
}
