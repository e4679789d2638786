/* vary.c -- see vary.h. */
#include "vary.h"

#include <string.h>

static bool has_depth(const ebb_network *n)
{
  for (const ebb_option *o = n->options; o->key; o++)
    if (strcmp(o->key, "depth") == 0) return true;
  return false;
}

/* The data's shape with all sides `side`. */
static ebb_status vary_size(const char **word, ebb_config *c, const char *side)
{
  ebb_shape   s;
  const char *text = side;
  if (!*c->data.shape || ebb_data_shape_read(&s, c->data.shape) != EBB_OK)
    return ebb_fail(EBB_USAGE, "size: expected data.shape, whose sides it is, found '%s'\nhint: data.shape=32x32x3", c->data.shape);
  for (int i = 1; i < s.rank; i++) text = ebb_pool_text(&c->pool, "%sx%s", text, side);
  *word = ebb_pool_text(&c->pool, "data.shape=%sx%d", text, s.c);
  return EBB_OK;
}

ebb_status ebb_vary(const char **word, ebb_config *c, const char *name, const char *value)
{
  bool depth = strcmp(name, "depth") == 0;
  if (strcmp(name, "size") == 0) return vary_size(word, c, value);
  if (depth && !has_depth(c->network))
    return ebb_fail(EBB_USAGE, "depth: %s has no option model.depth\nhint: a key that `ebb models %s` names instead", c->network->name,
                    c->network->name);
  *word = ebb_pool_text(&c->pool, "%s=%s", depth ? "model.depth" : strcmp(name, "batch") == 0 ? "train.batch" : name, value);
  return EBB_OK;
}
