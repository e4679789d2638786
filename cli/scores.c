/* scores.c -- see scores.h. */
#include "scores.h"

#include <math.h>
#include <stdio.h>

#include "predictor.h"
#include "print.h"
#include "train/surface.h"

enum { NOWHERE = 65535 }; /* the class of sites without a label */

/* Predicted classes, labels as classes (twice: as read, and for distances), and what surfaces take. */
#define SITE_BYTES (2 * sizeof(uint16_t) + sizeof(int32_t) + 3 * sizeof(float) + 1)

typedef struct scoring {
  ebb_scores    *scores;
  ebb_predictor *p;
  int            i;          /* the volume                  */
  ebb_arena      memory;
  uint16_t      *predicted, *truth;
  int32_t       *labels;
} scoring;

static ebb_status take_memory(scoring *k, size_t sites)
{
  EBB_TRY(ebb_arena_create(&k->memory, "scores", 2 * ebb_align(sites * sizeof(uint16_t)) + ebb_align(sites * sizeof(int32_t))));
  k->predicted = ebb_arena_low(&k->memory, sites * sizeof(uint16_t), EBB_USE_KEPT);
  k->truth = ebb_arena_low(&k->memory, sites * sizeof(uint16_t), EBB_USE_KEPT);
  k->labels = ebb_arena_low(&k->memory, sites * sizeof(int32_t), EBB_USE_KEPT);
  return EBB_OK;
}

/* -log p(label); q is what windows.h hands out. */
static double entropy_of(const float *q, int outputs, int label)
{
  double p = outputs > 1 ? (double)q[label] : label ? (double)q[0] : 1 - (double)q[0];
  return -log(fmax(p, 1e-12));
}

/* One plane across the outer axis. */
static ebb_status take_plane(scoring *k, int at, const float *q)
{
  const ebb_windows *w = &k->p->windows[k->i];
  int    outputs = k->p->model.out.c, ignore = k->p->config->train.ignore, start[3] = {0}, size[3];
  size_t plane = ebb_predictor_plane(k->p, k->i), from = (size_t)at * plane;
  for (int a = 0; a < 3; a++) size[a] = w->volume[a];
  start[w->outer] = at;
  size[w->outer] = 1;
  EBB_TRY(ebb_scans_labels(k->p->scans, k->labels + from, k->i, start, size));
  ebb_predictor_classes(k->predicted + from, q, outputs, plane);
  for (size_t i = from; i < from + plane; i++) {
    int32_t *label = &k->labels[i];
    if (*label == ignore && ignore >= 0) *label = -1;
    if (*label >= 0) k->scores->entropy += entropy_of(q + (i - from) * (size_t)outputs, outputs, *label);
    k->truth[i] = *label < 0 ? NOWHERE : (uint16_t)*label;
    if (*label < 0) k->predicted[i] = NOWHERE;
  }
  return EBB_OK;
}

static ebb_status take(void *context, int first, int count, const float *q)
{
  scoring *k = context;
  size_t plane = ebb_predictor_plane(k->p, k->i) * (size_t)k->p->model.out.c;
  for (int at = 0; at < count; at++) EBB_TRY(take_plane(k, first + at, q + (size_t)at * plane));
  return EBB_OK;
}

static ebb_status add_distances(scoring *k, const ebb_scan *scan)
{
  ebb_scores *s = k->scores;
  for (int class = 1; class < s->metrics.classes; class++) {
    ebb_surface d;
    bool there = s->metrics.predicted[class] > 0, meant = s->metrics.labelled[class] > 0;
    s->alone[class] += there != meant;
    if (!there || !meant) continue;
    EBB_TRY(ebb_surface_measure(&d, k->predicted, k->truth, class, scan->size, scan->spacing));
    s->hd95[class] += d.hd95;
    s->assd[class] += d.assd;
    s->measured[class]++;
  }
  return EBB_OK;
}

static void list_volume(scoring *k, const ebb_scan *scan, size_t sites)
{
  ebb_metrics one = {0};
  ebb_metrics_add_classes(&one, k->p->classes, 0, k->predicted, k->labels, sites);
  ebb_metrics_finish(&one);
  json_array_append_new(k->scores->list, json_pack("{s:s, s:o}", "name", scan->name, "mean_dice", ebb_json_number(ebb_metrics_mean_dice(&one))));
}

static ebb_status score_volume(scoring *k, bool quiet)
{
  const ebb_scan *scan = &k->p->scans->at[k->i];
  size_t sites = (size_t)scan->size[0] * (size_t)scan->size[1] * (size_t)scan->size[2];
  EBB_TRY(take_memory(k, sites));
  ebb_status status = ebb_predictor_run(k->p, k->i, take, k, quiet);
  if (status == EBB_OK) {
    ebb_metrics_add_classes(&k->scores->metrics, k->p->classes, (uint64_t)k->i, k->predicted, k->labels, sites);
    k->scores->spaced = scan->spaced;
    k->scores->volumes++;
    list_volume(k, scan, sites);
    status = add_distances(k, scan);
  }
  ebb_arena_destroy(&k->memory);
  return status;
}

ebb_status ebb_scores_measure(ebb_scores *s, const char *checkpoint, const ebb_config *c, const ebb_data *data, ebb_split split, bool quiet)
{
  ebb_scans    *scans;
  ebb_predictor p;
  *s = (ebb_scores){.list = json_array()};
  ebb_scans_of(&scans, data, split);
  ebb_status status = ebb_predictor_open(&p, c, checkpoint, scans, SITE_BYTES, 0, quiet);
  for (int i = 0; i < scans->count && status == EBB_OK; i++) status = score_volume(&(scoring){.scores = s, .p = &p, .i = i}, quiet);
  ebb_metrics_finish(&s->metrics);
  ebb_predictor_close(&p);
  ebb_scans_close(scans);
  return status;
}

/* ---- printing -------------------------------------------------------------------------------------------------- */
static double mean_hd95(const ebb_scores *s, int class)
{
  return s->measured[class] ? s->hd95[class] / (double)s->measured[class] : NAN;
}

static double mean_assd(const ebb_scores *s, int class)
{
  return s->measured[class] ? s->assd[class] / (double)s->measured[class] : NAN;
}

static double cross_entropy(const ebb_scores *s)
{
  return s->metrics.samples ? s->entropy / (double)s->metrics.samples : NAN;
}

static json_t *list(const ebb_scores *s, double (*value)(const ebb_scores *s, int class))
{
  json_t *l = json_array();
  for (int k = 0; k < s->metrics.classes; k++) json_array_append_new(l, ebb_json_number(value(s, k)));
  return l;
}

static double dice(const ebb_scores *s, int class)
{
  return ebb_metrics_dice(&s->metrics, class);
}

static double iou(const ebb_scores *s, int class)
{
  return ebb_metrics_iou(&s->metrics, class);
}

static json_t *confusion(const ebb_metrics *m)
{
  json_t *rows = json_array();
  for (int k = 0; k < m->classes; k++) {
    json_t *row = json_array();
    for (int j = 0; j < m->classes; j++) json_array_append_new(row, json_integer((json_int_t)m->confusion[k][j]));
    json_array_append_new(rows, row);
  }
  return rows;
}

static json_t *document(const ebb_scores *s, const char *name)
{
  json_t *metrics = json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:o}", "accuracy", ebb_json_number(ebb_metrics_accuracy(&s->metrics)), "dice",
                              list(s, dice), "iou", list(s, iou), "mean_dice", ebb_json_number(ebb_metrics_mean_dice(&s->metrics)), "hd95",
                              list(s, mean_hd95), "assd", list(s, mean_assd), "distance_unit", s->spaced ? "mm" : "sites", "confusion", confusion(&s->metrics));
  return json_pack("{s:o, s:o, s:I, s:s, s:O}", "loss", ebb_json_number(cross_entropy(s)), "metrics", metrics, "samples", (json_int_t)s->volumes, "data", name, "volumes", s->list);
}

static void print_table(const ebb_scores *s, const char *name)
{
  const ebb_metrics *m = &s->metrics;
  const char *unit = s->spaced ? "mm" : "sites";
  printf("%s: %llu volumes, %llu labelled sites\ncross-entropy  %.5f\naccuracy       %.2f %%\n\n", name, (unsigned long long)s->volumes,
         (unsigned long long)m->samples, cross_entropy(s), 100 * ebb_metrics_accuracy(m));
  printf("%-8s %10s %10s %6s %-5s %6s %-5s\n", "class", "Dice", "IoU", "HD95", unit, "ASSD", unit);
  for (int k = 0; k < m->classes; k++) {
    printf("%-8d %10.4f %10.4f", k, dice(s, k), iou(s, k));
    if (s->measured[k]) printf(" %9.3f   %9.3f", mean_hd95(s, k), mean_assd(s, k));
    if (s->alone[k]) printf("   %llu volumes with it in label or prediction only", (unsigned long long)s->alone[k]);
    putchar('\n');
  }
  printf("\nmean Dice of classes 1 to %d: %.4f\nDice and distances are means over volumes, IoU is of all sites together\n", m->classes - 1, ebb_metrics_mean_dice(m));
}

int ebb_scores_print(ebb_scores *s, const char *name, bool json)
{
  int code = EBB_OK;
  if (json) code = ebb_print_json(document(s, name));
  else print_table(s, name);
  json_decref(s->list);
  return code;
}
