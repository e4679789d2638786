/* config.c -- see config.h. */
#define _POSIX_C_SOURCE 200809L
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "yaml.h"

enum { FILE_MOST = 1 << 20, NAMES_MOST = 256 };

static const char *const section_names[EBB_SECTIONS] = {"model", "data", "train", "run", "predict", "sample"};

ebb_section ebb_config_section(ebb_config *c, int which)
{
  switch (which) {
  case EBB_MODEL_SECTION: return (ebb_section){"model", c->network ? c->network->options : NULL, c->model};
  case EBB_DATA_SECTION: return (ebb_section){"data", ebb_data_option_table, &c->data};
  case EBB_TRAIN_SECTION: return (ebb_section){"train", ebb_train_option_table, &c->train};
  case EBB_RUN_SECTION: return (ebb_section){"run", ebb_run_option_table, &c->run};
  case EBB_PREDICT_SECTION: return (ebb_section){"predict", ebb_predict_option_table, &c->predict};
  default: return (ebb_section){"sample", ebb_sample_option_table, &c->sample};
  }
}

/* ---- setting one key ------------------------------------------------------------------------------------------ */
/* Adds to the message where the value came from. */
static ebb_status from(const ebb_config *c, ebb_status status)
{
  return status == EBB_OK || !c->origin ? status : ebb_fail(status, "%s: %s", c->origin, ebb_message());
}

/* Do labels of the data count? */
static void settle_density(ebb_config *c)
{
  c->data.density = c->network->flow != EBB_NO_FLOW && !ebb_network_conditional(c->network, c->model);
}

static ebb_status set_name(ebb_config *c, const char *name)
{
  const ebb_network *n = ebb_network_find(name);
  if (!n) return EBB_CONFIG;
  if (n == c->network) return EBB_OK;
  c->network = n;
  ebb_options_default(&c->train, ebb_train_option_table);
  EBB_TRY(ebb_options_set(&c->train, ebb_train_option_table, "train", ebb_network_training(n), &c->pool));
  c->model = ebb_pool_take(&c->pool, n->options_size ? n->options_size : 1);
  EBB_TRY(ebb_network_options(n, c->model, "", &c->pool));
  settle_density(c);
  return EBB_OK;
}

static ebb_status set(ebb_config *c, const char *section, const char *key, const char *value)
{
  if (!*section && strcmp(key, "out") == 0) {
    if (!*value) return ebb_fail(EBB_CONFIG, "out: expected the name of a folder, found nothing");
    c->out = ebb_pool_text(&c->pool, "%s", value);
    return EBB_OK;
  }
  for (int i = 0; i < EBB_SECTIONS; i++) {
    ebb_section s = ebb_config_section(c, i);
    if (strcmp(s.name, section) != 0) continue;
    if (i == EBB_MODEL_SECTION && strcmp(key, "name") == 0) return set_name(c, value);
    if (!s.table)
      return ebb_fail(EBB_CONFIG, "model.%s: expected model.name as well, found none\nhint: `ebb models` lists the names", key);
    EBB_TRY(ebb_option_set(s.fields, s.table, section, key, value, &c->pool));
    if (i == EBB_MODEL_SECTION) settle_density(c);
    return EBB_OK;
  }
  const char *near = ebb_nearest(section, section_names, EBB_SECTIONS);
  return ebb_fail(EBB_CONFIG, "%s.%s: there is no section '%s'\nhint: %s%s%s", section, key, section,
                  near ? "did you mean " : "sections are model data train run predict sample", near ? near : "", near ? "?" : "");
}

/* ---- overrides ------------------------------------------------------------------------------------------------ */
/* The section that has an option `key`, for "batch=100" without "train."; NULL if none. */
static const char *section_with(ebb_config *c, const char *key)
{
  for (int i = 0; i < EBB_SECTIONS; i++)
    for (const ebb_option *o = ebb_config_section(c, i).table; o && o->key; o++)
      if (strcmp(o->key, key) == 0) return section_names[i];
  return strcmp(key, "name") == 0 ? "model" : NULL;
}

static ebb_status override(ebb_config *c, const char *word)
{
  const char *equals = strchr(word, '=');
  if (!equals)
    return ebb_fail(EBB_USAGE, "'%s': expected key=value, such as train.batch=100, found no '='", word);
  char *key = ebb_pool_text(&c->pool, "%.*s", (int)(equals - word), word);
  char *dot = strchr(key, '.');
  if (!dot && strcmp(key, "out") == 0) return set(c, "", key, equals + 1);
  if (!dot) {
    const char *section = section_with(c, key);
    return ebb_fail(EBB_CONFIG, "'%s': expected section.key=value, found no section\nhint: %s%s%s%s", word,
                    section ? "did you mean " : "keys look like train.batch or data.train", section ? section : "",
                    section ? "." : "", section ? ebb_pool_text(&c->pool, "%s?", word) : "");
  }
  *dot = '\0';
  return set(c, key, dot + 1, equals + 1);
}

/* Names the network before its options are set: all other words wait. */
static ebb_status overrides_apply(ebb_config *c, char *const *words, int count, bool names)
{
  for (int i = 0; i < count; i++)
    if ((strncmp(words[i], "model.name=", 11) == 0) == names) EBB_TRY(override(c, words[i]));
  return EBB_OK;
}

/* ---- from a text ---------------------------------------------------------------------------------------------- */
static const ebb_option no_options[] = {{.key = NULL}};

static ebb_status take_name(const char *section, const char *key, const char *value, void *context)
{
  if (strcmp(section, "model") != 0 || strcmp(key, "name") != 0) return EBB_OK;
  return from(context, set_name(context, value));
}

static ebb_status take_all(const char *section, const char *key, const char *value, void *context)
{
  ebb_config *c = context;
  if (strcmp(section, "model") == 0 && strcmp(key, "name") == 0) return EBB_OK;
  return from(c, set(c, section, key, value));
}

static void set_defaults(ebb_config *c)
{
  *c = (ebb_config){.out = "out"};
  for (int i = EBB_DATA_SECTION; i < EBB_SECTIONS; i++) ebb_options_default(ebb_config_section(c, i).fields, ebb_config_section(c, i).table);
}

/* All sections of a file; that of the model with the options of `model`. */
enum { FILE_SECTIONS = EBB_SECTIONS + 1 };
static void list_sections(ebb_yaml_section all[FILE_SECTIONS], ebb_config *c, const ebb_option *model)
{
  all[0] = (ebb_yaml_section){"", no_options, "out"};
  all[1] = (ebb_yaml_section){"model", model, "name"};
  for (int i = EBB_DATA_SECTION; i < EBB_SECTIONS; i++) all[i + 1] = (ebb_yaml_section){section_names[i], ebb_config_section(c, i).table, NULL};
}

/* Perhaps it is there, but misspelt: then that is the message. */
static ebb_status no_name(ebb_config *c, const char *text)
{
  ebb_yaml_section all[FILE_SECTIONS];
  list_sections(all, c, no_options);
  EBB_TRY(ebb_yaml_read(text, c->origin, all, FILE_SECTIONS, false, take_name, c));
  return ebb_fail(EBB_CONFIG, "%s: expected a section model with a name, found none\nhint: `ebb models` lists the names", c->origin);
}

/* The name first, as the network decides which keys section model has; an override of the name before the file's
 * other keys, for the same reason. */
static ebb_status parse(ebb_config *c, const char *text, char *const *overrides, int count)
{
  const ebb_yaml_section name = {"model", no_options, "name"};
  EBB_TRY(ebb_yaml_read(text, c->origin, &name, 1, true, take_name, c));
  EBB_TRY(overrides_apply(c, overrides, count, true));
  if (!c->network) return no_name(c, text);
  ebb_yaml_section all[FILE_SECTIONS];
  list_sections(all, c, c->network->options);
  EBB_TRY(ebb_yaml_read(text, c->origin, all, FILE_SECTIONS, false, take_all, c));
  return overrides_apply(c, overrides, count, false);
}

/* An unfinished configuration is given back at once. */
static ebb_status settle(ebb_config *c, ebb_status status)
{
  if (status != EBB_OK) ebb_config_clear(c);
  return status;
}

ebb_status ebb_config_parse(ebb_config *c, const char *origin, const char *text, char *const *overrides, int count)
{
  set_defaults(c);
  c->origin = ebb_pool_text(&c->pool, "%s", origin);
  return settle(c, parse(c, text, overrides, count));
}

ebb_status ebb_config_plain(ebb_config *c, char *const *overrides, int count)
{
  set_defaults(c);
  return settle(c, overrides_apply(c, overrides, count, false));
}

void ebb_config_clear(ebb_config *c)
{
  ebb_pool_clear(&c->pool);
  c->network = NULL;
  c->model = NULL;
}

/* ---- finding files -------------------------------------------------------------------------------------------- */
#ifndef EBB_PRESETS_SOURCE
#define EBB_PRESETS_SOURCE "models/presets"
#endif
#ifndef EBB_PRESETS_INSTALLED
#define EBB_PRESETS_INSTALLED "/usr/local/share/ebb/presets"
#endif

static const char *preset_folder(int i)
{
  const char *given = getenv("EBB_PRESETS");
  const char *folders[] = {given ? given : "", EBB_PRESETS_SOURCE, EBB_PRESETS_INSTALLED};
  return folders[i];
}
enum { PRESET_FOLDERS = 3 };

static bool is_file(const char *path)
{
  struct stat s;
  return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

static bool looks_like_path(const char *source)
{
  size_t length = strlen(source);
  return strchr(source, '/') || (length > 5 && strcmp(source + length - 5, ".yaml") == 0) ||
         (length > 4 && strcmp(source + length - 4, ".yml") == 0);
}

static const char *preset_path(ebb_pool *pool, const char *name)
{
  for (int i = 0; i < PRESET_FOLDERS; i++) {
    const char *path = *preset_folder(i) ? ebb_pool_text(pool, "%s/%s.yaml", preset_folder(i), name) : "";
    if (*path && is_file(path)) return path;
  }
  return NULL;
}

/* Names of presets and networks; returns how many. */
static size_t known_names(const char *names[NAMES_MOST], ebb_pool *pool)
{
  size_t count = 0;
  for (int i = 0; i < PRESET_FOLDERS; i++) {
    DIR *folder = *preset_folder(i) ? opendir(preset_folder(i)) : NULL;
    for (struct dirent *e; folder && (e = readdir(folder));) {
      const char *dot = strstr(e->d_name, ".yaml");
      if (dot && !dot[5] && count < NAMES_MOST)
        names[count++] = ebb_pool_text(pool, "%.*s", (int)(dot - e->d_name), e->d_name);
    }
    if (folder) closedir(folder);
  }
  for (const ebb_network *n = ebb_networks; n->name && count < NAMES_MOST; n++) names[count++] = n->name;
  return count;
}

static ebb_status unknown_source(const char *source)
{
  ebb_pool    pool = {0};
  const char *names[NAMES_MOST] = {NULL};
  size_t      count = known_names(names, &pool);
  const char *near = ebb_nearest(source, names, count);
  ebb_status  status =
      ebb_fail(EBB_NOINPUT, "%s: expected a configuration file, a preset or a network, found none of that name\nhint: %s%s%s",
               source, near ? "did you mean " : "`ebb models` lists the networks; presets stand in models/presets",
               near ? near : "", near ? "?" : "");
  ebb_pool_clear(&pool);
  return status;
}

static ebb_status read_file(const char **text, const char *path, ebb_pool *pool)
{
  struct stat s;
  FILE       *f = stat(path, &s) == 0 && S_ISREG(s.st_mode) ? fopen(path, "r") : NULL;
  if (!f)
    return ebb_fail(EBB_NOINPUT, "%s: expected a configuration file, found: %s\nhint: presets are given by name, without .yaml",
                    path, errno ? strerror(errno) : "not a regular file");
  char  *bytes = s.st_size <= FILE_MOST ? ebb_pool_take(pool, FILE_MOST + 1) : NULL;
  size_t count = bytes ? fread(bytes, 1, FILE_MOST + 1, f) : 0;
  bool   failed = ferror(f) != 0;
  fclose(f);
  *text = bytes;
  if (failed) return ebb_fail(EBB_IOERR, "%s: reading failed: %s", path, strerror(errno));
  if (!bytes || count > FILE_MOST)
    return ebb_fail(EBB_CONFIG, "%s: expected a configuration of at most %d bytes, found %lld", path, FILE_MOST, (long long)s.st_size);
  if (memchr(bytes, '\0', count))
    return ebb_fail(EBB_CONFIG, "%s: expected a YAML text, found binary data\nhint: evaluate checkpoints with `ebb eval`", path);
  return EBB_OK;
}

ebb_status ebb_config_load(ebb_config *c, const char *source, char *const *overrides, int count)
{
  ebb_pool    pool = {0};
  const char *path = looks_like_path(source) || is_file(source) ? source : preset_path(&pool, source);
  const char *text = NULL;
  ebb_status  status = EBB_OK;
  errno = 0;
  if (path) status = read_file(&text, path, &pool);
  else if (ebb_network_find(source)) text = ebb_pool_text(&pool, "model: {name: %s}\n", source);
  else status = unknown_source(source);
  if (status == EBB_OK) status = ebb_config_parse(c, path ? path : source, text, overrides, count);
  ebb_pool_clear(&pool);
  return status;
}

/* ---- writing -------------------------------------------------------------------------------------------------- */
/* A value as YAML: lists in brackets, texts in single quotes with ' doubled. */
static const char *yaml_value(const ebb_option *o, const char *value, ebb_pool *pool)
{
  if (o->kind == EBB_OPTION_LIST || o->kind == EBB_OPTION_REALS) return ebb_pool_text(pool, "[%s]", value);
  if (o->kind != EBB_OPTION_TEXT) return value;
  char *quoted = ebb_pool_take(pool, 2 * strlen(value) + 3);
  char *p = quoted;
  *p++ = '\'';
  for (; *value; value++) {
    if (*value == '\'') *p++ = '\'';
    *p++ = *value;
  }
  *p = '\'';
  return quoted;
}

const char *ebb_config_text(ebb_config *c)
{
  const ebb_option out = {.key = "out", .kind = EBB_OPTION_TEXT};
  ebb_pool        *p = &c->pool;
  const char      *text = ebb_pool_text(p, "out: %s\n", yaml_value(&out, c->out, p));
  for (int i = 0; i < EBB_SECTIONS; i++) {
    ebb_section s = ebb_config_section(c, i);
    text = ebb_pool_text(p, "%s%s:\n", text, s.name);
    if (i == EBB_MODEL_SECTION) text = ebb_pool_text(p, "%s  name: %s\n", text, c->network->name);
    for (const ebb_option *o = s.table; o->key; o++)
      text = ebb_pool_text(p, "%s  %s: %s\n", text, o->key, yaml_value(o, ebb_option_get(s.fields, o, p), p));
  }
  return text;
}

void ebb_config_compare(ebb_config *a, ebb_config *b,
                        void (*visit)(const char *key, const char *in_a, const char *in_b, void *context), void *context)
{
  if (a->network != b->network) visit("model.name", a->network->name, b->network->name, context);
  for (int i = 0; i < EBB_SECTIONS; i++) {
    ebb_section in_a = ebb_config_section(a, i), in_b = ebb_config_section(b, i);
    if (in_a.table != in_b.table) continue;
    for (const ebb_option *o = in_a.table; o->key; o++) {
      const char *va = ebb_option_get(in_a.fields, o, &a->pool), *vb = ebb_option_get(in_b.fields, o, &b->pool);
      if (strcmp(va, vb) != 0) visit(ebb_pool_text(&a->pool, "%s.%s", in_a.name, o->key), va, vb, context);
    }
  }
}

/* ---- help ----------------------------------------------------------------------------------------------------- */
static const char *kind_word(const ebb_option *o)
{
  switch (o->kind) {
  case EBB_OPTION_INT: return "whole";
  case EBB_OPTION_SIZE: return "size";
  case EBB_OPTION_REAL: return "number";
  case EBB_OPTION_BOOL: return "true|false";
  case EBB_OPTION_TEXT: return "text";
  case EBB_OPTION_CHOICE: return o->choices;
  case EBB_OPTION_LIST: return "wholes";
  case EBB_OPTION_REALS: return "numbers";
  }
  return "";
}

void ebb_options_print(FILE *out, const char *section, const ebb_option *table, const void *fields, ebb_pool *pool)
{
  for (const ebb_option *o = table; o->key; o++) {
    const char *value = fields ? ebb_option_get(fields, o, pool) : o->standard;
    const char *bounds = o->low == 0 && o->high == 0 ? "" : ebb_pool_text(pool, " in %.10g..%.10g", o->low, o->high);
    fprintf(out, "  %s.%s=%s%s%s\n", section, o->key, *value ? value : "''", *o->unit ? " " : "", o->unit);
    fprintf(out, "        %s (%s%s)\n", o->help, kind_word(o), bounds);
  }
}
