/* data_maps.c -- opens sets whose labels are maps: volumes are found and read once, patches get their size; see data.h. */
#include <stdio.h>
#include <string.h>

#include "datasets/data.h"

/* ---- the patch ---------------------------------------------------------------------------------------------------- */
static ebb_status read_patch(int patch[3], const char *text, int rank)
{
  int size[4], count = 0, used = 0, length = 0;
  while (count < 4 && sscanf(text + length, "%9d%n", &size[count], &used) == 1 && size[count] > 0) {
    length += used;
    count++;
    if (text[length] != 'x') break;
    length++;
  }
  if (count != rank || text[length])
    return ebb_fail(EBB_CONFIG, "data.patch: expected %d sizes for %d-D data, such as %s, found \"%s\"", rank, rank,
                    rank == 3 ? "64x64x64" : rank == 2 ? "128x128" : "512", text);
  for (int i = 0; i < 3; i++) patch[i] = i < 3 - rank ? 1 : size[i - (3 - rank)];
  return EBB_OK;
}

static ebb_status settle_patch(ebb_data_parts *p, ebb_patch_set *s)
{
  int larger = 0;
  memcpy(s->patch, s->volumes.largest, sizeof s->patch);
  if (*p->options.patch) EBB_TRY(read_patch(s->patch, p->options.patch, s->volumes.rank));
  else ebb_note(&p->notes, "patches of %dx%dx%d, the largest sample's (data.patch overrides)", s->patch[0], s->patch[1], s->patch[2]);
  for (int i = 0; i < s->volumes.count; i++)
    for (int k = 0; k < 3; k++)
      if (s->volumes.at[i].size[k] < s->patch[k]) {
        larger++;
        break;
      }
  if (larger)
    ebb_note(&p->notes, "%d of %d samples are smaller than the patch: padded with the mean, and no label counts there", larger, s->volumes.count);
  return EBB_OK;
}

/* ---- sets --------------------------------------------------------------------------------------------------------- */
static const char *map_text(const ebb_label_map *map, ebb_pool *pool)
{
  const char *text = "";
  for (int i = 0; i < map->count; i++)
    text = ebb_pool_text(pool, "%s%s%lld:%d", text, i ? "," : "", (long long)map->value[i], map->class[i]);
  return text;
}

static ebb_status require_same_kind(const ebb_data_parts *p, const ebb_patch_set *s, const char *name)
{
  const ebb_data *d = &p->shown;
  if (d->shape.rank == 0 || (d->shape.rank == s->volumes.rank && d->shape.c == s->volumes.channels)) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected %d-D data of %d channels, as the training set, found %d-D of %d", name, d->shape.rank, d->shape.c,
                  s->volumes.rank, s->volumes.channels);
}

static ebb_status open_set(ebb_data_parts *p, ebb_split split, const char *place)
{
  ebb_data *d = &p->shown;
  ebb_patch_set *s = &p->maps[split];
  bool first = d->shape.rank == 0;
  EBB_TRY(ebb_label_map_read(&s->map, p->options.label_map));
  if (!first) s->map = p->maps[EBB_TRAIN_SET].map;
  EBB_TRY(ebb_volumes_open(&s->volumes, &p->notes, &d->classes, &s->map, place, &p->options, first));
  EBB_TRY(require_same_kind(p, s, place));
  s->classes = d->classes;
  s->per_volume = p->options.per_volume;
  s->foreground = p->options.foreground;
  s->augment = p->options.augment;
  if (split != EBB_TRAIN_SET) s->augment = (ebb_augment){.mirror = ""};
  if (first) EBB_TRY(settle_patch(p, s));
  else memcpy(s->patch, p->maps[EBB_TRAIN_SET].patch, sizeof s->patch);
  d->shape = (ebb_shape){.rank = s->volumes.rank, .n = 1, .d = s->patch[0], .h = s->patch[1], .w = s->patch[2], .c = s->volumes.channels};
  d->samples[split] = ebb_patches_count(s, split == EBB_TRAIN_SET, 1);
  d->name[split] = ebb_pool_text(&p->pool, "%s", place);
  d->label_map = map_text(&s->map, &p->pool);
  return EBB_OK;
}

ebb_status ebb_data_open_maps(ebb_data_parts *p)
{
  const ebb_data_options *o = &p->options;
  if (*o->train) EBB_TRY(open_set(p, EBB_TRAIN_SET, o->train));
  if (*o->val) return open_set(p, EBB_VAL_SET, o->val);
  ebb_note(&p->notes, "no validation set; data.val names one");
  return EBB_OK;
}
