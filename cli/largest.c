/* largest.c -- see largest.h. */
#include "largest.h"

#include <stdio.h>

#include "build.h"
#include "print.h"
#include "vary.h"

enum { UNIT_MOST = 64, VALUE_MOST = 1 << 20, WORDS_MOST = 200 };

/* A search: values are multiples of `unit`. */
typedef struct search {
  ebb_config *config;
  ebb_words   words;
  const char *name;
  size_t      room;
  int         unit;
} search;

/* Bytes of the plan with this value. */
static ebb_status peak_at(size_t *peak, const search *s, int value)
{
  ebb_config  c;
  char       *at[WORDS_MOST + 1];
  const char *word;
  EBB_TRY(ebb_vary(&word, s->config, s->name, ebb_pool_text(&s->config->pool, "%d", value)));
  for (int i = 0; i < s->words.count; i++) at[i] = s->words.at[i];
  at[s->words.count] = ebb_pool_text(&s->config->pool, "%s", word);
  EBB_TRY(ebb_build_load(&c, (ebb_words){at, s->words.count + 1}));
  ebb_status status = ebb_verb_planned(peak, &c);
  ebb_config_clear(&c);
  return status;
}

/* Of what all values must be multiples, so that a network can be built. */
static ebb_status find_unit(search *s)
{
  size_t     peak;
  ebb_status status = EBB_OK;
  for (s->unit = 1; s->unit <= UNIT_MOST; s->unit *= 2) {
    status = peak_at(&peak, s, 5 * s->unit);
    if (status == EBB_OK) status = peak_at(&peak, s, 7 * s->unit);
    if (status != EBB_CONFIG) return status;
  }
  return status;
}

/* Bytes of the plan with so many units. */
static ebb_status units_peak(size_t *peak, const search *s, int units)
{
  if (units * s->unit > VALUE_MOST)
    return ebb_fail(EBB_CONFIG, "--fit=%s: %d still fits, memory does not depend on it\nhint: where data.train is there, its shape counts", s->name,
                    units / 2 * s->unit);
  return peak_at(peak, s, units * s->unit);
}

/* The largest number of units that fits, 0: none does, and what it and the next one take. */
static ebb_status find(int *units, size_t peak[2], const search *s)
{
  size_t bytes;
  int    fits = 0, too_many = 1;
  EBB_TRY(units_peak(&peak[1], s, too_many));
  while (peak[1] <= s->room) {
    fits = too_many, too_many *= 2, peak[0] = peak[1];
    EBB_TRY(units_peak(&peak[1], s, too_many));
  }
  while (too_many - fits > 1) {
    int middle = (fits + too_many) / 2;
    EBB_TRY(units_peak(&bytes, s, middle));
    if (bytes <= s->room) fits = middle, peak[0] = bytes;
    else too_many = middle, peak[1] = bytes;
  }
  *units = fits;
  return EBB_OK;
}

static int tell(const search *s, int units, const size_t peak[2], bool json)
{
  char room[EBB_BYTES_TEXT], has[EBB_BYTES_TEXT], more[EBB_BYTES_TEXT];
  int  value = units * s->unit;
  if (json)
    return ebb_print_json(json_pack("{s:s, s:i, s:I, s:I, s:i, s:I}", "fit", s->name, "largest", value, "bytes", (json_int_t)peak[0], "room",
                                    (json_int_t)s->room, "next", value + s->unit, "next_bytes", (json_int_t)peak[1]));
  printf("%s %d is the largest that fits in %s: its peak is %s; %d needs %s\n", s->name, value, ebb_print_bytes(room, s->room),
         ebb_print_bytes(has, peak[0]), value + s->unit, ebb_print_bytes(more, peak[1]));
  return EBB_OK;
}

int ebb_largest(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  search     s = {.config = c, .words = words, .name = flags->fit, .room = c->run.memory ? c->run.memory : ebb_memory_available()};
  int        units;
  size_t     peak[2] = {0, 0};
  ebb_status status = words.count > WORDS_MOST ? ebb_fail(EBB_USAGE, "expected at most %d words", WORDS_MOST) : find_unit(&s);
  if (status == EBB_OK) status = find(&units, peak, &s);
  if (status == EBB_OK && units == 0)
    status = ebb_fail(EBB_OSERR, "--fit=%s: %zu bytes are allowed, %s %d needs %zu", s.name, s.room, s.name, s.unit, peak[1]);
  return status == EBB_OK ? tell(&s, units, peak, flags->json) : ebb_verb_failed(status);
}
