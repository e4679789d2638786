/* data_maps.c -- opens sets whose labels are maps: volumes are found and read once, patches get their size; see data.h. */
#include <string.h>

#include "datasets/data.h"
#include "datasets/holdout.h"

/* ---- the patch ---------------------------------------------------------------------------------------------------- */
static ebb_status settle_patch(ebb_data_parts *p, ebb_patch_set *s)
{
  int larger = 0;
  memcpy(s->patch, s->volumes.largest, sizeof s->patch);
  if (*p->options.patch) EBB_TRY(ebb_data_sizes_read(s->patch, p->options.patch, s->volumes.rank, 1, "data.patch"));
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
  if (map->one_hot) return "one-hot";
  if (map->soft) return "soft";
  for (int i = 0; i < map->count; i++) {
    text = ebb_pool_text(pool, "%s%s%lld", text, i ? "," : "", (long long)map->low[i]);
    if (map->high[i] > map->low[i]) text = ebb_pool_text(pool, "%s-%lld", text, (long long)map->high[i]);
    text = ebb_pool_text(pool, "%s:%d", text, map->class[i]);
  }
  return text;
}

static ebb_status require_same_kind(const ebb_data_parts *p, const ebb_patch_set *s, const char *name)
{
  const ebb_data *d = &p->shown;
  if (d->shape.rank == 0 || (d->shape.rank == s->volumes.rank && d->shape.c == s->volumes.channels)) return EBB_OK;
  return ebb_fail(EBB_DATA, "%s: expected %d-D data of %d channels, as the training set, found %d-D of %d", name, d->shape.rank, d->shape.c,
                  s->volumes.rank, s->volumes.channels);
}

/* What sampling needs to know of a set whose volumes are found. */
static ebb_status finish_set(ebb_data_parts *p, ebb_split split, const char *name)
{
  ebb_data *d = &p->shown;
  ebb_patch_set *s = &p->maps[split];
  bool training = split == EBB_TRAIN_SET;
  s->classes = d->classes;
  s->per_volume = p->options.per_volume;
  s->foreground = p->options.foreground;
  s->augment = training ? p->options.augment : (ebb_augment){.mirror = ""};
  if (d->shape.rank == 0) EBB_TRY(settle_patch(p, s));
  else s->patch[0] = d->shape.d, s->patch[1] = d->shape.h, s->patch[2] = d->shape.w;
  d->shape = (ebb_shape){.rank = s->volumes.rank, .n = 1, .d = s->patch[0], .h = s->patch[1], .w = s->patch[2], .c = s->volumes.channels};
  d->samples[split] = ebb_patches_count(s, training, 1);
  d->name[split] = ebb_pool_text(&p->pool, "%s", name);
  d->label_map = map_text(&s->map, &p->pool);
  return EBB_OK;
}

static ebb_status open_train(ebb_data_parts *p)
{
  const ebb_data_options *o = &p->options;
  ebb_patch_set *s = &p->maps[EBB_TRAIN_SET], *val = &p->maps[EBB_VAL_SET];
  EBB_TRY(ebb_label_map_read(&s->map, o->label_map));
  EBB_TRY(ebb_volumes_open(&s->volumes, &p->notes, &p->shown.classes, &s->map, o->train, o, true));
  bool aside = !*o->val && o->holdout > 0;
  if (aside) EBB_TRY(ebb_volumes_hold_out(&s->volumes, &val->volumes, &p->notes, o->holdout, o->group));
  EBB_TRY(finish_set(p, EBB_TRAIN_SET, o->train));
  if (!aside && !*o->val) ebb_note(&p->notes, "no validation set; data.val names one, data.holdout=0.2 sets one aside");
  if (!aside) return EBB_OK;
  val->map = s->map;
  return finish_set(p, EBB_VAL_SET, ebb_pool_text(&p->pool, "%s, held out", o->train));
}

static ebb_status open_val(ebb_data_parts *p)
{
  const ebb_data_options *o = &p->options;
  ebb_patch_set *s = &p->maps[EBB_VAL_SET];
  bool alone = p->shown.shape.rank == 0;
  if (alone) EBB_TRY(ebb_label_map_read(&s->map, o->label_map));
  else s->map = p->maps[EBB_TRAIN_SET].map;
  EBB_TRY(ebb_volumes_open(&s->volumes, &p->notes, &p->shown.classes, &s->map, o->val, o, alone));
  EBB_TRY(require_same_kind(p, s, o->val));
  return finish_set(p, EBB_VAL_SET, o->val);
}

ebb_status ebb_data_open_maps(ebb_data_parts *p)
{
  p->shown.mean = p->options.mean;
  p->shown.std = p->options.std;
  if (*p->options.train) EBB_TRY(open_train(p));
  return *p->options.val ? open_val(p) : EBB_OK;
}
