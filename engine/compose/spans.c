/* spans.c -- see spans.h. */
#include "compose/spans.h"

/* By a layer's id: has it weights? And in whose span are they? */
typedef struct owners { bool *has; const ebb_layer **of; } owners;

static void give(owners o, const ebb_layer *l, const ebb_layer *owner)
{
  o.of[l->id] = owner;
  for (int i = 0; l->ops->child && l->ops->child(l, i); i++) give(o, l->ops->child(l, i), owner);
  for (int i = 0; l->ops->part && l->ops->part(l, i); i++) give(o, l->ops->part(l, i), owner);
}

/* A leaf owns its weights; a composite with weights of its own those of all that is inside it, too. */
static void find(const ebb_layer *l, int depth, void *context)
{
  owners *o = context;
  (void)depth;
  EBB_ASSERT(o->of[l->id] != l, "%s is in the network twice: its gradients are never ready", l->name);
  if (!o->of[l->id] && (!l->ops->child || o->has[l->id])) give(*o, l, l);
}

static void add(ebb_span *s, const ebb_param *p)
{
  if (s->count == 0) *s = (ebb_span){p, p->offset, 0};
  EBB_ASSERT(p->offset == s->from + s->count, "%s does not lie behind %s and what follows it", p->name, s->first->name);
  s->count += p->count;
}

ebb_span *ebb_spans_of(const ebb_model *m, ebb_pool *pool)
{
  ebb_span *spans = ebb_pool_take(pool, (size_t)m->layers * sizeof *spans);
  owners    o = {ebb_pool_take(pool, (size_t)m->layers * sizeof *o.has), ebb_pool_take(pool, (size_t)m->layers * sizeof *o.of)};
  for (const ebb_param *p = m->params; p; p = p->next) o.has[p->layer->id] |= p->kind == EBB_WEIGHT;
  ebb_model_walk(m, find, &o);
  for (const ebb_param *p = m->params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    EBB_ASSERT(o.of[p->layer->id], "%s is in no layer of %s", p->name, m->name);
    add(&spans[o.of[p->layer->id]->id], p);
  }
  return spans;
}

size_t ebb_spans_longest(const ebb_span *spans, const ebb_model *m)
{
  size_t longest = 0;
  for (int i = 0; i < m->layers; i++)
    if (spans[i].count > longest) longest = spans[i].count;
  return longest;
}
