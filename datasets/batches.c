/* batches.c -- the samples of a set as batches.
 * Owns: in what order and by what pieces a set is read. Must not know: threads (ahead.c), what a model does with a batch.
 * What a batch holds depends on (seed, epoch, cursor) only, never on when it was read. */
#include <string.h>

#include "datasets/ahead.h"
#include "datasets/data.h"
#include "datasets/order.h"
#include "datasets/stats.h"
#include "datasets/tables.h"

/* How a set is read. direct: any sample by itself; else by blocks, into a window of several. */
typedef struct reading {
  bool direct;
  uint32_t block, window; /* see order.h                                    */
  size_t samples;         /* room for the file's own numbers, in samples    */
} reading;

typedef struct batches {
  ebb_ahead ahead;   /* first: an ebb_source is one of these           */
  const ebb_set *set;
  const ebb_norm *norm;
  ebb_pool pool;
  ebb_arena memory;
  ebb_h5 *file;
  reading reading;
  ebb_order order;
  char *numbers;   /* (reading.samples, values) as in the file       */
  uint32_t loaded; /* the window in `numbers`; UINT32_MAX: none      */
  bool training;
  int size, pad; /* of a batch                                     */
  bool flip;
  uint64_t seed;
  uint32_t epoch;
  uint64_t position; /* the sample to be read next                     */
} batches;

/* ---- memory ---------------------------------------------------------------------------------------------------- */
static reading plan_reading(const ebb_set *s, size_t window_bytes, int batch, bool shuffled)
{
  const ebb_h5_dataset *x = s->images;
  if (!x->filtered) return (reading){.direct = true, .block = s->samples, .window = 1, .samples = (size_t)batch};
  uint32_t block = x->chunk[0] < s->samples ? (uint32_t)x->chunk[0] : s->samples;
  uint32_t blocks = s->samples / block + (s->samples % block != 0);
  size_t fit = window_bytes / (block * ebb_count(s->axes.shape) * x->bytes);
  uint32_t window = !shuffled || fit < 1 ? 1 : fit < blocks ? (uint32_t)fit : blocks;
  return (reading){.block = block, .window = window, .samples = (size_t)window * block};
}

static size_t numbers_bytes(const ebb_set *s, const reading *r)
{
  return r->samples * ebb_count(s->axes.shape) * s->images->bytes;
}

size_t ebb_data_batch_bytes(ebb_shape batch, size_t labels)
{
  size_t n = (size_t)batch.n;
  return EBB_AHEAD_BUFFERS * (ebb_align(ebb_bytes(batch)) + ebb_align(labels * sizeof(int32_t)) + ebb_align(n * sizeof(uint32_t)));
}

static ebb_shape batch_shape(const ebb_data *data, int batch)
{
  ebb_shape s = data->shape;
  s.n = batch;
  return s;
}

static size_t arena_bytes(const ebb_data *data, const ebb_set *s, const reading *r, int batch)
{
  return ebb_align(numbers_bytes(s, r)) + ebb_align(ebb_order_tables(s->samples, r->block) * sizeof(uint32_t)) +
         ebb_data_batch_bytes(batch_shape(data, batch), (size_t)batch);
}

/* The arena, the labels, and what libhdf5 takes for itself. */
static size_t all_bytes(const ebb_data *data, ebb_split split, int batch, bool shuffled)
{
  const ebb_data_parts *p = ebb_data_inside(data);
  const ebb_set *s = &p->set[split];
  if (data->maps) return data->samples[split] ? ebb_patches_bytes(&p->maps[split], batch) : 0;
  if (!s->name) return 0;
  reading r = plan_reading(s, p->options.window, batch, shuffled);
  return arena_bytes(data, s, &r, batch) + s->memory.size + ebb_h5_working_bytes(s->images);
}

size_t ebb_data_train_bytes(const ebb_data *data, int batch)
{
  return all_bytes(data, EBB_TRAIN_SET, batch, true);
}

size_t ebb_data_eval_bytes(const ebb_data *data, ebb_split split, int batch)
{
  return all_bytes(data, split, batch, false);
}

static void take_memory(batches *b)
{
  const ebb_set *s = b->set;
  size_t n = (size_t)b->size;
  b->numbers = ebb_arena_low(&b->memory, numbers_bytes(s, &b->reading), EBB_USE_KEPT);
  size_t tables = ebb_order_tables(s->samples, b->reading.block) * sizeof(uint32_t);
  ebb_order_init(&b->order, ebb_arena_low(&b->memory, tables, EBB_USE_KEPT), s->samples, b->reading.block,
                 b->reading.window);
  for (int i = 0; i < EBB_AHEAD_BUFFERS; i++) {
    ebb_batch *y = &b->ahead.buffer[i].batch;
    y->x = ebb_view_of(ebb_arena_low(&b->memory, ebb_bytes(b->ahead.source.shape), EBB_USE_KEPT), b->ahead.source.shape);
    y->labels = ebb_arena_low(&b->memory, n * sizeof *y->labels, EBB_USE_KEPT);
    y->index = ebb_arena_low(&b->memory, n * sizeof *y->index, EBB_USE_KEPT);
  }
}

/* ---- reading --------------------------------------------------------------------------------------------------- */
static size_t sample_bytes(const batches *b)
{
  return ebb_count(b->set->axes.shape) * b->set->images->bytes;
}

static ebb_status place_sample(batches *b, ebb_batch *y, uint32_t i, const char *numbers)
{
  const ebb_set *s = b->set;
  uint32_t sample = y->index[i];
  ebb_crop crop = {0};
  if (b->training) crop = ebb_crop_draw(s->axes.shape, b->pad, b->flip, b->seed, b->epoch, sample);
  ebb_real *x = (ebb_real *)y->x.p + (size_t)i * ebb_count(s->axes.shape);
  y->labels[i] = s->label ? s->label[sample] : -1;
  if (ebb_sample_place(x, numbers, s->images->kind, &s->axes, b->norm, crop)) return EBB_OK;
  return ebb_layout_table(&s->axes) ? ebb_table_refuse(s, numbers, sample) : ebb_stats_refuse(s->name, sample);
}

/* Samples that lie one after the other in the file are read at once. */
static ebb_status read_direct(batches *b, ebb_batch *y, uint32_t n)
{
  for (uint32_t i = 0; i < n;) {
    uint32_t run = 1;
    while (i + run < n && y->index[i + run] == y->index[i] + run) run++;
    EBB_TRY(ebb_h5_read_rows(b->numbers + i * sample_bytes(b), b->file, y->index[i], run));
    i += run;
  }
  for (uint32_t i = 0; i < n; i++) EBB_TRY(place_sample(b, y, i, b->numbers + i * sample_bytes(b)));
  return EBB_OK;
}

static ebb_status load_window(batches *b, uint32_t window)
{
  const ebb_order *o = &b->order;
  b->loaded = UINT32_MAX;
  for (uint32_t slot = 0; slot < o->window && window * o->window + slot < o->blocks; slot++) {
    uint32_t first = o->block_at[window * o->window + slot] * o->block;
    uint32_t count = o->samples - first < o->block ? o->samples - first : o->block;
    EBB_TRY(ebb_h5_read_rows(b->numbers + (size_t)slot * o->block * sample_bytes(b), b->file, first, count));
  }
  b->loaded = window;
  return EBB_OK;
}

static ebb_status read_windows(batches *b, ebb_batch *y, uint32_t n)
{
  const ebb_order *o = &b->order;
  for (uint32_t i = 0; i < n; i++) {
    uint32_t sample = y->index[i], place = o->place_of[sample / o->block];
    if (place / o->window != b->loaded) EBB_TRY(load_window(b, place / o->window));
    size_t at = (size_t)(place % o->window) * o->block + sample % o->block;
    EBB_TRY(place_sample(b, y, i, b->numbers + at * sample_bytes(b)));
  }
  return EBB_OK;
}

static ebb_status fill(ebb_ahead *a, ebb_batch *y)
{
  batches *b = (batches *)a;
  uint64_t left = b->ahead.source.samples > b->position ? b->ahead.source.samples - b->position : 0;
  uint32_t n = left < (uint64_t)b->size ? (uint32_t)left : (uint32_t)b->size;
  if (b->training && n < (uint32_t)b->size) n = 0;
  y->x.s.n = (int)n;
  memcpy(y->index, b->order.sample_at + b->position, n * sizeof *y->index);
  EBB_TRY(b->reading.direct ? read_direct(b, y, n) : read_windows(b, y, n));
  b->position += n;
  return EBB_OK;
}

/* ---- the interface --------------------------------------------------------------------------------------------- */
/* The order of `epoch`; windows loaded for another order are void. */
static void set_order(batches *b, uint32_t epoch)
{
  b->epoch = epoch;
  if (!b->training) return;
  ebb_order_shuffle(&b->order, b->seed, epoch);
  if (b->order.window < b->order.blocks) b->loaded = UINT32_MAX;
}

static void rewind_to(ebb_ahead *a, uint32_t epoch, uint64_t cursor)
{
  batches *b = (batches *)a;
  if (epoch != b->epoch) set_order(b, epoch);
  b->position = cursor;
}

static ebb_status seek(ebb_source *source, uint32_t epoch, uint64_t cursor)
{
  batches *b = (batches *)source;
  if (cursor > b->set->samples)
    return ebb_fail(EBB_DATA,
                    "%s: expected a position of at most %u samples, found %llu\nhint: the data is not the one "
                    "the training began with",
                    b->ahead.source.name, b->set->samples, (unsigned long long)cursor);
  ebb_ahead_seek(&b->ahead, epoch, cursor);
  return EBB_OK;
}

static void close_source(ebb_source *source)
{
  batches *b = (batches *)source;
  ebb_pool pool = b->pool; /* holds b itself */
  ebb_ahead_stop(&b->ahead);
  ebb_h5_close(b->file);
  ebb_arena_destroy(&b->memory);
  ebb_pool_clear(&pool);
}

static const ebb_source_ops ops = {ebb_ahead_next, seek, close_source};

/* ---- opening --------------------------------------------------------------------------------------------------- */
/* The set's images in the file opened anew, which must still be what was described. */
static ebb_status open_images(batches *b)
{
  const ebb_h5_dataset *was = b->set->images;
  EBB_TRY(ebb_h5_open(&b->file, b->set->file, &b->pool));
  ebb_h5_list list = ebb_h5_datasets(b->file);
  for (int i = 0; i < list.count; i++) {
    const ebb_h5_dataset *d = &list.at[i];
    if (strcmp(d->path, was->path) == 0 && d->rank == was->rank && d->kind == was->kind && !d->trouble &&
        memcmp(d->dims, was->dims, sizeof d->dims) == 0)
      return ebb_h5_choose(b->file, d);
  }
  return ebb_fail(EBB_DATA,
                  "%s: expected what it held a moment ago, found a changed file\nhint: leave it as it is while it "
                  "is in use",
                  b->ahead.source.name);
}

static ebb_status fill_in(batches *b, const ebb_data *data, int batch)
{
  const ebb_data_parts *p = ebb_data_inside(data);
  const ebb_set *s = b->set;
  b->norm = p->norm;
  b->pad = p->options.pad;
  b->flip = p->options.flip;
  b->size = batch;
  b->reading = plan_reading(s, p->options.window, batch, b->training);
  b->loaded = UINT32_MAX;
  b->ahead.source = (ebb_source){.ops = &ops, .name = s->name, .classes = data->classes, .shape = batch_shape(data, batch)};
  b->ahead.source.samples = b->training ? s->samples - s->samples % (uint32_t)batch : s->samples;
  b->ahead.source.bytes = all_bytes(data, s->split, batch, b->training);
  EBB_TRY(open_images(b));
  EBB_TRY(ebb_arena_create(&b->memory, "batch", arena_bytes(data, s, &b->reading, batch)));
  take_memory(b);
  set_order(b, 0); /* reading ahead begins with the first seek or next */
  return EBB_OK;
}

static ebb_status open_source(ebb_source **source, const ebb_data *data, ebb_split split, int batch, bool training,
                              uint64_t seed)
{
  const ebb_set *s = &ebb_data_inside(data)->set[split];
  *source = NULL;
  EBB_ASSERT(batch > 0, "a batch of %d", batch);
  if (!data->samples[split])
    return ebb_fail(EBB_CONFIG, "data.%s: expected a set, found none\nhint: give data.%s=FILE.h5",
                    split == EBB_TRAIN_SET ? "train" : "val", split == EBB_TRAIN_SET ? "train" : "val");
  if (data->maps && (!training || (uint64_t)batch <= data->samples[split]))
    return ebb_patches_open(source, &ebb_data_inside(data)->maps[split], data->name[split], batch, training, seed);
  if (training && (uint64_t)batch > data->samples[split])
    return ebb_fail(EBB_CONFIG,
                    "%s: expected at least one batch of %d samples, found %llu samples\nhint: lower train.batch",
                    data->name[split], batch, (unsigned long long)data->samples[split]);
  ebb_pool pool = {0};
  batches *b = EBB_POOL_NEW(&pool, batches);
  b->pool = pool;
  b->set = s;
  b->training = training;
  b->seed = seed;
  b->ahead.fill = fill;
  b->ahead.rewind = rewind_to;
  ebb_status status = fill_in(b, data, batch);
  if (status == EBB_OK) status = ebb_ahead_start(&b->ahead);
  if (status == EBB_OK) return *source = &b->ahead.source, EBB_OK;
  close_source(&b->ahead.source);
  return status;
}

ebb_status ebb_data_train(ebb_source **source, const ebb_data *data, int batch, uint64_t seed)
{
  return open_source(source, data, EBB_TRAIN_SET, batch, true, seed);
}

ebb_status ebb_data_eval(ebb_source **source, const ebb_data *data, ebb_split split, int batch)
{
  return open_source(source, data, split, batch, false, 0);
}
