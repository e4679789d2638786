/* patches.c -- patches of volumes as batches: at random in training, side by side in evaluation.
 * Owns: where patches are taken, and their turning into numbers. Must not know: threads (ahead.c), networks.
 *
 * Training: patch i of an epoch comes from volume i mod N of a shuffled round; a third (data.foreground) is centred on a site
 * of the foreground, the others lie anywhere. All of it follows from (seed, epoch, i). Evaluation: tiles cover each volume in
 * the set's order; where tiles overlap, each label counts in one of them, and elsewhere is -1, as beyond the border. */
#include "base/rng.h"
#include "datasets/ahead.h"
#include "datasets/data.h"
#include "datasets/patches.h"
#include "datasets/reader.h"

typedef struct patches {
  ebb_ahead ahead;           /* first */
  const ebb_patch_set *set;
  ebb_pool pool;
  ebb_arena memory;
  ebb_reader reader;
  ebb_patch wide;            /* a patch and its margin, before it is warped */
  int margin[3];
  uint32_t *order;           /* (volumes) of this epoch                     */
  uint32_t *first_tile;      /* (volumes + 1) evaluation                    */
  bool training;
  int size;                  /* of a batch                                  */
  uint64_t seed, position;
  uint32_t epoch;
} patches;

/* ---- where a patch is -------------------------------------------------------------------------------------------------- */
/* start may be negative, and start + patch beyond the volume: padding. own: the sites whose label counts, [own[0], own[1]) of
 * each dimension of the volume. */
typedef struct place { uint32_t volume; int start[3], own[3][2]; } place;

static int tiles_along(int size, int patch)
{
  return size <= patch ? 1 : (size + patch - 1) / patch;
}

static uint32_t tiles_of(const ebb_patch_set *s, uint32_t volume)
{
  const int *size = s->volumes.at[volume].size;
  return (uint32_t)(tiles_along(size[0], s->patch[0]) * tiles_along(size[1], s->patch[1]) * tiles_along(size[2], s->patch[2]));
}

/* Of n tiles the first begins at 0 and the last ends at the border; smaller volumes stand in the middle. */
static int tile_start(int size, int patch, int n, int i)
{
  if (size <= patch) return -((patch - size) / 2);
  return n == 1 ? 0 : (int)((int64_t)(size - patch) * i / (n - 1));
}

static void tile_along(place *p, int axis, int size, int patch, int i)
{
  int n = tiles_along(size, patch);
  p->start[axis] = tile_start(size, patch, n, i);
  p->own[axis][0] = i == 0 ? 0 : (tile_start(size, patch, n, i - 1) + patch + p->start[axis]) / 2;
  p->own[axis][1] = i == n - 1 ? size : (p->start[axis] + patch + tile_start(size, patch, n, i + 1)) / 2;
}

static place tile(const patches *t, uint64_t position)
{
  place p = {0};
  const ebb_patch_set *s = t->set;
  while (t->first_tile[p.volume + 1] <= position) p.volume++;
  const int *size = s->volumes.at[p.volume].size;
  int i = (int)(position - t->first_tile[p.volume]), w = tiles_along(size[2], s->patch[2]), h = tiles_along(size[1], s->patch[1]);
  tile_along(&p, 0, size[0], s->patch[0], i / (w * h));
  tile_along(&p, 1, size[1], s->patch[1], i / w % h);
  tile_along(&p, 2, size[2], s->patch[2], i % w);
  return p;
}

static int clamp(int v, int low, int high)
{
  return v < low ? low : v > high ? high : v;
}

static place random_patch(const patches *t, uint64_t position)
{
  const ebb_patch_set *s = t->set;
  ebb_rng g = {t->seed, EBB_RNG_AUGMENT, t->epoch};
  place p = {.volume = t->order[position % (uint64_t)s->volumes.count]};
  const ebb_volume *v = &s->volumes.at[p.volume];
  bool centred = v->foreground_count > 0 && ebb_rng_uniform(g, 16 * position) < s->foreground;
  uint32_t site = centred ? v->foreground[ebb_rng_below(g, 16 * position + 1, (uint64_t)v->foreground_count)] : 0;
  int centre[3] = {(int)(site / (uint32_t)(v->size[1] * v->size[2])), (int)(site / (uint32_t)v->size[2] % (uint32_t)v->size[1]),
                   (int)(site % (uint32_t)v->size[2])};
  for (int i = 0; i < 3; i++) {
    int room = v->size[i] - s->patch[i];
    uint64_t at = 16 * position + 2 + (uint64_t)i;
    if (room <= 0) p.start[i] = -((-room) / 2);
    else if (centred) p.start[i] = clamp(centre[i] - (int)ebb_rng_below(g, at, (uint64_t)s->patch[i]), 0, room);
    else p.start[i] = (int)ebb_rng_below(g, at, (uint64_t)room + 1);
    p.own[i][1] = v->size[i];
  }
  return p;
}

/* 0: labels are hard. */
static int soft_classes(const ebb_patch_set *s)
{
  return s->map.soft ? s->classes : 0;
}

/* ---- reading it ---------------------------------------------------------------------------------------------------------- */
static size_t sites_of(const int size[3])
{
  return (size_t)size[0] * (size_t)size[1] * (size_t)size[2];
}

/* The place as large as `to`. */
static ebb_status read_place(ebb_patch *to, patches *t, const place *p)
{
  EBB_TRY(ebb_reader_image(&t->reader, to->x, (int)p->volume, p->start, to->size));
  return ebb_reader_labels(&t->reader, to->labels, to->soft, (int)p->volume, p->start, to->size, p->own);
}

/* A random patch, changed by the augmentations. */
static ebb_status read_changed(ebb_patch *to, patches *t, place p, uint64_t number)
{
  const ebb_augment *a = &t->set->augment;
  int rank = t->set->volumes.rank;
  ebb_rng g = {t->seed ^ UINT64_C(0x5851f42d4c957f2d), EBB_RNG_AUGMENT, t->epoch};
  ebb_patch scratch = t->wide;
  for (int i = 0; i < 3; i++) p.start[i] -= t->margin[i];
  if (ebb_augment_warps(a)) {
    EBB_TRY(read_place(&t->wide, t, &p));
    ebb_augment_warp(*to, t->wide, a, rank, g, number);
  } else {
    EBB_TRY(read_place(to, t, &p));
  }
  ebb_augment_mirror(*to, a, scratch, g, number);
  ebb_augment_values(*to, a, scratch.x, rank, g, number);
  return EBB_OK;
}

static ebb_status read_sample(patches *t, ebb_batch *y, int i)
{
  const ebb_patch_set *s = t->set;
  size_t sites = sites_of(s->patch), at = (size_t)i * sites;
  uint64_t number = t->position + (uint64_t)i;
  place p = t->training ? random_patch(t, number) : tile(t, number);
  ebb_patch to = {.size = {s->patch[0], s->patch[1], s->patch[2]}, .channels = s->volumes.channels, .soft_channels = soft_classes(s),
                  .x = (ebb_real *)y->x.p + at * (size_t)s->volumes.channels, .labels = y->labels + at};
  if (to.soft_channels) to.soft = (ebb_real *)y->soft.p + at * (size_t)to.soft_channels;
  y->index[i] = p.volume;
  return t->training ? read_changed(&to, t, p, number) : read_place(&to, t, &p);
}

/* ---- the source ---------------------------------------------------------------------------------------------------------- */
static ebb_status fill(ebb_ahead *a, ebb_batch *y)
{
  patches *t = (patches *)a;
  uint64_t all = t->ahead.source.samples, left = all > t->position ? all - t->position : 0;
  int n = left < (uint64_t)t->size ? (int)left : t->size;
  if (t->training && n < t->size) n = 0;
  y->x.s.n = n;
  if (y->soft.s.rank) y->soft.s.n = n;
  for (int i = 0; i < n; i++) EBB_TRY(read_sample(t, y, i));
  t->position += (uint64_t)n;
  return EBB_OK;
}

static void rewind_to(ebb_ahead *a, uint32_t epoch, uint64_t cursor)
{
  patches *t = (patches *)a;
  t->epoch = epoch;
  t->position = cursor;
  if (t->training) ebb_rng_permutation(t->order, (ebb_rng){t->seed, EBB_RNG_SHUFFLE, epoch}, (uint32_t)t->set->volumes.count);
}

static ebb_status seek(ebb_source *source, uint32_t epoch, uint64_t cursor)
{
  if (cursor > source->samples)
    return ebb_fail(EBB_DATA, "%s: expected a position of at most %llu samples, found %llu\nhint: the data is not the one the training "
                              "began with", source->name, (unsigned long long)source->samples, (unsigned long long)cursor);
  ebb_ahead_seek((ebb_ahead *)source, epoch, cursor);
  return EBB_OK;
}

static void close_source(ebb_source *source)
{
  patches *t = (patches *)source;
  ebb_pool pool = t->pool; /* holds t itself */
  ebb_ahead_stop(&t->ahead);
  ebb_reader_close(&t->reader);
  ebb_arena_destroy(&t->memory);
  ebb_pool_clear(&pool);
}

static const ebb_source_ops ops = {ebb_ahead_next, seek, close_source};

/* ---- memory, and opening ------------------------------------------------------------------------------------------------- */
static ebb_shape batch_shape(const ebb_patch_set *s, int batch)
{
  return (ebb_shape){.rank = s->volumes.rank, .n = batch, .d = s->patch[0], .h = s->patch[1], .w = s->patch[2], .c = s->volumes.channels};
}

/* Of soft labels. */
static ebb_shape soft_shape(const ebb_patch_set *s, int batch)
{
  ebb_shape x = batch_shape(s, batch);
  x.c = soft_classes(s);
  return x;
}

/* A patch with its margin. */
static size_t wide_sites(const ebb_patch_set *s)
{
  int margin[3];
  size_t sites = 1;
  ebb_augment_margin(margin, &s->augment, s->patch, s->volumes.rank);
  for (int i = 0; i < 3; i++) sites *= (size_t)(s->patch[i] + 2 * margin[i]);
  return sites;
}

static size_t wide_values(const ebb_patch_set *s)
{
  return wide_sites(s) * (size_t)s->volumes.channels;
}

/* Of a box of raw data or of labels as it is in the file. */
static size_t box_bytes(const ebb_patch_set *s)
{
  return wide_sites(s) * (size_t)s->volumes.box_channels * sizeof(double);
}

/* Of all buffers. */
static size_t soft_bytes(const ebb_patch_set *s, int batch)
{
  if (!soft_classes(s)) return 0;
  return EBB_AHEAD_BUFFERS * ebb_align(ebb_bytes(soft_shape(s, batch))) + ebb_align(wide_sites(s) * (size_t)soft_classes(s) * sizeof(ebb_real));
}

static size_t tables_bytes(const ebb_patch_set *s)
{
  return 2 * ebb_align(((size_t)s->volumes.count + 1) * sizeof(uint32_t));
}

static size_t arena_bytes(const ebb_patch_set *s, int batch)
{
  ebb_shape x = batch_shape(s, batch);
  return ebb_data_batch_bytes(x, ebb_sites(x)) + ebb_align(box_bytes(s)) +
         ebb_align(wide_values(s) * sizeof(ebb_real)) + ebb_align(wide_sites(s) * sizeof(int32_t)) + tables_bytes(s) + soft_bytes(s, batch);
}

size_t ebb_patches_bytes(const ebb_patch_set *s, int batch)
{
  return arena_bytes(s, batch) + s->volumes.working_bytes;
}

uint64_t ebb_patches_count(const ebb_patch_set *s, bool training, int batch)
{
  uint64_t count = 0;
  if (training) return (uint64_t)s->volumes.count * (uint64_t)s->per_volume / (uint64_t)batch * (uint64_t)batch;
  for (int i = 0; i < s->volumes.count; i++) count += tiles_of(s, (uint32_t)i);
  return count;
}

static void take_memory(patches *t)
{
  const ebb_patch_set *s = t->set;
  size_t volumes = (size_t)s->volumes.count;
  ebb_shape x = t->ahead.source.shape, soft = soft_shape(s, t->size);
  t->order = ebb_arena_low(&t->memory, (volumes + 1) * sizeof *t->order, EBB_USE_KEPT);
  t->first_tile = ebb_arena_low(&t->memory, (volumes + 1) * sizeof *t->first_tile, EBB_USE_KEPT);
  t->reader.numbers = ebb_arena_low(&t->memory, box_bytes(s), EBB_USE_KEPT);
  t->wide.x = ebb_arena_low(&t->memory, wide_values(s) * sizeof(ebb_real), EBB_USE_KEPT);
  t->wide.labels = ebb_arena_low(&t->memory, wide_sites(s) * sizeof(int32_t), EBB_USE_KEPT);
  t->wide.channels = s->volumes.channels;
  t->wide.soft_channels = soft.c;
  if (soft.c) t->wide.soft = ebb_arena_low(&t->memory, wide_sites(s) * (size_t)soft.c * sizeof(ebb_real), EBB_USE_KEPT);
  ebb_augment_margin(t->margin, &s->augment, s->patch, s->volumes.rank);
  for (int i = 0; i < 3; i++) t->wide.size[i] = s->patch[i] + 2 * t->margin[i];
  for (int i = 0; i < EBB_AHEAD_BUFFERS; i++) {
    ebb_batch *y = &t->ahead.buffer[i].batch;
    y->x = ebb_view_of(ebb_arena_low(&t->memory, ebb_bytes(x), EBB_USE_KEPT), x);
    y->labels = ebb_arena_low(&t->memory, ebb_sites(x) * sizeof *y->labels, EBB_USE_KEPT);
    y->index = ebb_arena_low(&t->memory, (size_t)x.n * sizeof *y->index, EBB_USE_KEPT);
    if (soft.c) y->soft = ebb_view_of(ebb_arena_low(&t->memory, ebb_bytes(soft), EBB_USE_KEPT), soft);
  }
  t->first_tile[0] = 0;
  for (size_t i = 0; i < volumes; i++) t->first_tile[i + 1] = t->first_tile[i] + tiles_of(s, (uint32_t)i);
}

ebb_status ebb_patches_open(ebb_source **source, const ebb_patch_set *s, const char *name, int batch, bool training, uint64_t seed)
{
  ebb_pool pool = {0};
  patches *t = EBB_POOL_NEW(&pool, patches);
  t->pool = pool;
  t->set = s;
  t->reader = (ebb_reader){.volumes = &s->volumes, .map = &s->map, .classes = s->classes};
  t->training = training;
  t->seed = seed;
  t->size = batch;
  t->ahead.fill = fill;
  t->ahead.rewind = rewind_to;
  t->ahead.source = (ebb_source){.ops = &ops, .name = name, .shape = batch_shape(s, batch), .classes = s->classes,
                                 .samples = ebb_patches_count(s, training, batch), .bytes = ebb_patches_bytes(s, batch)};
  ebb_status status = ebb_arena_create(&t->memory, "batch", arena_bytes(s, batch));
  if (status == EBB_OK) {
    take_memory(t);
    rewind_to(&t->ahead, 0, 0);
    status = ebb_ahead_start(&t->ahead);
  }
  if (status == EBB_OK) return *source = &t->ahead.source, EBB_OK;
  close_source(&t->ahead.source);
  return status;
}
