/* run.c -- see run.h. */
#include "layers/layer.h"

const char *const ebb_policy_names[EBB_POLICIES + 1] = {"reverse", "store", "checkpoint", "auto"};

void ebb_kept_push(ebb_run *r, ebb_view v, ebb_mark mark)
{
  EBB_ASSERT(r->kept_count < r->kept_size, "%zu views are kept already", r->kept_count);
  r->kept[r->kept_count++] = (ebb_kept){v, mark};
  if (r->kept_count > r->kept_most) r->kept_most = r->kept_count;
}

ebb_kept ebb_kept_pop(ebb_run *r)
{
  EBB_ASSERT(r->kept_count > 0, "nothing is kept: backward without its forward");
  return r->kept[--r->kept_count];
}

ebb_view ebb_scratch_view(ebb_run *r, ebb_shape s)
{
  return ebb_view_of(ebb_arena_high(r->arena, ebb_bytes(s)), s);
}

ebb_view ebb_kept_view(ebb_run *r, ebb_shape s)
{
  return ebb_view_of(ebb_arena_low(r->arena, ebb_bytes(s), s.stream ? EBB_USE_STREAM : EBB_USE_KEPT), s);
}

ebb_rng ebb_layer_rng(const ebb_run *r, int id)
{
  return (ebb_rng){.seed = r->seed, .purpose = EBB_RNG_LAYER + (uint32_t)id, .time = r->step};
}

void ebb_note_singular(ebb_run *r, const ebb_layer *l)
{
  if (!r->events.singular) r->events.singular = l->name;
}

void ebb_note_not_whole(ebb_run *r, const ebb_layer *l, double value, int levels)
{
  if (r->events.not_whole) return;
  r->events.not_whole = l->name;
  r->events.odd = value;
  r->events.levels = levels;
}

void ebb_note_drift(ebb_run *r, const ebb_layer *l, double drift)
{
  if (drift <= r->drift_most || r->events.drifted) return;
  r->events.drifted = l;
  r->events.drift = drift;
}

void ebb_note_range(ebb_run *r, const ebb_layer *l, uint64_t count, double worst)
{
  if (count == 0 || r->pass == EBB_REPLAY) return;
  if (r->events.out_of_range == 0) r->events.where = l->name;
  r->events.out_of_range += count;
  if (worst > r->events.worst) r->events.worst = worst;
}
