/* spans.c -- see spans.h. */
#include "compose/spans.h"

/* `owners`, by id: whose span a layer's weights are in. */
static void give(const ebb_layer **owners, const ebb_layer *l, const ebb_layer *owner)
{
  owners[l->id] = owner;
  for (int i = 0; l->ops->child && l->ops->child(l, i); i++) give(owners, l->ops->child(l, i), owner);
  for (int i = 0; l->ops->part && l->ops->part(l, i); i++) give(owners, l->ops->part(l, i), owner);
}

static void find(const ebb_layer **owners, const ebb_layer *outer)
{
  for (int i = 0; outer->ops->child(outer, i); i++) {
    const ebb_layer *l = outer->ops->child(outer, i);
    if (l->ops->transparent) find(owners, l);
    else give(owners, l, l);
  }
}

static void add(ebb_span *s, const ebb_param *p)
{
  if (s->count == 0) *s = (ebb_span){p, p->offset, 0};
  EBB_ASSERT(p->offset == s->from + s->count, "%s does not lie behind %s and what follows it", p->name, s->first->name);
  s->count += p->count;
}

ebb_span *ebb_spans_of(const ebb_model *m, ebb_pool *pool)
{
  ebb_span         *spans = ebb_pool_take(pool, (size_t)m->layers * sizeof *spans);
  const ebb_layer **owners = ebb_pool_take(pool, (size_t)m->layers * sizeof *owners);
  find(owners, m->root);
  for (const ebb_param *p = m->params; p; p = p->next) {
    if (p->kind != EBB_WEIGHT) continue;
    const ebb_layer *owner = owners[p->layer->id];
    EBB_ASSERT(owner, "%s is in no layer of %s", p->name, m->name);
    add(&spans[owner->id], p);
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
