/* holdout.c -- see holdout.h. */
#include "datasets/holdout.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"

static const uint64_t choice = 20200511; /* the seed of all choices */

static const char *base_name(const char *path)
{
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* The dataset of groups of one file, one number a sample. */
static ebb_status read_groups(double **groups, const ebb_stack *s, const char *name, ebb_pool *pool)
{
  ebb_h5 *f;
  const ebb_h5_dataset *found = NULL;
  const char *n = strchr(s->raw_axes, 'n');
  uint64_t samples = n ? s->raw->dims[n - s->raw_axes] : 1;
  EBB_TRY(ebb_h5_open(&f, s->file, pool));
  ebb_h5_list list = ebb_h5_datasets(f);
  for (int i = 0; i < list.count; i++)
    if (strcmp(list.at[i].path, name) == 0 || strcmp(base_name(list.at[i].path), name) == 0) found = &list.at[i];
  ebb_status status = EBB_OK;
  if (!found || found->trouble || found->count != samples || found->dims[0] != samples)
    status = ebb_fail(EBB_DATA, "%s: expected a dataset %s of %llu numbers (data.group), found %s", s->file, name, (unsigned long long)samples,
                      found ? ebb_h5_describe(found, pool) : "none of that name");
  if (status == EBB_OK) status = ebb_h5_choose(f, found);
  if (status == EBB_OK) {
    void *numbers = ebb_pool_take(pool, samples * sizeof(double));
    *groups = ebb_pool_take(pool, samples * sizeof **groups);
    status = ebb_h5_read_rows(numbers, f, 0, samples);
    for (uint64_t i = 0; status == EBB_OK && i < samples; i++) (*groups)[i] = ebb_h5_value(numbers, found->kind, i);
  }
  ebb_h5_close(f);
  return status;
}

/* group_of[i]: the number of volume i's group, counted in the order in which groups come up; *count of them. */
static ebb_status number_groups(uint32_t *group_of, uint32_t *count, const ebb_volumes *v, const char *group, ebb_pool *pool)
{
  double *groups = NULL, *known = ebb_pool_take(pool, (size_t)v->count * sizeof *known);
  *count = 0;
  for (int i = 0; i < v->count; i++) {
    const ebb_volume *x = &v->at[i];
    if (!*group) {
      group_of[i] = (*count)++;
      continue;
    }
    if (i == 0 || x->stack != v->at[i - 1].stack) EBB_TRY(read_groups(&groups, x->stack, group, pool));
    uint32_t k = 0;
    while (k < *count && known[k] != groups[x->sample]) k++;
    if (k == *count) known[(*count)++] = groups[x->sample];
    group_of[i] = k;
  }
  return EBB_OK;
}

ebb_status ebb_volumes_hold_out(ebb_volumes *train, ebb_volumes *held, ebb_notes *notes, double share, const char *group)
{
  ebb_pool *pool = notes->pool;
  uint32_t count, *group_of = ebb_pool_take(pool, (size_t)train->count * sizeof *group_of);
  EBB_TRY(number_groups(group_of, &count, train, group, pool));
  uint32_t out = (uint32_t)llround(share * count), *order = ebb_pool_take(pool, count * sizeof *order);
  if (out == 0 || out >= count)
    return ebb_fail(EBB_CONFIG, "data.holdout: expected a share that leaves groups on both sides, found %g of %u groups\nhint: a share "
                                "such as 0.2, or data.val", share, count);
  ebb_rng_permutation(order, (ebb_rng){choice, EBB_RNG_SHUFFLE, 0}, count);
  bool *aside = ebb_pool_take(pool, count * sizeof *aside);
  for (uint32_t i = 0; i < out; i++) aside[order[i]] = true;
  ebb_volume *all = train->at;
  int n = train->count;
  *held = *train;
  held->count = train->count = 0;
  held->at = ebb_pool_take(pool, (size_t)n * sizeof *held->at);
  train->at = ebb_pool_take(pool, (size_t)n * sizeof *train->at);
  for (int i = 0; i < n; i++) {
    ebb_volumes *to = aside[group_of[i]] ? held : train;
    to->at[to->count++] = all[i];
  }
  ebb_note(notes, "held out for validation: %d of %d samples, %u of %u groups%s%s", held->count, n, out, count, *group ? " by " : "", group);
  return EBB_OK;
}
