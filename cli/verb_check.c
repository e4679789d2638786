/* verb_check.c -- `ebb check`: what data files hold, and what training on them would trip over. */
#include <string.h>

#include "config.h"
#include "print.h"
#include "verb.h"

/* Files first, then overrides: key=value words are those with '=' that are no files of that name. */
static int files_in(ebb_words words)
{
  int count = 0;
  while (count < words.count && !strchr(words.at[count], '=')) count++;
  return count;
}

static ebb_status check_one(json_t *reports, const char *path, const ebb_config *c, bool json)
{
  json_t    *report = NULL;
  ebb_status status = ebb_data_check(json ? &report : NULL, json ? NULL : stdout, path, &c->data, c->train.batch);
  if (status != EBB_OK) ebb_verb_failed(status);
  if (json)
    json_array_append_new(reports, json_pack("{s:s, s:i, s:s, s:o}", "file", path, "status", (int)status, "message",
                                             status == EBB_OK ? "" : ebb_message(), "report", report ? report : json_null()));
  return status;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  int        files = files_in(words);
  ebb_config c;
  ebb_status status = files ? ebb_config_plain(&c, words.at + files, words.count - files)
                            : ebb_fail(EBB_USAGE, "check: expected files, then key=value words, found no file");
  if (status != EBB_OK) return ebb_verb_failed(status);
  json_t *reports = json_array();
  for (int i = 0; i < files; i++) {
    ebb_status one = check_one(reports, words.at[i], &c, flags->json);
    if (status == EBB_OK) status = one;
  }
  ebb_config_clear(&c);
  int printed = flags->json ? ebb_print_json(json_incref(reports)) : EBB_OK;
  json_decref(reports);
  return status != EBB_OK ? (int)status : printed;
}

const ebb_verb ebb_verb_check = {
  .name = "check", .arguments = "DATA... [data.key=value ...]", .summary = "Tells what data files hold and what is wrong with them",
  .text = "DATA is what data.train takes: a file, with label maps also a folder or a pattern, with a range such as [0:160]. The exit code is "
          "that of the first with a fault.",
  .flags = "json", .sections = "data", .least = 1, .run = run,
};
