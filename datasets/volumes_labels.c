/* volumes_labels.c -- values of label maps and the classes they stand for; see volumes_parts.h.
 * Owns: the map, {0, 255} masks, what is said of values that fit nothing. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datasets/volumes_parts.h"

enum { SHOWN = 16 }; /* values named in a line */

/* ---- the map ------------------------------------------------------------------------------------------------------ */
/* "4:3" or "91-116:4" at p; the characters it takes, 0 if it is neither. */
static int read_pair(const char *p, long long *low, long long *high, int *class)
{
  int used = 0;
  if (sscanf(p, "%lld:%d%n", low, class, &used) == 2) return *high = *low, used;
  return sscanf(p, "%lld-%lld:%d%n", low, high, class, &used) == 3 && *low <= *high ? used : 0;
}

/* Mask k, which ebb_label_value gives as k + 1, is class k. */
static void make_one_hot(ebb_label_map *map)
{
  *map = (ebb_label_map){.count = EBB_LABEL_PAIRS, .one_hot = true};
  for (int i = 0; i < map->count; i++) map->low[i] = map->high[i] = i + 1, map->class[i] = i;
}

ebb_status ebb_label_map_read(ebb_label_map *map, const char *text)
{
  *map = (ebb_label_map){0};
  if (strcmp(text, "one-hot") == 0) return make_one_hot(map), EBB_OK;
  if (strcmp(text, "soft") == 0) return map->soft = true, EBB_OK;
  for (const char *p = text; *p;) {
    long long low, high;
    int class, used = map->count < EBB_LABEL_PAIRS ? read_pair(p, &low, &high, &class) : 0;
    if (used == 0 || class < 0 || class > 65535 || (p[used] && p[used] != ','))
      return ebb_fail(EBB_CONFIG, "data.label_map: expected value:class pairs such as 0:0,1:1,4:3 or 91-116:4 (at most %d), found \"%s\"",
                      EBB_LABEL_PAIRS, text);
    map->low[map->count] = low;
    map->high[map->count] = high;
    map->class[map->count++] = class;
    p += used + (p[used] == ',');
  }
  return EBB_OK;
}

int ebb_label_class(const ebb_label_map *map, int classes, double value)
{
  if (value != floor(value)) return -1;
  if (map->count == 0) return value >= 0 && (classes == 0 || value < classes) ? (int)value : -1;
  for (int i = 0; i < map->count; i++)
    if ((double)map->low[i] <= value && value <= (double)map->high[i]) return map->class[i];
  return -1;
}

/* ---- the census --------------------------------------------------------------------------------------------------- */
void ebb_census_add(ebb_census *c, double value, const ebb_volume *v, uint64_t site)
{
  if (v->stack->masks > c->masks && !v->stack->soft) c->masks = v->stack->masks;
  if (v->stack->soft) c->soft = ebb_soft_classes(v->stack);
  for (int i = 0; i < c->count; i++)
    if (c->value[i] == value || (isnan(value) && isnan(c->value[i]))) {
      c->times[i]++;
      return;
    }
  if (c->count == EBB_VALUES_MOST) {
    c->more = true;
    return;
  }
  c->value[c->count] = value;
  c->times[c->count] = 1;
  c->where[c->count] = v;
  c->site[c->count++] = site;
}

/* The place of the smallest value above `last`; -1: there is none. */
static int next_value(const ebb_census *c, double last)
{
  int next = -1;
  for (int i = 0; i < c->count; i++)
    if (c->value[i] > last && (next < 0 || c->value[i] < c->value[next])) next = i;
  return next;
}

/* Values in rising order, each with its share: "0 (95 %), 1 (2.7 %), 2 (2.5 %)". */
static const char *histogram(const ebb_census *c, ebb_pool *pool)
{
  double total = 0;
  const char *text = "";
  int shown = 0;
  for (int i = 0; i < c->count; i++) total += (double)c->times[i];
  for (int i = next_value(c, -INFINITY); i >= 0 && shown++ < SHOWN; i = next_value(c, c->value[i]))
    text = ebb_pool_text(pool, "%s%s%.10g (%.2g %%)", text, *text ? ", " : "", c->value[i], 100 * (double)c->times[i] / total);
  return c->more ? ebb_pool_text(pool, "%s and many more", text) : c->count > SHOWN ? ebb_pool_text(pool, "%s and %d more", text, c->count - SHOWN) : text;
}

/* "0:0,1:1,4:2": the values numbered in rising order; of very many, all but the first as one class. */
static const char *map_to_write(const ebb_census *c, ebb_pool *pool)
{
  const char *text = "";
  int class = 0, first = next_value(c, -INFINITY);
  double most = 0;
  for (int i = 0; i < c->count; i++) most = fmax(most, c->value[i]);
  if (c->count > SHOWN) return ebb_pool_text(pool, "%.0f:0,%.0f-%.0f:1, or other ranges", c->value[first], c->value[first] + 1, most);
  for (int i = next_value(c, -INFINITY); i >= 0; i = next_value(c, c->value[i]))
    text = ebb_pool_text(pool, "%s%s%.0f:%d", text, *text ? "," : "", c->value[i], class++);
  return text;
}

static ebb_status refuse_value(const ebb_census *c, int at, int classes, ebb_pool *pool)
{
  const ebb_volume *v = c->where[at];
  uint64_t s = c->site[at], hw = (uint64_t)v->size[1] * (uint64_t)v->size[2];
  bool whole = c->value[at] == floor(c->value[at]);
  return ebb_fail(EBB_DATA,
                  "%s:%s: expected labels %s, found %.10g at sample %u, voxel (%llu, %llu, %llu); the values there are: %s\nhint: %s%s",
                  v->stack->file, v->stack->label->path, classes ? ebb_pool_text(pool, "0 to %d", classes - 1) : "from 0 on, whole",
                  c->value[at], v->sample, (unsigned long long)(s / hw),
                  (unsigned long long)(s % hw / (uint64_t)v->size[2]), (unsigned long long)(s % (uint64_t)v->size[2]),
                  histogram(c, pool), whole ? "if they stand for classes, data.label_map=" : "labels are class numbers; choose the dataset with data.label=NAME; if they are probabilities, data.label_map=soft",
                  whole ? map_to_write(c, pool) : "");
}

/* A mask of 0 and 255 (or another single value) has two classes. */
static bool is_mask(const ebb_census *c)
{
  return c->soft == 0 && c->count == 2 && !c->more && fmin(c->value[0], c->value[1]) == 0 && fmax(c->value[0], c->value[1]) == 255;
}

static ebb_status settle_soft(const ebb_census *c, ebb_notes *notes, int *classes)
{
  const ebb_volume *v = c->where[0];
  if (*classes && *classes != c->soft)
    return ebb_fail(EBB_DATA, "%s:%s: expected probabilities of %d classes, found %d\nhint: data.classes=%d, or one channel for each class", v->stack->file,
                    v->stack->label->path, *classes, c->soft, c->soft);
  *classes = c->soft;
  ebb_note(notes, "labels are soft: probabilities of %d classes%s; metrics take the most probable one", c->soft, v->stack->masks ? "" : ", given for class 1");
  return EBB_OK;
}

ebb_status ebb_census_settle(const ebb_census *c, ebb_notes *notes, int *classes, ebb_label_map *map, bool training)
{
  int most = 0;
  if (c->soft) EBB_TRY(settle_soft(c, notes, classes));
  if (training && map->count == 0 && is_mask(c) && *classes <= 2) {
    *map = (ebb_label_map){.count = 2, .low = {0, 255}, .high = {0, 255}, .class = {0, 1}};
    ebb_note(notes, "labels are masks of 0 and 255: 255 is class 1 (data.label_map overrides)");
  }
  if (training && map->count == 0 && c->masks && next_value(c, -INFINITY) >= 0 && c->value[next_value(c, -INFINITY)] > 0) make_one_hot(map);
  if (training && c->masks)
    ebb_note(notes, map->one_hot ? "labels are one-hot: mask k is class k, counted from 0" : "labels are masks: mask k is class k, counted from 1, 0 is where none is");
  for (int i = 0; i < c->count; i++) {
    int class = ebb_label_class(map, *classes, c->value[i]);
    if (class < 0 || (*classes && class >= *classes) || class > 65535) return refuse_value(c, i, *classes, notes->pool);
    if (class > most) most = class;
  }
  if (c->more) return ebb_fail(EBB_DATA, "%s:%s: expected label maps of at most %d values, found more: %s\nhint: choose the dataset with data.label=NAME",
                               c->where[0]->stack->file, c->where[0]->stack->label->path, EBB_VALUES_MOST, histogram(c, notes->pool));
  if (training && c->count == 1) ebb_note(notes, "warning: all labels are %.10g: there is nothing to learn", c->value[0]);
  ebb_note(notes, "labels: %s", histogram(c, notes->pool));
  if (*classes == 0) {
    *classes = most + 1 > 2 ? most + 1 : 2;
    ebb_note(notes, "%d classes, the largest label + 1 (data.classes overrides)", *classes);
  }
  return EBB_OK;
}
