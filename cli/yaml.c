/* yaml.c -- see yaml.h. Memory of libcyaml comes from a pool of this call's, so that nothing is left behind. */
#include "yaml.h"

#include <cyaml/cyaml.h>
#include <stdio.h>
#include <string.h>

enum { VALUE_MOST = 65536 };

/* What libcyaml fills in for one key: a text, or a list of texts. */
typedef struct slot { char *text; char **list; uint32_t count; } slot;

/* libcyaml's account of an error: the reason, and where in the file its path of sections and keys ends. */
typedef struct complaint { char reason[256], path[2][128]; int depth, line; } complaint;

typedef struct reader {
  ebb_pool              *pool;
  const ebb_yaml_section *sections;
  int                    count;
  const char            *origin;
  complaint              said;
} reader;

static void listen(cyaml_log_t level, void *context, const char *format, va_list args)
{
  complaint *said = context;
  char       line[256], key[128];
  (void)level;
  vsnprintf(line, sizeof line, format, args);
  line[strcspn(line, "\n")] = '\0';
  const char *at = strstr(line, "(line: ");
  if (at && said->line == 0) (void)sscanf(at, "(line: %d", &said->line);
  if (sscanf(line, " in mapping field '%127[^']'", key) == 1) {
    if (said->depth < 2) snprintf(said->path[said->depth++], sizeof said->path[0], "%s", key);
  } else if (!said->reason[0] && strncmp(line, "Load: ", 6) == 0 && !strstr(line, "Backtrace")) {
    snprintf(said->reason, sizeof said->reason, "%s", line + 6);
  }
}

/* realloc within the pool: the size stands before the bytes; nothing is given back before the end. */
static void *pool_memory(void *context, void *old, size_t size)
{
  enum { HEAD = 16 };
  if (size == 0) return NULL;
  char *p = ebb_pool_take(context, size + HEAD);
  memcpy(p, &size, sizeof size);
  if (old) {
    size_t had;
    memcpy(&had, (char *)old - HEAD, sizeof had);
    memcpy(p + HEAD, old, had < size ? had : size);
  }
  return p + HEAD;
}

/* ---- the schema --------------------------------------------------------------------------------------------- */
static const cyaml_schema_value_t list_entry = {
  .type = CYAML_STRING, .flags = CYAML_FLAG_POINTER, .data_size = sizeof(char), .string = {.min = 0, .max = VALUE_MOST}};

static bool is_list(const ebb_option *o)
{
  return o->kind == EBB_OPTION_LIST || o->kind == EBB_OPTION_REALS;
}

static cyaml_schema_field_t text_field(const char *key, size_t at)
{
  return (cyaml_schema_field_t){
    .key = key,
    .data_offset = (uint32_t)(at + offsetof(slot, text)),
    .value = {.type = CYAML_STRING, .flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, .data_size = sizeof(char),
              .string = {.min = 0, .max = VALUE_MOST}}};
}

/* An empty list looks like none to libcyaml, which is the default: so only where that is empty. */
static cyaml_schema_field_t list_field(const ebb_option *o, size_t at)
{
  return (cyaml_schema_field_t){
    .key = o->key,
    .data_offset = (uint32_t)(at + offsetof(slot, list)),
    .count_offset = (uint32_t)(at + offsetof(slot, count)),
    .count_size = sizeof(uint32_t),
    .value = {.type = CYAML_SEQUENCE, .flags = CYAML_FLAG_POINTER | CYAML_FLAG_OPTIONAL, .data_size = sizeof(char *),
              .sequence = {.entry = &list_entry, .min = *o->standard ? 1 : 0, .max = 1024}}};
}

static int keys_of(const ebb_yaml_section *s)
{
  int count = s->extra != NULL;
  for (const ebb_option *o = s->table; o && o->key; o++) count++;
  return count;
}

/* The fields of one section; slot i is the i-th key, the extra one first. */
static int section_fields(cyaml_schema_field_t *f, const ebb_yaml_section *s)
{
  int count = 0;
  if (s->extra) {
    f[0] = text_field(s->extra, 0);
    count = 1;
  }
  for (const ebb_option *o = s->table; o && o->key; o++, count++)
    f[count] = is_list(o) ? list_field(o, (size_t)count * sizeof(slot))
                          : text_field(o->key, (size_t)count * sizeof(slot));
  return count;
}

/* A section without keys at all still needs one field, for libcyaml. */
static cyaml_schema_field_t section_schema(const reader *r, const ebb_yaml_section *s, size_t at)
{
  int                   keys = keys_of(s);
  cyaml_schema_field_t *f = ebb_pool_take(r->pool, (size_t)(keys + 1) * sizeof *f);
  section_fields(f, s);
  return (cyaml_schema_field_t){
    .key = s->name,
    .data_offset = (uint32_t)at,
    .value = {.type = CYAML_MAPPING, .flags = CYAML_FLAG_POINTER_NULL | CYAML_FLAG_OPTIONAL,
              .data_size = (uint32_t)((size_t)(keys ? keys : 1) * sizeof(slot)), .mapping = {.fields = f}}};
}

/* The file as a whole: one pointer to slots for each section, and the slots of the keys at the top themselves. */
static cyaml_schema_value_t schema(const reader *r, size_t *offsets)
{
  size_t room = 1;
  size_t bytes = 0;
  for (int i = 0; i < r->count; i++) room += *r->sections[i].name ? 1 : (size_t)keys_of(&r->sections[i]);
  cyaml_schema_field_t *f = ebb_pool_take(r->pool, room * sizeof *f);
  for (int i = 0, k = 0; i < r->count; i++) {
    const ebb_yaml_section *s = &r->sections[i];
    offsets[i] = bytes;
    if (*s->name) {
      f[k++] = section_schema(r, s, bytes);
      bytes += sizeof(slot *);
    } else {
      int keys = section_fields(f + k, s);
      for (int j = 0; j < keys; j++) {
        f[k + j].data_offset += (uint32_t)bytes;
        f[k + j].count_offset += (uint32_t)bytes;
      }
      k += keys;
      bytes += (size_t)keys * sizeof(slot);
    }
  }
  return (cyaml_schema_value_t){
    .type = CYAML_MAPPING, .flags = CYAML_FLAG_POINTER, .data_size = (uint32_t)bytes, .mapping = {.fields = f}};
}

/* ---- errors --------------------------------------------------------------------------------------------------- */
static const ebb_yaml_section *section_named(const reader *r, const char *name)
{
  for (int i = 0; i < r->count; i++)
    if (strcmp(r->sections[i].name, name) == 0) return &r->sections[i];
  return NULL;
}

/* "\nhint: did you mean ...?" or the list of names, as one text of the pool. */
static const char *names_hint(const reader *r, const char *word, const char *section, const char *const *names, size_t count)
{
  const char *near = ebb_nearest(word, names, count);
  const char *dot = *section ? "." : "";
  if (near) return ebb_pool_text(r->pool, "\nhint: did you mean %s%s%s?", section, dot, near);
  const char *list = "";
  for (size_t i = 0; i < count; i++) list = ebb_pool_text(r->pool, "%s %s", list, names[i]);
  return ebb_pool_text(r->pool, "\nhint: %s%s can hold%s", *section ? "section " : "the file", section, list);
}

enum { NAMES_MOST = 96 };

static ebb_status unknown_key(const reader *r, const char *section, const char *key)
{
  const char             *names[NAMES_MOST] = {NULL};
  size_t                  count = 0;
  const ebb_yaml_section *s = section_named(r, section);
  if (s && s->extra) names[count++] = s->extra;
  for (const ebb_option *o = s ? s->table : NULL; o && o->key && count < NAMES_MOST; o++) names[count++] = o->key;
  for (int i = 0; !*section && i < r->count && count < NAMES_MOST; i++)
    if (*r->sections[i].name) names[count++] = r->sections[i].name;
  return ebb_fail(EBB_CONFIG, "%s, near line %d: there is no option %s%s%s%s", r->origin, r->said.line, section,
                  *section ? "." : "", key, names_hint(r, key, section, names, count));
}

static ebb_status refuse(const reader *r, cyaml_err_t why)
{
  const complaint *said = &r->said;
  const char      *section = said->depth == 2 ? said->path[1] : "";
  const char      *key = said->depth ? said->path[0] : "";
  char             word[128];
  if (why == CYAML_ERR_INVALID_KEY && sscanf(said->reason, "Unexpected key: %127[^\n]", word) == 1)
    return unknown_key(r, said->depth ? said->path[said->depth - 1] : "", word);
  if (why == CYAML_ERR_ALIAS)
    return ebb_fail(EBB_CONFIG, "%s, near line %d: expected plain values, found a YAML alias (*name)\nhint: write the value out",
                    r->origin, said->line);
  if (why == CYAML_ERR_INVALID_VALUE && strncmp(said->reason, "Expecting SEQUENCE", 18) == 0)
    return ebb_fail(EBB_CONFIG, "%s, near line %d: %s%s%s: expected a list, found a single value\nhint: write [32, 64]",
                    r->origin, said->line, section, *section ? "." : "", key);
  if (why == CYAML_ERR_INVALID_VALUE && strncmp(said->reason, "Expecting STRING", 16) == 0)
    return ebb_fail(EBB_CONFIG, "%s, near line %d: %s%s%s: expected one value, found a list or a section", r->origin,
                    said->line, section, *section ? "." : "", key);
  if (why == CYAML_ERR_SEQUENCE_ENTRIES_MIN)
    return ebb_fail(EBB_CONFIG, "%s, near line %d: %s%s%s: expected at least one number, found an empty list\n"
                    "hint: leave the key out for its default", r->origin, said->line, section, *section ? "." : "", key);
  return ebb_fail(EBB_CONFIG, "%s, near line %d: expected sections of 'key: value' lines, found: %s (%s)\n"
                  "hint: see the files in models/presets for the form", r->origin, said->line,
                  said->reason[0] ? said->reason : "no YAML", cyaml_strerror(why));
}

/* ---- reading -------------------------------------------------------------------------------------------------- */
/* A list as the text that option tables read, "32,64". */
static const char *joined(const reader *r, const slot *s)
{
  const char *text = "";
  for (uint32_t i = 0; i < s->count; i++) text = ebb_pool_text(r->pool, "%s%s%s", text, i ? "," : "", s->list[i]);
  return text;
}

typedef ebb_status (*taker)(const char *section, const char *key, const char *value, void *context);

static ebb_status hand_out(const reader *r, const ebb_yaml_section *s, const slot *slots, taker take, void *context)
{
  if (s->extra) {
    if (slots->text) EBB_TRY(take(s->name, s->extra, slots->text, context));
    slots++;
  }
  for (const ebb_option *o = s->table; o && o->key; o++, slots++) {
    const char *value = slots->list ? joined(r, slots) : slots->text;
    if (value) EBB_TRY(take(s->name, o->key, value, context));
  }
  return EBB_OK;
}

static ebb_status read_with(reader *r, const char *text, bool lenient, taker take, void *context)
{
  size_t              *offsets = ebb_pool_take(r->pool, (size_t)r->count * sizeof *offsets);
  cyaml_schema_value_t top = schema(r, offsets);
  char                *data = NULL;
  cyaml_config_t       settings = {.log_fn = listen, .log_ctx = &r->said, .mem_fn = pool_memory, .mem_ctx = r->pool,
                                   .log_level = CYAML_LOG_ERROR,
                                   .flags = CYAML_CFG_NO_ALIAS | (lenient ? CYAML_CFG_IGNORE_UNKNOWN_KEYS : 0)};
  cyaml_err_t why = cyaml_load_data((const uint8_t *)text, strlen(text), &settings, &top, (cyaml_data_t **)&data, NULL);
  if (why != CYAML_OK) return refuse(r, why);
  for (int i = 0; data && i < r->count; i++) {
    const ebb_yaml_section *s = &r->sections[i];
    slot                   *slots = (slot *)(void *)(data + offsets[i]);
    if (*s->name) memcpy(&slots, data + offsets[i], sizeof slots);
    if (slots) EBB_TRY(hand_out(r, s, slots, take, context));
  }
  return EBB_OK;
}

ebb_status ebb_yaml_read(const char *text, const char *origin, const ebb_yaml_section *sections, int count, bool lenient,
                         taker take, void *context)
{
  ebb_pool   pool = {0};
  reader     r = {.pool = &pool, .sections = sections, .count = count, .origin = origin};
  ebb_status status = read_with(&r, text, lenient, take, context);
  ebb_pool_clear(&pool);
  return status;
}
