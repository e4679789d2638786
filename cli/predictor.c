/* predictor.c -- see predictor.h. */
#define _POSIX_C_SOURCE 200809L
#include "predictor.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "build.h"
#include "print.h"
#include "train/checkpoint.h"

#define AT(field) offsetof(ebb_predict_options, field)
/* clang-format off */
const ebb_option ebb_predict_option_table[] = {
  {"window",   EBB_OPTION_TEXT,   AT(window),   "", "sites", "window that is slid over a volume, such as 64x96x96, or 96 for all; whole: all in one piece; empty: whole if memory allows, else data.patch", NULL, 0, 0},
  {"overlap",  EBB_OPTION_REAL,   AT(overlap),  "0.5", "",   "share of a window that also lies in the next one, weighted as a Gaussian", NULL, 0, 0.9},
  {"halo",     EBB_OPTION_TEXT,   AT(halo),     "", "sites", "border of a window that is context only, such as 8x16x16, or 16 for all; mirrored at the volume's border", NULL, 0, 0},
  {"flip",     EBB_OPTION_TEXT,   AT(flip),     "", "",      "also predict mirrored along these dimensions, letters of dhw, and average", NULL, 0, 0},
  {"output",   EBB_OPTION_CHOICE, AT(output),   "labels", "","what is written: the most probable label, or the probability of each class", "labels|probabilities", 0, 0},
  {"folder",   EBB_OPTION_TEXT,   AT(folder),   "predictions", "", "where results are written: NAME_predictions.h5 for NAME.h5, and overlays", NULL, 0, 0},
  {"overlays", EBB_OPTION_INT,    AT(overlays), "4", "pictures", "PNG overlays of the first so many volumes and, where there are labels, of as many of the worst", NULL, 0, 1000},
  {.key = NULL},
};
/* clang-format on */

#define BUDGET_SHARE 0.8 /* of the memory there is, where run.memory does not say */

/* ---- which windows --------------------------------------------------------------------------------------------- */
typedef struct chooser {
  ebb_predictor *p;
  ebb_shape      patch;        /* of the training; its rank and channels are the network's */
  int            least[3], window[3], halo[3]; /* least: the training's patch */
  bool           whole, slide; /* as the options demand; neither: by memory */
  unsigned       flips;
  size_t         budget;
} chooser;

static ebb_status read_flips(unsigned *flips, const char *text, int rank)
{
  static const char letters[] = "dhw";
  *flips = 0;
  for (const char *l = text; *l; l++) {
    const char *at = strchr(letters, *l);
    if (!at || at - letters < 3 - rank)
      return ebb_fail(EBB_CONFIG, "predict.flip: expected letters of %s, found \"%s\"", letters + 3 - rank, text);
    *flips |= 1U << (at - letters);
  }
  return EBB_OK;
}

static ebb_status read_options(chooser *k, const ebb_config *c)
{
  const ebb_predict_options *o = &c->predict;
  EBB_TRY(ebb_data_shape_read(&k->patch, c->data.shape));
  int rank = k->patch.rank;
  k->whole = strcmp(o->window, "whole") == 0;
  k->slide = !k->whole && *o->window;
  k->least[0] = k->patch.d, k->least[1] = k->patch.h, k->least[2] = k->patch.w;
  memcpy(k->window, k->least, sizeof k->window);
  if (k->slide) EBB_TRY(ebb_data_sizes_read(k->window, o->window, rank, 1, "predict.window"));
  if (*o->halo) EBB_TRY(ebb_data_sizes_read(k->halo, o->halo, rank, 0, "predict.halo"));
  for (int i = 0; i < 3; i++)
    if (2 * k->halo[i] >= k->window[i])
      return ebb_fail(EBB_CONFIG, "predict.halo: expected less than half of the window, %dx%dx%d, found \"%s\"", k->window[0], k->window[1],
                      k->window[2], o->halo);
  k->budget = c->run.memory ? c->run.memory : (size_t)(BUDGET_SHARE * (double)ebb_memory_available());
  return read_flips(&k->flips, o->flip, rank);
}

static ebb_shape input_of(const ebb_windows *w, ebb_shape patch)
{
  return (ebb_shape){.rank = patch.rank, .n = 1, .d = w->size[0], .h = w->size[1], .w = w->size[2], .c = patch.c};
}

/* What is taken beside the network: windows, the reader, the caller's own. */
static size_t bytes_beside(const ebb_predictor *p, const ebb_windows *w, int outputs)
{
  size_t sites = (size_t)w->volume[0] * (size_t)w->volume[1] * (size_t)w->volume[2], plane = sites / (size_t)w->volume[w->outer];
  return ebb_windows_bytes(w, p->scans->channels, outputs) + p->site_bytes * sites + p->plane_bytes * plane + ebb_scans_bytes(p->scans, ebb_windows_sites(w));
}

/* The bytes of predicting with these windows. */
static ebb_status plan_bytes(const chooser *k, const ebb_windows *w, size_t *bytes)
{
  ebb_model model;
  ebb_plan  plan;
  ebb_pool  pool = {0};
  const ebb_config *c = k->p->config;
  EBB_TRY(ebb_build_model(&model, c, input_of(w, k->patch), c->data.classes));
  ebb_plan_make(&plan, &model, input_of(w, k->patch), (ebb_plan_options){.batches = bytes_beside(k->p, w, model.out.c)}, &pool);
  *bytes = plan.peak;
  ebb_pool_clear(&pool);
  ebb_model_destroy(&model);
  return EBB_OK;
}

static ebb_status choose(const chooser *k, ebb_windows *w, size_t *bytes, const int volume[3])
{
  ebb_windows_whole(w, volume, k->least);
  w->flips = k->flips;
  EBB_TRY(plan_bytes(k, w, bytes));
  if (k->whole || (!k->slide && *bytes <= k->budget)) return EBB_OK;
  ebb_windows_slide(w, volume, k->window, k->halo, k->p->config->predict.overlap);
  w->flips = k->flips;
  return plan_bytes(k, w, bytes);
}

/* A volume of a size that was met before is predicted as that one was. */
static const ebb_windows *met_before(const ebb_predictor *p, int i)
{
  for (int j = i - 1; j >= 0 && j > i - 64; j--)
    if (memcmp(p->windows[j].volume, p->scans->at[i].size, sizeof p->windows[j].volume) == 0) return &p->windows[j];
  return NULL;
}

static size_t largest_slice(const int size[3])
{
  size_t all = (size_t)size[0] * (size_t)size[1] * (size_t)size[2], most = 0;
  for (int i = 0; i < 3; i++)
    if (all / (size_t)size[i] > most) most = all / (size_t)size[i];
  return most;
}

static ebb_status choose_all(const chooser *k)
{
  ebb_predictor *p = k->p;
  size_t bytes, room = 0;
  for (int i = 0; i < p->scans->count; i++) {
    const ebb_windows *same = met_before(p, i);
    if (same) {
      p->windows[i] = *same;
      continue;
    }
    EBB_TRY(choose(k, &p->windows[i], &bytes, p->scans->at[i].size));
    if (bytes > p->planned) p->planned = bytes, p->largest = i;
    size_t sites = ebb_windows_sites(&p->windows[i]), slice = largest_slice(p->scans->at[i].size);
    if (sites > room) room = sites;
    if (slice > room) room = slice;
  }
  return ebb_scans_prepare(p->scans, room);
}

static ebb_status check_budget(const chooser *k)
{
  char needed[EBB_BYTES_TEXT], allowed[EBB_BYTES_TEXT];
  if (k->p->planned <= k->budget) return EBB_OK;
  return ebb_fail(EBB_OSERR, "run.memory: predicting %s needs %s (%zu bytes), there are %s\nhint: a smaller predict.window, such as half of data.patch",
                  k->p->scans->at[k->p->largest].name, ebb_print_bytes(needed, k->p->planned), k->p->planned, ebb_print_bytes(allowed, k->budget));
}

static void print_choice(const ebb_predictor *p)
{
  char bytes[EBB_BYTES_TEXT];
  const ebb_windows *w = &p->windows[p->largest];
  uint64_t windows = ebb_windows_total(w);
  fprintf(stderr, "predict: %d volume%s, the largest %dx%dx%d in ", p->scans->count, p->scans->count == 1 ? "" : "s", w->volume[0], w->volume[1], w->volume[2]);
  if (windows == 1) fputs("one piece", stderr);
  else fprintf(stderr, "%" PRIu64 " windows of %dx%dx%d", windows, w->size[0], w->size[1], w->size[2]);
  fprintf(stderr, ", %s planned\n", ebb_print_bytes(bytes, p->planned));
}

/* ---- the network for a size ------------------------------------------------------------------------------------ */
static void forget_network(ebb_predictor *p)
{
  if (!p->ready) return;
  ebb_trainer_destroy(&p->trainer);
  ebb_model_destroy(&p->model);
  p->ready = false;
}

static ebb_status make_network(ebb_predictor *p, const ebb_windows *w)
{
  const ebb_config *c = p->config;
  ebb_shape patch, x;
  ebb_run_options run = c->run;
  run.memory = 0; /* checked for the largest */
  if (p->ready && memcmp(p->size, w->size, sizeof p->size) == 0) return EBB_OK;
  forget_network(p);
  EBB_TRY(ebb_data_shape_read(&patch, c->data.shape));
  x = input_of(w, patch);
  EBB_TRY(ebb_build_model(&p->model, c, x, c->data.classes));
  ebb_status status = ebb_trainer_create_predict(&p->trainer, &p->model, x, &c->train, &run, bytes_beside(p, w, p->model.out.c));
  if (status == EBB_OK) {
    status = ebb_checkpoint_load(p->checkpoint, &p->trainer, true);
    if (status != EBB_OK) ebb_trainer_destroy(&p->trainer);
  }
  if (status != EBB_OK) return ebb_model_destroy(&p->model), status;
  memcpy(p->size, w->size, sizeof p->size);
  return p->ready = true, EBB_OK;
}

ebb_status ebb_predictor_check(const ebb_config *c, const char *checkpoint)
{
  ebb_model m;
  ebb_shape x;
  EBB_TRY(ebb_data_shape_read(&x, c->data.shape));
  EBB_TRY(ebb_build_model(&m, c, x, c->data.classes));
  bool maps = !m.flow && ebb_sites(m.out) == ebb_sites(m.in) && ebb_sites(m.in) > 1;
  ebb_status status = maps ? EBB_OK
                           : ebb_fail(EBB_CONFIG, "%s: expected a network that labels each site, found %s, which %s\nhint: `ebb "
                                      "eval` measures it", checkpoint, m.name, m.flow ? "is a density" : "labels whole samples");
  ebb_model_destroy(&m);
  return status;
}

ebb_status ebb_predictor_open(ebb_predictor *p, const ebb_config *c, const char *checkpoint, ebb_scans *scans, size_t site_bytes, size_t plane_bytes,
                              bool quiet)
{
  chooser k = {.p = p};
  *p = (ebb_predictor){.config = c, .checkpoint = checkpoint, .scans = scans, .site_bytes = site_bytes, .plane_bytes = plane_bytes};
  p->windows = ebb_pool_take(&p->pool, (size_t)scans->count * sizeof *p->windows);
  EBB_TRY(read_options(&k, c));
  EBB_TRY(choose_all(&k));
  EBB_TRY(check_budget(&k));
  EBB_TRY(make_network(p, &p->windows[0]));
  p->classes = p->model.out.c == 1 ? 2 : p->model.out.c;
  if (!quiet) print_choice(p);
  return EBB_OK;
}

void ebb_predictor_close(ebb_predictor *p)
{
  forget_network(p);
  ebb_pool_clear(&p->pool);
}

/* ---- predicting ------------------------------------------------------------------------------------------------ */
typedef struct reading {
  ebb_predictor *p;
  int            i;
  bool           terminal;
  ebb_status   (*take)(void *context, int first, int count, const float *q);
  void          *context;
} reading;

static ebb_status read_box(void *context, ebb_real *x, const int start[3], const int size[3])
{
  reading *r = context;
  return ebb_scans_image(r->p->scans, x, r->i, start, size);
}

static ebb_status take_planes(void *context, int first, int count, const float *q)
{
  reading *r = context;
  return r->take(r->context, first, count, q);
}

static void show(void *context, uint64_t windows, uint64_t of)
{
  const reading *r = context;
  if (r->terminal)
    fprintf(stderr, "\r\033[K%d of %d  %s  window %" PRIu64 " of %" PRIu64 "%s", r->i + 1, r->p->scans->count, r->p->scans->at[r->i].name, windows, of,
            windows == of && r->i + 1 == r->p->scans->count ? "\n" : "");
}

ebb_status ebb_predictor_run(ebb_predictor *p, int i, ebb_status (*take)(void *context, int first, int count, const float *q), void *context,
                             bool quiet)
{
  reading r = {.p = p, .i = i, .terminal = !quiet && isatty(STDERR_FILENO) == 1, .take = take, .context = context};
  ebb_windows_io io = {.read = read_box, .take = take_planes, .done = show, .context = &r};
  EBB_TRY(make_network(p, &p->windows[i]));
  return ebb_windows_predict(&p->windows[i], &p->trainer, &io);
}

size_t ebb_predictor_plane(const ebb_predictor *p, int i)
{
  size_t sites = 1;
  for (int a = p->windows[i].outer + 1; a < 3; a++) sites *= (size_t)p->windows[i].volume[a];
  return sites;
}

void ebb_predictor_classes(uint16_t *class, const float *q, int outputs, size_t sites)
{
  for (size_t i = 0; i < sites; i++, q += outputs) {
    int best = outputs == 1 ? q[0] > 0.5F : 0;
    for (int c = 1; c < outputs; c++)
      if (q[c] > q[best]) best = c;
    class[i] = (uint16_t)best;
  }
}
