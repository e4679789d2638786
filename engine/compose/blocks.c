/* blocks.c -- see blocks.h. */
#include "compose/blocks.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"

enum { REPEATS = 3 };

static void collect(ebb_blocks *b, const ebb_layer *l)
{
  for (int i = 0; l->ops->child(l, i); i++) {
    const ebb_layer *inner = l->ops->child(l, i);
    if (ebb_replays(inner)) b->at[b->count++] = inner;
    else if (inner->ops->transparent) collect(b, inner);
  }
}

ebb_blocks ebb_blocks_of(const ebb_model *m, ebb_pool *pool)
{
  ebb_blocks b = {.at = ebb_pool_take(pool, (size_t)m->layers * sizeof *b.at)};
  collect(&b, m->root);
  return b;
}

/* ---- measuring ------------------------------------------------------------------------------------------------ */
/* There and back once; the way back replays the inside, or finds it kept, or, with all kept, does not reconstruct the input. */
static void pass(double *forward, double *reverse, const ebb_layer *l, ebb_run *r, ebb_shape x, ebb_keep keep)
{
  ebb_view y = ebb_kept_view(r, x);
  r->pass = EBB_TRAIN;
  r->keep = keep;
  if (!r->dry) memset(y.p, 0, ebb_bytes(y.s));
  double begin = ebb_seconds();
  ebb_forward_layer(l, r, y, y);
  *forward = fmin(*forward, ebb_seconds() - begin);
  ebb_view dy = ebb_scratch_view(r, ebb_shape_real(x));
  if (!r->dry) memset(dy.p, 0, ebb_bytes(dy.s));
  begin = ebb_seconds();
  if (keep == EBB_KEEP_ALL) ebb_backward_layer(l, r, y, dy, dy);
  else ebb_reverse_layer(l, r, y, dy);
  *reverse = fmin(*reverse, ebb_seconds() - begin);
  ebb_release(r);
}

/* Bytes of the arena that a block alone takes, all kept. */
static size_t alone(const ebb_layer *l, const ebb_plan *p, ebb_shape x)
{
  ebb_arena dry;
  ebb_run   r = {.arena = &dry, .policy = EBB_REVERSE, .dry = true, .kept = p->stack, .kept_size = p->kept_views};
  double    forward = 0, reverse = 0;
  ebb_arena_create_dry(&dry, "block");
  pass(&forward, &reverse, l, &r, x, EBB_KEEP_INSIDE);
  pass(&forward, &reverse, l, &r, x, EBB_KEEP_ALL);
  return dry.peak;
}

static ebb_cost measure(const ebb_layer *l, ebb_run *r, ebb_shape x)
{
  ebb_cost c = {INFINITY, INFINITY, INFINITY, INFINITY};
  for (int i = 0; i < REPEATS; i++) {
    pass(&c.forward, &c.replayed, l, r, x, ebb_keep_inside(l, EBB_KEEP_INPUTS));
    pass(&c.forward, &c.spared, l, r, x, EBB_KEEP_INSIDE);
    pass(&c.forward, &c.stored, l, r, x, EBB_KEEP_ALL);
  }
  return c;
}

/* Blocks that differ in their weights' values only. */
static bool alike(const ebb_model *m, const ebb_plan *p, const ebb_layer *a, const ebb_layer *b)
{
  return a->ops == b->ops && ebb_shape_equal(p->tally[a->id].x, p->tally[b->id].x) &&
         ebb_model_weights_of(m, a) == ebb_model_weights_of(m, b);
}

/* The first of the blocks that is like number i. */
static int model_for(const ebb_model *m, const ebb_plan *p, const ebb_blocks *b, int i)
{
  int k = 0;
  while (!alike(m, p, b->at[k], b->at[i])) k++;
  return k;
}

/* As p, with at least the room for any block alone. */
static ebb_plan with_room(const ebb_plan *p, const ebb_model *m, const ebb_blocks *b)
{
  ebb_plan q = *p;
  size_t   have = p->stream + p->kept + p->scratch, need = have;
  for (int i = 0; i < b->count; i++) {
    size_t bytes = model_for(m, p, b, i) == i ? alone(b->at[i], p, p->tally[b->at[i]->id].x) : 0;
    if (bytes > need) need = bytes;
  }
  q.scratch += need - have;
  q.peak += need - have;
  return q;
}

ebb_status ebb_blocks_measure(ebb_cost **costs, const ebb_model *m, const ebb_plan *p, size_t budget, ebb_pool *pool)
{
  ebb_workspace w;
  ebb_blocks    b = ebb_blocks_of(m, pool);
  ebb_plan      q = with_room(p, m, &b);
  *costs = NULL;
  if (q.peak > budget) return EBB_OK;
  ebb_cost *c = *costs = ebb_pool_take(pool, (size_t)m->layers * sizeof *c);
  EBB_TRY(ebb_workspace_create(&w, m, &q));
  ebb_model_initialise(m, w.weights, w.state, 1);
  for (int i = 0; i < b.count; i++) {
    int k = model_for(m, p, &b, i);
    c[b.at[i]->id] = k < i ? c[b.at[k]->id] : measure(b.at[i], &w.run, p->tally[b.at[i]->id].x);
  }
  ebb_workspace_destroy(&w);
  return EBB_OK;
}
