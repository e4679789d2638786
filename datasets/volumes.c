/* volumes.c -- finds the volumes of a set and reads each once, slab by slab; see volumes.h. */
#include "datasets/volumes.h"

#include <math.h>
#include <string.h>

#include "datasets/places.h"
#include "datasets/volumes_parts.h"

#define SLAB_BYTES ((size_t)8 << 20)
#define UM_OF_MM   1000.0
#define SOFT_SUM_ERROR 0.01 /* of probabilities that were stored in half precision or rounded */

static size_t largest(size_t a, size_t b)
{
  return a > b ? a : b;
}

/* ---- boxes -------------------------------------------------------------------------------------------------------- */
static int site_axis(char letter)
{
  return letter == 'd' ? 0 : letter == 'h' ? 1 : letter == 'w' ? 2 : -1;
}

ebb_status ebb_box_read(ebb_box *box, void *numbers, ebb_h5 *f, const ebb_h5_dataset *d, const char *axes, uint32_t sample)
{
  uint64_t start[EBB_H5_RANK], count[EBB_H5_RANK];
  ptrdiff_t step = 1;
  box->d = box->h = box->w = box->c = 0;
  for (int i = d->rank - 1; i >= 0; i--) {
    int site = site_axis(axes[i]);
    start[i] = site >= 0 ? (uint64_t)box->start[site] : axes[i] == 'n' ? sample : 0;
    count[i] = site >= 0 ? (uint64_t)box->size[site] : axes[i] == 'n' ? 1 : d->dims[i];
    ptrdiff_t *to = site == 0 ? &box->d : site == 1 ? &box->h : site == 2 ? &box->w : axes[i] == 'c' ? &box->c : NULL;
    if (to) *to = step;
    step *= (ptrdiff_t)count[i];
  }
  return ebb_h5_read(numbers, f, start, count);
}

double ebb_raw_value(const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x, int channel)
{
  static const double share[] = {0.299, 0.587, 0.114}; /* ITU-R BT.601 */
  ptrdiff_t at = z * b->d + y * b->h + x * b->w;
  double sum = 0;
  if (!s->grey) return ebb_h5_value(numbers, s->raw->kind, (size_t)(at + channel * b->c));
  for (int k = 0; k < 3; k++) sum += share[k] * ebb_h5_value(numbers, s->raw->kind, (size_t)(at + k * b->c));
  return sum;
}

int ebb_soft_classes(const ebb_stack *s)
{
  return !s->soft ? 0 : s->masks ? s->masks : 2;
}

void ebb_soft_values(double *t, const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x)
{
  ptrdiff_t at = z * b->d + y * b->h + x * b->w;
  for (int k = 0; k < s->masks; k++) t[k] = ebb_h5_value(numbers, s->label->kind, (size_t)(at + k * b->c));
  if (s->masks) return;
  t[1] = ebb_h5_value(numbers, s->label->kind, (size_t)at);
  t[0] = 1 - t[1];
}

static int most_probable(const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x)
{
  double t[EBB_CHANNELS_MOST];
  int best = 0;
  ebb_soft_values(t, s, b, numbers, z, y, x);
  for (int k = 1; k < ebb_soft_classes(s); k++)
    if (t[k] > t[best]) best = k;
  return best;
}

double ebb_label_value(const ebb_stack *s, const ebb_box *b, const void *numbers, int z, int y, int x)
{
  ptrdiff_t at = z * b->d + y * b->h + x * b->w;
  double found = 0;
  if (s->soft) return most_probable(s, b, numbers, z, y, x);
  if (s->masks == 0) return ebb_h5_value(numbers, s->label->kind, (size_t)at);
  for (int k = 0; k < s->masks; k++)
    if (ebb_h5_value(numbers, s->label->kind, (size_t)(at + k * b->c)) != 0) found = found == 0 ? k + 1 : NAN;
  return found;
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */
static uint64_t extent(const ebb_h5_dataset *d, const char *axes, char letter)
{
  const char *at = strchr(axes, letter);
  return at ? d->dims[at - axes] : 1;
}

typedef struct finder {
  ebb_volumes *v;
  ebb_notes *notes, quiet;    /* quiet: for all files but the first */
  const ebb_data_options *o;
  ebb_pool *pool;
  ebb_split split;
  const ebb_shape *x;         /* of the network, if images are to be predicted; else NULL */
  bool single, soft;          /* soft: labels are probabilities                           */
  int64_t first, last;        /* of samples, where one file holds them */
  int room;
} finder;

static void append(finder *k, const ebb_stack *s, uint32_t sample)
{
  ebb_volumes *v = k->v;
  if (v->count == k->room) {
    k->room = k->room ? 2 * k->room : 64;
    ebb_volume *more = ebb_pool_take(k->pool, (size_t)k->room * sizeof *more);
    if (v->count) memcpy(more, v->at, (size_t)v->count * sizeof *more);
    v->at = more;
  }
  ebb_volume *x = &v->at[v->count++];
  *x = (ebb_volume){.stack = s, .sample = sample};
  static const char letters[] = "dhw";
  for (int i = 0; i < 3; i++) {
    x->spacing[i] = s->raw->element_um[i] > 0 ? s->raw->element_um[i] / UM_OF_MM : 1;
    x->size[i] = (int)extent(s->raw, s->raw_axes, letters[i]);
    if (x->size[i] > v->largest[i]) v->largest[i] = x->size[i];
  }
}

static int rank_of(const ebb_stack *s)
{
  bool flat = extent(s->raw, s->raw_axes, 'd') == 1;
  return strchr(s->raw_axes, 'd') && !flat ? 3 : strchr(s->raw_axes, 'h') ? 2 : 1;
}

/* Numbers that are given fit the channels. */
static ebb_status check_given(const ebb_numbers *n, int channels, const char *option)
{
  if (n->count <= 1 || n->count == channels) return EBB_OK;
  return ebb_fail(EBB_CONFIG, "data.%s: expected 1 or %d numbers, one a channel, found %d", option, channels, n->count);
}

/* All files of a set have the same dimensions and channels. */
static ebb_status agree(finder *k, const ebb_stack *s)
{
  int rank = k->x ? k->x->rank : rank_of(s), channels = s->grey ? 1 : (int)extent(s->raw, s->raw_axes, 'c');
  ebb_volumes *v = k->v;
  if (v->count == 0) v->rank = rank, v->channels = channels;
  EBB_TRY(check_given(&k->o->mean, channels, "mean"));
  EBB_TRY(check_given(&k->o->std, channels, "std"));
  for (int i = 0; i < k->o->std.count; i++)
    if (!(k->o->std.at[i] > 0)) return ebb_fail(EBB_CONFIG, "data.std: expected numbers above 0, found %g", k->o->std.at[i]);
  if (channels > EBB_CHANNELS_MOST)
    return ebb_fail(EBB_DATA, "%s:%s: expected at most %d channels, found %d\nhint: data.axes says which axis they are", s->file, s->raw->path,
                    EBB_CHANNELS_MOST, channels);
  if (v->rank == rank && v->channels == channels) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s:%s: expected %d-D data of %d channels, as in %s, found %d-D of %d\nhint: keep files of other kinds apart",
                  s->file, s->raw->path, v->rank, v->channels, v->at[0].stack->file, rank, channels);
}

/* Soft labels of all files are of the same classes. */
static ebb_status agree_soft(finder *k, ebb_stack *s)
{
  s->soft = s->label && k->soft;
  int classes = ebb_soft_classes(s), most = k->v->count ? ebb_soft_classes(k->v->at[0].stack) : EBB_CHANNELS_MOST;
  if (k->v->count ? classes == most : classes <= most) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s:%s: expected probabilities of %s%d classes, found %d\nhint: keep files of other classes apart", s->file, s->label->path,
                  k->v->count ? "" : "at most ", most, classes);
}

static ebb_status require_values(const ebb_stack *s, const ebb_h5_dataset *d, ebb_pool *pool)
{
  if (d && d->trouble) return ebb_fail(EBB_DATA, "%s:%s: expected numbers, but %s", s->file, d->path, d->trouble);
  if (!d || d->count > 0) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s:%s: expected values, found an empty dataset, %s", s->file, d->path, ebb_h5_describe(d, pool));
}

static ebb_status describe(finder *k, const ebb_h5 *f, const char *group)
{
  ebb_notes *notes = k->v->count ? &k->quiet : k->notes;
  ebb_stack *s = EBB_POOL_NEW(k->pool, ebb_stack);
  k->quiet.count = 0;
  s->file = ebb_h5_path(f);
  if (k->x) EBB_TRY(ebb_layout_find_images(&s->raw, &s->label, notes, f, group, k->split, k->o->raw, k->o->label));
  else EBB_TRY(ebb_layout_find(&s->raw, &s->label, notes, f, group, k->split, k->o->raw, k->o->label));
  EBB_TRY(require_values(s, s->raw, k->pool));
  EBB_TRY(require_values(s, s->label, k->pool));
  EBB_TRY(k->x ? ebb_volumes_axes_for(s, notes, f, k->o->axes, *k->x, *k->o->label) : ebb_volumes_axes(s, notes, f, k->o->axes, !k->single));
  EBB_TRY(agree(k, s));
  EBB_TRY(agree_soft(k, s));
  int64_t samples = (int64_t)extent(s->raw, s->raw_axes, 'n'), last = k->last < samples ? k->last : samples;
  if (k->first >= last)
    return ebb_fail(EBB_CONFIG, "%s: expected samples %lld and up, found %lld\nhint: the range behind the name counts from 0", s->file,
                    (long long)k->first, (long long)samples);
  for (int64_t i = k->first; i < last; i++) append(k, s, (uint32_t)i);
  k->v->working_bytes = largest(k->v->working_bytes, largest(ebb_h5_working_bytes(s->raw), s->label ? ebb_h5_working_bytes(s->label) : 0));
  k->v->box_channels = (int)largest((size_t)k->v->box_channels, largest((size_t)extent(s->raw, s->raw_axes, 'c'), (size_t)s->masks));
  k->v->value_bytes = largest(k->v->value_bytes, s->raw->bytes);
  return EBB_OK;
}

/* ---- reading once -------------------------------------------------------------------------------------------------- */
typedef struct sums { double pivot, sum, squares; uint64_t count; } sums;

static void take(sums *s, double v)
{
  if (s->count++ == 0) s->pivot = v;
  s->sum += v - s->pivot;
  s->squares += (v - s->pivot) * (v - s->pivot);
}

/* One number a channel, or one for all of them. */
static double given(const ebb_numbers *n, int channel)
{
  return n->at[n->count == 1 ? 0 : channel];
}

/* As the options say, else the volume's own. */
static void settle(ebb_volume *v, int channel, const sums *s, const ebb_data_options *o)
{
  double n = (double)s->count, off = s->sum / n, variance = s->squares / n - off * off;
  v->mean[channel] = o->mean.count ? given(&o->mean, channel) : s->pivot + off;
  v->std[channel] = o->std.count ? given(&o->std, channel) : variance > 0 ? sqrt(variance) : 1; /* constant: not scaled */
}

static ebb_status scan_raw(sums *all, const ebb_volume *v, const ebb_box *b, const void *numbers, int channels)
{
  const ebb_h5_dataset *d = v->stack->raw;
  for (int z = 0; z < b->size[0]; z++)
    for (int y = 0; y < b->size[1]; y++)
      for (int x = 0; x < b->size[2]; x++)
        for (int c = 0; c < channels; c++) {
          double value = ebb_raw_value(v->stack, b, numbers, z, y, x, c);
          if (!isfinite(value))
            return ebb_fail(EBB_DATA, "%s:%s: expected finite values, found %g at sample %u, voxel (%d, %d, %d)\nhint: replace such values "
                            "or leave the file out", v->stack->file, d->path, value, v->sample, z + b->start[0], y + b->start[1], x + b->start[2]);
          take(&all[c], value);
        }
  return EBB_OK;
}

/* Every `*stride`-th site of the foreground; when there are too many, every other of these goes. */
static void note_point(ebb_volume *v, uint64_t site, uint64_t *seen, uint64_t *stride)
{
  if ((*seen)++ % *stride) return;
  if (v->foreground_count == EBB_VOLUME_POINTS) {
    for (int i = 0; i < EBB_VOLUME_POINTS / 2; i++) v->foreground[i] = v->foreground[2 * i];
    v->foreground_count = EBB_VOLUME_POINTS / 2;
    *stride *= 2;
  }
  v->foreground[v->foreground_count++] = (uint32_t)site;
}

/* What is counted of the labels of one volume. */
typedef struct label_scan { uint64_t seen, stride, zeros; double background; bool again; } label_scan;

/* Probabilities are 0 to 1, and of all classes together 1. */
static ebb_status check_soft(const ebb_volume *v, const ebb_box *b, const void *numbers, int z, int y, int x)
{
  const ebb_stack *s = v->stack;
  double t[EBB_CHANNELS_MOST], sum = 0;
  ebb_soft_values(t, s, b, numbers, z, y, x);
  bool fine = true;
  for (int k = 0; k < ebb_soft_classes(s); k++) {
    fine &= t[k] >= 0 && t[k] <= 1;
    sum += t[k];
  }
  if (fine && fabs(sum - 1) <= SOFT_SUM_ERROR) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s:%s: expected probabilities, 0 to 1 and together 1 (data.label_map=soft), found %g at sample %u, voxel (%d, %d, %d), of class "
                  "%d; together %g\nhint: one channel a class, the background too, or a single one for class 1", s->file, s->label->path,
                  s->masks ? t[0] : t[1], v->sample, z + b->start[0], y + b->start[1], x + b->start[2], s->masks == 0, sum);
}

static ebb_status scan_label(ebb_census *census, ebb_volume *v, const ebb_box *b, const void *numbers, label_scan *l)
{
  for (int z = 0; z < b->size[0]; z++)
    for (int y = 0; y < b->size[1]; y++)
      for (int x = 0; x < b->size[2]; x++) {
        if (v->stack->soft) EBB_TRY(check_soft(v, b, numbers, z, y, x));
        double value = ebb_label_value(v->stack, b, numbers, z, y, x);
        if (isnan(value) && v->stack->masks)
          return ebb_fail(EBB_DATA, "%s:%s: expected at most one of the %d masks at each site, found more at sample %u, voxel (%d, %d, %d)\nhint: classes "
                          "that overlap cannot be trained together; choose a dataset with data.label=NAME; if they hold probabilities, "
                          "data.label_map=soft", v->stack->file, v->stack->label->path, v->stack->masks, v->sample, z + b->start[0], y + b->start[1], x + b->start[2]);
        uint64_t site = ((uint64_t)(z + b->start[0]) * (uint64_t)v->size[1] + (uint64_t)(y + b->start[1])) * (uint64_t)v->size[2] + (uint64_t)(x + b->start[2]);
        if (!l->again) ebb_census_add(census, value, v, site);
        l->zeros += value == 0;
        if (value != l->background) note_point(v, site, &l->seen, &l->stride);
      }
  return EBB_OK;
}

/* Planes that are read together: at most SLAB_BYTES, at least one. */
static int slab_planes(const ebb_volume *v, int channels)
{
  size_t plane = (size_t)v->size[1] * (size_t)v->size[2] * (size_t)channels * sizeof(double);
  size_t planes = SLAB_BYTES / plane;
  return planes < 1 ? 1 : planes < (size_t)v->size[0] ? (int)planes : v->size[0];
}

static ebb_status scan(finder *k, ebb_census *census, ebb_volume *v, ebb_h5 *f, label_scan *label, sums *all, void *numbers)
{
  const ebb_stack *s = v->stack;
  int planes = slab_planes(v, k->v->box_channels);
  for (int z = 0; z < v->size[0]; z += planes) {
    ebb_box b = {.start = {z}, .size = {v->size[0] - z < planes ? v->size[0] - z : planes, v->size[1], v->size[2]}};
    EBB_TRY(ebb_box_read(&b, numbers, f, label ? s->label : s->raw, label ? s->label_axes : s->raw_axes, v->sample));
    if (label) EBB_TRY(scan_label(census, v, &b, numbers, label));
    else EBB_TRY(scan_raw(all, v, &b, numbers, k->v->channels));
  }
  return EBB_OK;
}

/* Where one of the masks is the background's, every site has one: the foreground is found in a second reading. */
static ebb_status scan_labels(finder *k, ebb_census *census, ebb_volume *v, ebb_h5 *f, void *numbers)
{
  label_scan l = {.stride = 1};
  v->foreground = ebb_pool_take(k->pool, EBB_VOLUME_POINTS * sizeof *v->foreground);
  EBB_TRY(scan(k, census, v, f, &l, NULL, numbers));
  if (v->stack->masks == 0 || v->stack->soft || l.zeros > 0) return EBB_OK;
  l = (label_scan){.stride = 1, .background = 1, .again = true};
  v->foreground_count = 0;
  return scan(k, census, v, f, &l, NULL, numbers);
}

static ebb_status scan_image(finder *k, ebb_volume *v, ebb_h5 *f, void *numbers)
{
  sums all[EBB_CHANNELS_MOST] = {{0}};
  v->mean = ebb_pool_take(k->pool, 2 * (size_t)k->v->channels * sizeof *v->mean);
  v->std = v->mean + k->v->channels;
  EBB_TRY(scan(k, NULL, v, f, NULL, all, numbers));
  for (int c = 0; c < k->v->channels; c++) settle(v, c, &all[c], k->o);
  return EBB_OK;
}

/* The volumes from `first` on, all of this file: first their raw data, then their labels, as datasets are chosen in turn. */
static ebb_status scan_file(finder *k, ebb_census *census, ebb_h5 *f, int first)
{
  ebb_arena scratch;
  ebb_volumes *v = k->v;
  ebb_status status = EBB_OK;
  size_t most = 0;
  if (first == v->count) return EBB_OK;
  for (int i = first; i < v->count; i++)
    most = largest(most, (size_t)slab_planes(&v->at[i], v->box_channels) * (size_t)v->at[i].size[1] * (size_t)v->at[i].size[2]);
  EBB_TRY(ebb_arena_create(&scratch, "volumes", most * (size_t)v->box_channels * sizeof(double)));
  void *numbers = ebb_arena_low(&scratch, scratch.size, EBB_USE_KEPT);
  for (int label = 0; label < (v->at[first].stack->label ? 2 : 1) && status == EBB_OK; label++) {
    status = ebb_h5_choose(f, label ? v->at[first].stack->label : v->at[first].stack->raw);
    for (int i = first; i < v->count && status == EBB_OK; i++)
      status = label ? scan_labels(k, census, &v->at[i], f, numbers) : scan_image(k, &v->at[i], f, numbers);
  }
  ebb_arena_destroy(&scratch);
  return status;
}

/* ---- the set -------------------------------------------------------------------------------------------------------- */
static ebb_status open_file(finder *k, ebb_census *census, const char *path, const char *group)
{
  ebb_h5 *f;
  int first = k->v->count;
  EBB_TRY(ebb_h5_open(&f, path, k->pool));
  ebb_status status = describe(k, f, group);
  if (status == EBB_OK) status = scan_file(k, census, f, first);
  ebb_h5_close(f);
  return status;
}

static void note_sizes(const finder *k)
{
  const ebb_volumes *v = k->v;
  int least[3] = {v->largest[0], v->largest[1], v->largest[2]}, empty = 0;
  for (int i = 0; i < v->count; i++) {
    for (int j = 0; j < 3; j++)
      if (v->at[i].size[j] < least[j]) least[j] = v->at[i].size[j];
    empty += v->at[i].foreground_count == 0;
  }
  ebb_note(k->notes, "%d samples, %d-D, %d channels, sizes %dx%dx%d to %dx%dx%d", v->count, v->rank, v->channels, least[0], least[1],
           least[2], v->largest[0], v->largest[1], v->largest[2]);
  if (empty && !k->x) ebb_note(k->notes, "warning: %d of %d samples have no foreground", empty, v->count);
}

static ebb_status open_all(finder *k, ebb_census *census, const char *text)
{
  ebb_places places;
  *k->v = (ebb_volumes){0};
  EBB_TRY(ebb_places_find(&places, text, k->pool));
  k->single = places.single;
  k->first = places.single ? places.first : 0;
  k->last = places.single ? places.last : INT64_MAX;
  for (int i = 0; i < places.count; i++) EBB_TRY(open_file(k, census, places.file[i], places.group));
  note_sizes(k);
  return EBB_OK;
}

ebb_status ebb_volumes_open(ebb_volumes *v, ebb_notes *notes, int *classes, ebb_label_map *map, const char *text,
                            const ebb_data_options *o, bool training)
{
  ebb_census *census = EBB_POOL_NEW(notes->pool, ebb_census);
  finder k = {.v = v, .notes = notes, .quiet = {.pool = notes->pool}, .o = o, .pool = notes->pool,
              .split = training ? EBB_TRAIN_SET : EBB_VAL_SET, .soft = map->soft};
  EBB_TRY(open_all(&k, census, text));
  return ebb_census_settle(census, notes, classes, map, training);
}

static void forget_labels(ebb_volume *v, ebb_pool *pool)
{
  ebb_stack *s = EBB_POOL_NEW(pool, ebb_stack);
  *s = *v->stack;
  s->label = NULL;
  v->stack = s;
}

ebb_status ebb_volumes_open_images(ebb_volumes *v, ebb_notes *notes, int classes, ebb_label_map *map, const char *text,
                                   const ebb_data_options *o, ebb_shape x)
{
  ebb_census *census = EBB_POOL_NEW(notes->pool, ebb_census);
  finder k = {.v = v, .notes = notes, .quiet = {.pool = notes->pool}, .o = o, .pool = notes->pool, .split = EBB_VAL_SET, .x = &x, .soft = map->soft};
  EBB_TRY(open_all(&k, census, text));
  ebb_status status = census->count ? ebb_census_settle(census, notes, &classes, map, false) : EBB_OK;
  if (status == EBB_OK || *o->label) return status;
  ebb_note(notes, "warning: labels are left aside: %s", ebb_message());
  for (int i = 0; i < v->count; i++) forget_labels(&v->at[i], k.pool);
  return EBB_OK;
}

/* ---- is it such a set? ------------------------------------------------------------------------------------------------ */
/* Are the label's sizes, without axis `skip`, among the raw data's, in their order? */
static bool among(const ebb_h5_dataset *raw, const ebb_h5_dataset *label, int skip)
{
  int at = skip == 0;
  for (int i = 0; i < raw->rank && at < label->rank; i++)
    if (raw->dims[i] == label->dims[at]) at += at + 1 == skip ? 2 : 1;
  return at >= label->rank;
}

/* Classes are (N), (N, 1, ..) or one-hot (N, K); maps have at least two of the raw data's sizes, side by side, and perhaps an axis of
 * masks. */
static bool is_map(const ebb_h5_dataset *raw, const ebb_h5_dataset *label)
{
  if (raw->rank < 2 || label->rank < 2 || label->rank < raw->rank - 1 || label->rank > raw->rank + 1 || label->count <= label->dims[0]) return false;
  if (label->rank <= raw->rank && among(raw, label, -1)) return true;
  if (label->rank < 3) return false;
  return among(raw, label, 0) || among(raw, label, 1) || among(raw, label, label->rank - 1);
}

ebb_status ebb_volumes_meant(bool *meant, const char *text, const ebb_data_options *o, ebb_pool *pool)
{
  ebb_places places;
  ebb_h5 *f;
  ebb_notes quiet = {.pool = pool};
  const ebb_h5_dataset *raw, *label;
  *meant = false;
  if (o->density) return EBB_OK;
  EBB_TRY(ebb_places_find(&places, text, pool));
  *meant = true;
  if (!places.single) return EBB_OK;
  EBB_TRY(ebb_h5_open(&f, places.file[0], pool));
  ebb_status status = ebb_layout_find(&raw, &label, &quiet, f, places.group, EBB_TRAIN_SET, o->raw, o->label);
  if (status == EBB_OK)
    *meant = is_map(raw, label);
  ebb_h5_close(f);
  return status;
}

ebb_status ebb_stack_reopen(ebb_h5 **f, const ebb_stack *s, ebb_pool *pool)
{
  const ebb_h5_dataset *const was[] = {s->raw, s->label};
  int same = 0;
  EBB_TRY(ebb_h5_open(f, s->file, pool));
  ebb_h5_list list = ebb_h5_datasets(*f);
  for (int i = 0; i < list.count; i++)
    for (int k = 0; k < (s->label ? 2 : 1); k++)
      same += strcmp(list.at[i].path, was[k]->path) == 0 && list.at[i].rank == was[k]->rank && list.at[i].kind == was[k]->kind &&
              memcmp(list.at[i].dims, was[k]->dims, sizeof was[k]->dims) == 0;
  if (same == (s->label ? 2 : 1)) return EBB_OK;
  ebb_h5_close(*f);
  return ebb_fail(EBB_DATA, "%s: expected what it held when training began, found a changed file\nhint: leave files as they are while "
                  "they are in use", s->file);
}
