/* verb_layers.c -- `ebb layers`: the table of layers, as the engine has it. */
#include <jansson.h>
#include <stdio.h>

#include "compose/catalogue.h"
#include "print.h"
#include "verb.h"

static int print_json(void)
{
  json_t *rows = json_array();
  for (size_t i = 0; i < ebb_catalogue_count(); i++) {
    const ebb_layer_ops *l = ebb_catalogue_at(i);
    json_array_append_new(rows, json_pack("{s:s, s:b, s:s, s:s}", "name", l->name, "reversible", l->inverse != NULL,
                                          "formula", l->formula, "source", l->source));
  }
  return ebb_print_json(json_pack("{s:o}", "layers", rows));
}

static int run(const ebb_flags *flags, ebb_words words)
{
  (void)words;
  if (flags->json) return print_json();
  printf("%-18s %-10s  %s\n", "layer", "reversible", "formula and source");
  for (size_t i = 0; i < ebb_catalogue_count(); i++) {
    const ebb_layer_ops *l = ebb_catalogue_at(i);
    printf("%-18s %-10s  %s\n", l->name, l->inverse ? "yes" : "no", l->formula);
    if (*l->source) printf("%31s%s\n", "", l->source);
  }
  return EBB_OK;
}

const ebb_verb ebb_verb_layers = {
  .name = "layers", .arguments = "", .summary = "Lists the layers, with formula and source",
  .text = "A reversible layer needs no stored input: it is computed back from the output.",
  .flags = "json", .sections = "", .least = 0, .run = run,
};
