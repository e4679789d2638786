/* stats.c -- see stats.h. */
#include "datasets/stats.h"

#include <math.h>

#include "datasets/labels.h"

static void take(ebb_channel *c, double v)
{
  if (!isfinite(v)) {
    isnan(v) ? c->nan++ : c->inf++;
    return;
  }
  if (c->count == 0) c->pivot = c->min = c->max = v;
  if (v < c->min) c->min = v;
  if (v > c->max) c->max = v;
  c->sum += v - c->pivot;
  c->squares += (v - c->pivot) * (v - c->pivot);
  c->count++;
}

static void take_sample(ebb_stats *s, const void *values, ebb_h5_kind kind, const ebb_axes *a, size_t at,
                        uint64_t sample)
{
  ebb_shape z = a->shape;
  for (int c = 0; c < z.c; c++) {
    ebb_channel *k = &s->channel[c];
    uint64_t before = k->nan + k->inf;
    for (int d = 0; d < z.d; d++)
      for (int h = 0; h < z.h; h++)
        for (int w = 0; w < z.w; w++)
          take(k, ebb_h5_value(values, kind, at + (size_t)(d * a->d + h * a->h + w * a->w + c * a->c)));
    if (k->nan + k->inf > before && !s->bad) s->bad = true, s->bad_sample = sample;
  }
}

ebb_status ebb_stats_measure(ebb_stats *s, ebb_h5 *f, const ebb_h5_dataset *images, const ebb_axes *axes,
                             ebb_pool *pool)
{
  ebb_arena scratch;
  size_t values = ebb_count(axes->shape);
  uint64_t together = ebb_rows_together(images), samples = images->dims[0];
  *s = (ebb_stats){.channels = axes->shape.c};
  s->channel = ebb_pool_take(pool, (size_t)s->channels * sizeof *s->channel);
  EBB_TRY(ebb_h5_choose(f, images));
  EBB_TRY(ebb_arena_create(&scratch, "statistics", together * values * images->bytes));
  void *piece = ebb_arena_low(&scratch, scratch.size, EBB_USE_KEPT);
  ebb_status status = EBB_OK;
  for (uint64_t first = 0; status == EBB_OK && first < samples; first += together) {
    uint64_t count = samples - first < together ? samples - first : together;
    status = ebb_h5_read_rows(piece, f, first, count);
    for (uint64_t i = 0; status == EBB_OK && i < count; i++)
      take_sample(s, piece, images->kind, axes, (size_t)i * values, first + i);
  }
  ebb_arena_destroy(&scratch);
  return status;
}

double ebb_channel_mean(const ebb_channel *c)
{
  return c->count ? c->pivot + c->sum / (double)c->count : 0.0;
}

double ebb_channel_std(const ebb_channel *c)
{
  if (c->count == 0) return 0.0;
  double n = (double)c->count, mean = c->sum / n, variance = c->squares / n - mean * mean;
  return variance > 0 ? sqrt(variance) : 0.0;
}

/* Sums about one pivot from sums about another: x - p = (x - q) + (q - p). */
ebb_channel ebb_stats_together(const ebb_stats *s)
{
  ebb_channel all = {0};
  for (int c = 0; c < s->channels; c++) {
    const ebb_channel *k = &s->channel[c];
    if (k->count == 0) continue;
    if (all.count == 0) all.pivot = k->pivot, all.min = k->min, all.max = k->max;
    double n = (double)k->count, shift = k->pivot - all.pivot;
    all.sum += k->sum + n * shift;
    all.squares += k->squares + 2 * shift * k->sum + n * shift * shift;
    if (k->min < all.min) all.min = k->min;
    if (k->max > all.max) all.max = k->max;
    all.count += k->count;
    all.nan += k->nan;
    all.inf += k->inf;
  }
  return all;
}

ebb_status ebb_stats_refuse(const char *name, uint64_t sample)
{
  return ebb_fail(EBB_DATA,
                  "%s: expected finite values, found NaN or Inf in sample %llu"
                  "\nhint: `ebb check` counts them; leave such samples out or replace the values",
                  name, (unsigned long long)sample);
}
