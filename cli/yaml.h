/* yaml.h -- a YAML file as sections of texts.
 * Owns: libcyaml. The schema is made at run time from option tables; values stay texts, which the tables then read.
 * Must not know: what sections mean. */
#pragma once
#include "base/option.h"

typedef struct ebb_yaml_section {
  const char       *name;      /* "train"; "" for keys at the top                                 */
  const ebb_option *table;     /* its keys                                                        */
  const char       *extra;     /* one more key, not in the table ("name"), or NULL                */
} ebb_yaml_section;

/* Calls `take` for each key that `text` holds, in the order of the tables. `origin` is for messages. With `lenient`,
 * keys and sections that are not in the tables are passed over. */
ebb_status ebb_yaml_read(const char *text, const char *origin, const ebb_yaml_section *sections, int count, bool lenient,
                         ebb_status (*take)(const char *section, const char *key, const char *value, void *context),
                         void *context);
