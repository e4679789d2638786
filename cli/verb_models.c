/* verb_models.c -- `ebb models`: the catalogue of networks, and one network's options. */
#include <jansson.h>
#include <stdio.h>

#include "config.h"
#include "print.h"
#include "verb.h"

static json_t *option_rows(const ebb_network *n, ebb_pool *pool)
{
  void   *options = ebb_pool_take(pool, n->options_size ? n->options_size : 1);
  json_t *rows = json_array();
  if (ebb_network_options(n, options, "", pool) != EBB_OK) return rows;
  for (const ebb_option *o = n->options; o->key; o++)
    json_array_append_new(rows, json_pack("{s:s, s:s, s:s, s:s, s:s*}", "key", o->key, "default",
                                          ebb_option_get(options, o, pool), "unit", o->unit, "help", o->help, "choices",
                                          o->choices));
  return rows;
}

static json_t *row(const ebb_network *n, ebb_pool *pool)
{
  return json_pack("{s:s, s:s, s:s, s:o}", "name", n->name, "summary", n->summary, "source", n->source, "options",
                   option_rows(n, pool));
}

static int print_json(const ebb_network *only)
{
  ebb_pool pool = {0};
  json_t  *rows = json_array();
  for (const ebb_network *n = ebb_networks; n->name; n++)
    if (!only || n == only) json_array_append_new(rows, row(n, &pool));
  int code = ebb_print_json(json_pack("{s:o}", "models", rows));
  ebb_pool_clear(&pool);
  return code;
}

static int print_one(const ebb_network *n)
{
  ebb_pool   pool = {0};
  void      *options = ebb_pool_take(&pool, n->options_size ? n->options_size : 1);
  ebb_status status = ebb_network_options(n, options, "", &pool);
  printf("%s: %s\n", n->name, n->summary);
  if (*n->source) printf("source: %s\n", n->source);
  if (status == EBB_OK) ebb_options_print(stdout, "model", n->options, options, &pool);
  ebb_pool_clear(&pool);
  return status == EBB_OK ? EBB_OK : ebb_verb_failed(status);
}

static int run(const ebb_flags *flags, ebb_words words)
{
  const ebb_network *only = words.count ? ebb_network_find(words.at[0]) : NULL;
  if (words.count && !only) return ebb_verb_failed(EBB_USAGE);
  if (flags->json) return print_json(only);
  if (only) return print_one(only);
  for (const ebb_network *n = ebb_networks; n->name; n++) printf("%-12s %s (%s)\n", n->name, n->summary, *n->source ? n->source : "-");
  puts("\n`ebb models NAME` shows a network's options with their defaults.");
  return EBB_OK;
}

const ebb_verb ebb_verb_models = {
  .name = "models", .arguments = "[NAME]", .summary = "Lists the networks, or one network's options", .text = "",
  .flags = "json", .sections = "", .least = 0, .run = run,
};
