/* windows.c -- see windows.h. */
#include "train/windows.h"

#include <math.h>
#include <string.h>

enum { ALIGN_MOST = 16 };

/* ---- where they are -------------------------------------------------------------------------------------------- */
static int core_of(const ebb_windows *w, int axis)
{
  return w->size[axis] - 2 * w->halo[axis];
}

static int round_up(int value, int multiple)
{
  return (value + multiple - 1) / multiple * multiple;
}

/* The largest power of two of at most a quarter of the size. */
static int alignment(int size)
{
  int a = 1;
  while (a < ALIGN_MOST && 8 * a <= size) a *= 2;
  return a;
}

static void place(ebb_windows *w, double overlap)
{
  for (int i = 0; i < 3; i++) {
    int core = core_of(w, i), beyond = w->volume[i] - core;
    int step = (int)(core * (1 - overlap)) / w->align[i] * w->align[i];
    if (step < w->align[i]) step = w->align[i];
    w->last[i] = beyond > 0 ? round_up(beyond, w->align[i]) : 0;
    w->before[i] = beyond < 0 ? -beyond / 2 : 0;
    w->count[i] = 1 + (w->last[i] + step - 1) / step;
  }
  while (w->outer < 2 && w->volume[w->outer] == 1) w->outer++;
}

void ebb_windows_whole(ebb_windows *w, const int volume[3], const int least[3])
{
  *w = (ebb_windows){0};
  for (int i = 0; i < 3; i++) {
    w->volume[i] = volume[i];
    w->align[i] = alignment(volume[i]);
    w->size[i] = volume[i] < least[i] ? least[i] : round_up(volume[i], w->align[i]);
  }
  place(w, 0);
  for (int i = 0; i < 3; i++) /* rounded up, it begins where windows do */
    if (volume[i] >= least[i]) w->before[i] = 0;
}

void ebb_windows_slide(ebb_windows *w, const int volume[3], const int size[3], const int halo[3], double overlap)
{
  *w = (ebb_windows){0};
  for (int i = 0; i < 3; i++) {
    EBB_ASSERT(size[i] > 2 * halo[i], "a window of %d, a halo of %d", size[i], halo[i]);
    w->volume[i] = volume[i];
    w->size[i] = size[i];
    w->halo[i] = halo[i];
    w->align[i] = alignment(size[i] - 2 * halo[i]);
  }
  place(w, overlap);
}

uint64_t ebb_windows_total(const ebb_windows *w)
{
  return (uint64_t)w->count[0] * (uint64_t)w->count[1] * (uint64_t)w->count[2];
}

/* Where core i of an axis begins; negative: before the volume. */
static int start_of(const ebb_windows *w, int axis, int i)
{
  int n = w->count[axis], a = w->align[axis];
  return n == 1 ? -w->before[axis] : (int)((int64_t)w->last[axis] * i / (n - 1)) / a * a;
}

size_t ebb_windows_sites(const ebb_windows *w)
{
  return (size_t)w->size[0] * (size_t)w->size[1] * (size_t)w->size[2];
}

/* ---- the work -------------------------------------------------------------------------------------------------- */
typedef struct work {
  const ebb_windows    *w;
  const ebb_windows_io *io;
  ebb_trainer          *t;
  ebb_arena             memory;
  int                   channels, classes;
  size_t                plane;         /* sites of a plane of the volume across the outer axis      */
  ebb_real             *x, *box;       /* the input, and the box it is made of                      */
  float                *sum, *weights; /* the slab: (core planes, plane, classes), (core planes, plane) */
  float                *gauss[3];      /* (core)                                                    */
  int                  *source[3];     /* (size) the site of the box behind each site of the input; -1: none, which is 0 */
  uint64_t              done;
} work;

static size_t slab_sites(const ebb_windows *w)
{
  size_t sites = (size_t)core_of(w, w->outer);
  for (int i = w->outer + 1; i < 3; i++) sites *= (size_t)w->volume[i];
  return sites;
}

static size_t lines_bytes(const ebb_windows *w)
{
  size_t bytes = 0;
  for (int i = 0; i < 3; i++) bytes += ebb_align((size_t)w->size[i] * sizeof(float)) + ebb_align((size_t)w->size[i] * sizeof(int));
  return bytes;
}

size_t ebb_windows_bytes(const ebb_windows *w, int channels, int classes)
{
  size_t x = ebb_align(ebb_windows_sites(w) * (size_t)channels * sizeof(ebb_real)), slab = slab_sites(w);
  return 2 * x + ebb_align(slab * (size_t)classes * sizeof(float)) + ebb_align(slab * sizeof(float)) + lines_bytes(w);
}

static ebb_status take_memory(work *k)
{
  const ebb_windows *w = k->w;
  size_t x = ebb_windows_sites(w) * (size_t)k->channels * sizeof(ebb_real), slab = slab_sites(w);
  EBB_TRY(ebb_arena_create(&k->memory, "windows", ebb_windows_bytes(w, k->channels, k->classes)));
  k->x = ebb_arena_low(&k->memory, x, EBB_USE_KEPT);
  k->box = ebb_arena_low(&k->memory, x, EBB_USE_KEPT);
  k->sum = ebb_arena_low(&k->memory, slab * (size_t)k->classes * sizeof *k->sum, EBB_USE_KEPT);
  k->weights = ebb_arena_low(&k->memory, slab * sizeof *k->weights, EBB_USE_KEPT);
  for (int i = 0; i < 3; i++) {
    k->gauss[i] = ebb_arena_low(&k->memory, (size_t)w->size[i] * sizeof(float), EBB_USE_KEPT);
    k->source[i] = ebb_arena_low(&k->memory, (size_t)w->size[i] * sizeof(int), EBB_USE_KEPT);
  }
  memset(k->sum, 0, slab * (size_t)k->classes * sizeof *k->sum);
  memset(k->weights, 0, slab * sizeof *k->weights);
  k->plane = slab / (size_t)core_of(w, w->outer);
  return EBB_OK;
}

static void make_weights(work *k)
{
  for (int i = 0; i < 3; i++) {
    int core = core_of(k->w, i);
    for (int j = 0; j < core; j++) {
      double at = (j + 0.5 - core / 2.0) / (core / 8.0);
      k->gauss[i][j] = k->w->count[i] == 1 ? 1 : (float)exp(-at * at / 2);
    }
  }
}

/* ---- a window's input ------------------------------------------------------------------------------------------ */
/* Mirrored at both borders, which are not repeated: ... 2 1 | 0 1 2 ... */
static int mirrored(int at, int size)
{
  int period = 2 * (size - 1);
  if (size == 1) return 0;
  at = (at % period + period) % period;
  return at < size ? at : period - at;
}

/* The site of the volume behind site j of a window's axis; -1: none. */
static int site_behind(const ebb_windows *w, int axis, int core, int j)
{
  int  at = core - w->halo[axis] + j, size = w->volume[axis];
  bool in_core = j >= w->halo[axis] && j < w->size[axis] - w->halo[axis];
  return at >= 0 && at < size ? at : in_core ? -1 : mirrored(at, size);
}

/* The box of the volume that a window needs, and which of its sites stands where in the input. */
static void find_box(work *k, const int core[3], int start[3], int size[3])
{
  for (int i = 0; i < 3; i++) {
    int low = k->w->volume[i], high = 0;
    for (int j = 0; j < k->w->size[i]; j++) {
      int at = k->source[i][j] = site_behind(k->w, i, core[i], j);
      if (at >= 0 && at < low) low = at;
      if (at > high) high = at;
    }
    for (int j = 0; j < k->w->size[i]; j++)
      if (k->source[i][j] >= 0) k->source[i][j] -= low;
    start[i] = low;
    size[i] = high - low + 1;
  }
}

/* Position j of an axis, from the other end if it is flipped. */
static int turned(const ebb_windows *w, unsigned flips, int axis, int j)
{
  return flips >> axis & 1 ? w->size[axis] - 1 - j : j;
}

static void make_input(work *k, const int box[3], unsigned flips)
{
  const ebb_windows *w = k->w;
  size_t c = (size_t)k->channels;
  ebb_real *to = k->x;
  for (int d = 0; d < w->size[0]; d++)
    for (int h = 0; h < w->size[1]; h++) {
      int plane = k->source[0][turned(w, flips, 0, d)], row = k->source[1][turned(w, flips, 1, h)];
      for (int j = 0; j < w->size[2]; j++, to += c) {
        int at = k->source[2][turned(w, flips, 2, j)];
        size_t from = ((size_t)plane * (size_t)box[1] + (size_t)row) * (size_t)box[2] + (size_t)at;
        if (plane < 0 || row < 0 || at < 0) memset(to, 0, c * sizeof *to);
        else memcpy(to, k->box + from * c, c * sizeof *to);
      }
    }
}

/* ---- a window's output ----------------------------------------------------------------------------------------- */
/* sum += weight softmax(y); one class: weight sigmoid(y). */
static void add_site(float *sum, const ebb_real *y, int classes, float weight)
{
  double most = (double)y[0], total = 0;
  if (classes == 1) {
    sum[0] += weight * (float)(1 / (1 + exp(-(double)y[0])));
    return;
  }
  for (int c = 1; c < classes; c++) most = fmax(most, (double)y[c]);
  for (int c = 0; c < classes; c++) total += exp((double)y[c] - most);
  for (int c = 0; c < classes; c++) sum[c] += weight * (float)(exp((double)y[c] - most) / total);
}

/* Adds the core's probabilities to the slab, which begins where the core does across the outer axis (or at the border). */
static void add_window(work *k, ebb_view y, const int core[3], unsigned flips)
{
  const ebb_windows *w = k->w;
  int from[3], to[3], base[3] = {0};
  for (int i = 0; i < 3; i++) { /* the part of the core that lies in the volume */
    from[i] = core[i] < 0 ? -core[i] : 0;
    to[i] = core[i] + core_of(w, i) > w->volume[i] ? w->volume[i] - core[i] : core_of(w, i);
    base[i] = i == w->outer ? -from[i] : core[i];
  }
  for (int d = from[0]; d < to[0]; d++)
    for (int h = from[1]; h < to[1]; h++) {
      int yd = turned(w, flips, 0, d + w->halo[0]), yh = turned(w, flips, 1, h + w->halo[1]);
      size_t row = ((size_t)(base[0] + d) * (size_t)w->volume[1] + (size_t)(base[1] + h)) * (size_t)w->volume[2];
      const ebb_real *values = ebb_reals(y) + ((size_t)yd * (size_t)w->size[1] + (size_t)yh) * (size_t)w->size[2] * (size_t)y.stride;
      for (int j = from[2]; j < to[2]; j++) {
        float weight = k->gauss[0][d] * k->gauss[1][h] * k->gauss[2][j];
        size_t site = row + (size_t)(base[2] + j);
        add_site(k->sum + site * (size_t)k->classes, values + (size_t)turned(w, flips, 2, j + w->halo[2]) * (size_t)y.stride, k->classes, weight);
        k->weights[site] += weight;
      }
    }
}

static ebb_status predict_window(work *k, const int core[3])
{
  const ebb_windows *w = k->w;
  int start[3], size[3];
  ebb_view y, x = ebb_view_of(k->x, k->t->plan.x);
  find_box(k, core, start, size);
  EBB_TRY(k->io->read(k->io->context, k->box, start, size));
  for (unsigned flips = 0; flips < 8; flips++) {
    if (flips & ~w->flips) continue;
    make_input(k, size, flips);
    EBB_TRY(ebb_trainer_predict(k->t, x, &y));
    add_window(k, y, core, flips);
    ebb_release(&k->t->work.run);
  }
  k->done++;
  if (k->io->done) k->io->done(k->io->context, k->done, ebb_windows_total(w));
  return EBB_OK;
}

/* ---- slabs ----------------------------------------------------------------------------------------------------- */
/* The first `planes` planes of the slab are finished: hands them on, and moves the others up. */
static ebb_status emit(work *k, int first, int planes)
{
  size_t sites = (size_t)planes * k->plane, classes = (size_t)k->classes, rest = slab_sites(k->w) - sites;
  for (size_t i = 0; i < sites; i++)
    for (size_t c = 0; c < classes; c++) k->sum[i * classes + c] /= k->weights[i];
  EBB_TRY(k->io->take(k->io->context, first, planes, k->sum));
  memmove(k->sum, k->sum + sites * classes, rest * classes * sizeof *k->sum);
  memmove(k->weights, k->weights + sites, rest * sizeof *k->weights);
  memset(k->sum + rest * classes, 0, sites * classes * sizeof *k->sum);
  memset(k->weights + rest, 0, sites * sizeof *k->weights);
  return EBB_OK;
}

/* All windows whose outer place is i: the inner axes are counted through. */
static ebb_status predict_row(work *k, int i)
{
  const ebb_windows *w = k->w;
  int at[3] = {0}, core[3];
  at[w->outer] = i;
  for (;;) {
    for (int a = 0; a < 3; a++) core[a] = start_of(w, a, at[a]);
    EBB_TRY(predict_window(k, core));
    int axis = 2;
    while (axis > w->outer && ++at[axis] == w->count[axis]) at[axis--] = 0;
    if (axis <= w->outer) return EBB_OK;
  }
}

static ebb_status predict_all(work *k)
{
  const ebb_windows *w = k->w;
  int outer = w->outer;
  for (int i = 0; i < w->count[outer]; i++) {
    int first = i ? start_of(w, outer, i) : 0, next = i + 1 < w->count[outer] ? start_of(w, outer, i + 1) : w->volume[outer];
    EBB_TRY(predict_row(k, i));
    EBB_TRY(emit(k, first, next - first));
  }
  return EBB_OK;
}

ebb_status ebb_windows_predict(const ebb_windows *w, ebb_trainer *t, const ebb_windows_io *io)
{
  work k = {.w = w, .io = io, .t = t, .channels = t->plan.x.c, .classes = t->model->out.c};
  const ebb_shape *x = &t->plan.x;
  EBB_ASSERT(x->n == 1 && x->d == w->size[0] && x->h == w->size[1] && x->w == w->size[2], "planned %dx%dx%d", x->d, x->h, x->w);
  EBB_TRY(take_memory(&k));
  make_weights(&k);
  ebb_status status = predict_all(&k);
  ebb_arena_destroy(&k.memory);
  return status;
}
