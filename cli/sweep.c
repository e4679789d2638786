/* sweep.c -- see sweep.h. */
#include "sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure.h"
#include "print.h"
#include "report.h"
#include "vary.h"

enum { POINTS_MOST = 64 };

typedef struct point { const char *value, *word; json_t *answer[EBB_POLICIES + 1]; /* of each mode, NULL: no memory */ } point;

typedef struct sweep {
  const ebb_sweep *with;
  const char      *name;
  point            at[POINTS_MOST];
  int              points;
} sweep;

/* ---- the points -------------------------------------------------------------------------------------------------- */
static ebb_status read_points(sweep *s, const char *text)
{
  ebb_pool   *pool = &s->with->config->pool;
  const char *values = strchr(text, '=');
  const char *last = text;
  for (const char *p = text; (p = strchr(p, '=')); p++)
    if (!strchr(p + 1, '=')) values = p;
  if (!values || values == last || !values[1])
    return ebb_fail(EBB_USAGE, "--sweep: expected depth, size, batch or a key with values, such as depth=10,50,100, found '%s'", text);
  s->name = ebb_pool_text(pool, "%.*s", (int)(values - text), text);
  for (const char *p = values + 1; *p;) {
    size_t length = strcspn(p, ",");
    if (s->points == POINTS_MOST) return ebb_fail(EBB_USAGE, "--sweep: expected at most %d values", POINTS_MOST);
    point *k = &s->at[s->points++];
    k->value = ebb_pool_text(pool, "%.*s", (int)length, p);
    EBB_TRY(ebb_vary(&k->word, s->with->config, s->name, k->value));
    p += length + (p[length] == ',');
  }
  return EBB_OK;
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */
static ebb_status measure(sweep *s)
{
  const ebb_sweep *w = s->with;
  for (int i = 0; i < s->points; i++)
    for (int k = 0; k < w->count; k++) {
      ebb_status status = w->measure(&s->at[i].answer[k], w->modes[k], s->at[i].word, w->context);
      if (status != EBB_OK && status != EBB_OSERR) return status;
    }
  return EBB_OK;
}

static double median_of(const json_t *answer)
{
  const json_t *list = json_object_get(answer, "step_seconds");
  double        seconds[4096];
  int           count = 0;
  for (size_t i = 0; i < json_array_size(list) && count < 4096; i++) seconds[count++] = json_number_value(json_array_get(list, i));
  return ebb_median(seconds, count);
}

static size_t bytes_of(const json_t *answer, const char *key)
{
  return (size_t)json_integer_value(json_object_get(answer, key));
}

/* ---- telling ----------------------------------------------------------------------------------------------------- */
static void print_table(const sweep *s)
{
  const ebb_sweep *w = s->with;
  printf("%s\n\n%-16s", w->title, s->name);
  for (int k = 0; k < w->count; k++) printf(" | %24s", ebb_policy_names[w->modes[k]]);
  printf("\n%-16s", "");
  for (int k = 0; k < w->count; k++) printf(" | %12s %11s", "peak", "step");
  putchar('\n');
  for (int i = 0; i < s->points; i++) {
    printf("%-16s", s->at[i].value);
    for (int k = 0; k < w->count; k++) {
      char          text[EBB_BYTES_TEXT];
      const json_t *a = s->at[i].answer[k];
      if (a) printf(" | %12s %9.4f s", ebb_print_bytes(text, bytes_of(a, "peak_bytes")), median_of(a));
      else printf(" | %12s %11s", "no memory", "");
    }
    putchar('\n');
  }
}

static json_t *point_json(const sweep *s, const point *k)
{
  json_t *modes = json_object();
  for (int i = 0; i < s->with->count; i++)
    json_object_set_new(modes, ebb_policy_names[s->with->modes[i]], k->answer[i] ? json_incref(k->answer[i]) : json_null());
  return json_pack("{s:s, s:s, s:o}", "value", k->value, "set", k->word, "modes", modes);
}

static int print_json(const sweep *s)
{
  json_t *points = json_array();
  for (int i = 0; i < s->points; i++) json_array_append_new(points, point_json(s, &s->at[i]));
  return ebb_print_json(json_pack("{s:s, s:s, s:o}", "title", s->with->title, "sweep", s->name, "points", points));
}

static ebb_status write_csv(const sweep *s, const char *path)
{
  FILE *f = fopen(path, "w");
  if (!f) return ebb_fail(EBB_CANTCREAT, "%s: expected to create the file, found: %s", path, strerror(errno));
  fprintf(f, "%s,mode,step_seconds,peak_bytes,planned_bytes,rss_bytes\n", s->name);
  for (int i = 0; i < s->points; i++)
    for (int k = 0; k < s->with->count; k++) {
      const json_t *a = s->at[i].answer[k];
      const char   *mode = ebb_policy_names[s->with->modes[k]];
      if (a) fprintf(f, "%s,%s,%.6f,%zu,%zu,%zu\n", s->at[i].value, mode, median_of(a), bytes_of(a, "peak_bytes"), bytes_of(a, "planned_bytes"),
                     bytes_of(a, "rss_bytes"));
      else fprintf(f, "%s,%s,,,,\n", s->at[i].value, mode);
    }
  return fclose(f) == 0 ? EBB_OK : ebb_fail(EBB_IOERR, "%s: writing failed: %s", path, strerror(errno));
}

static void draw(const sweep *s, const char *png)
{
  ebb_report_line lines[EBB_POLICIES + 1];
  double          mib[EBB_POLICIES + 1][POINTS_MOST], seconds[EBB_POLICIES + 1][POINTS_MOST];
  const char     *values[POINTS_MOST];
  for (int i = 0; i < s->points; i++) values[i] = s->at[i].value;
  for (int k = 0; k < s->with->count; k++) {
    lines[k] = (ebb_report_line){ebb_policy_names[s->with->modes[k]], mib[k], seconds[k]};
    for (int i = 0; i < s->points; i++) {
      const json_t *a = s->at[i].answer[k];
      mib[k][i] = a ? (double)bytes_of(a, "rss_bytes") / 1048576 : 0;
      seconds[k][i] = a ? median_of(a) : 0;
    }
  }
  ebb_report_sweep(png, s->with->title, s->name, values, s->points, lines, s->with->count);
}

static ebb_status tell(const sweep *s)
{
  const ebb_flags *f = s->with->flags;
  if (f->json) print_json(s);
  else print_table(s);
  if (*f->png) draw(s, f->png);
  return *f->csv ? write_csv(s, f->csv) : EBB_OK;
}

ebb_status ebb_sweep_run(const ebb_sweep *with)
{
  sweep      s = {.with = with};
  ebb_status status = read_points(&s, with->flags->sweep);
  if (status == EBB_OK) status = measure(&s);
  if (status == EBB_OK) status = tell(&s);
  for (int i = 0; i < s.points; i++)
    for (int k = 0; k < with->count; k++) json_decref(s.at[i].answer[k]);
  return status;
}
