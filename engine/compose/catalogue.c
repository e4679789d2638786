/* catalogue.c -- see catalogue.h. */
#include "compose/catalogue.h"

#include <string.h>

static const ebb_layer_ops *const table[] = {
#define ROW(name) &ebb_##name##_ops,
#include "compose/layers.def"
#undef ROW
};

static const char *const names[] = {
#define ROW(name) #name,
#include "compose/layers.def"
#undef ROW
};

size_t ebb_catalogue_count(void)
{
  return sizeof table / sizeof *table;
}

const ebb_layer_ops *ebb_catalogue_at(size_t i)
{
  EBB_ASSERT(i < ebb_catalogue_count(), "layer %zu of %zu", i, ebb_catalogue_count());
  return table[i];
}

const ebb_layer_ops *ebb_catalogue_find(const char *name)
{
  for (size_t i = 0; i < ebb_catalogue_count(); i++)
    if (strcmp(table[i]->name, name) == 0) return table[i];
  const char *near = ebb_nearest(name, names, ebb_catalogue_count());
  ebb_fail(EBB_CONFIG, "layer '%s': there is none of this name%s%s\nhint: `ebb layers` lists them", name,
           near ? ", did you mean " : "", near ? near : "");
  return NULL;
}
