/* guard.c -- see guard.h. */
#include "compose/guard.h"

#include <math.h>

#include "kernels/kernels.h"
#include "layers/operands.h"

typedef struct moments { ebb_real *mean, *var; } moments;

static ebb_shape probe_shape(ebb_shape x)
{
  return (ebb_shape){.rank = x.rank, .n = 1, .d = 1, .h = 1, .w = 1, .c = 2 * x.c};
}

static moments moments_in(ebb_view probe)
{
  return (moments){ebb_reals(probe), ebb_reals(probe) + probe.s.c / 2};
}

static void measure(const ebb_run *r, ebb_view probe, ebb_view x)
{
  moments m = moments_in(probe);
  if (!r->dry) ebbk->moments(m.mean, m.var, ebb_input(x), 1, ebb_sites(x.s), x.s.c);
}

bool ebb_may_drift(const ebb_layer *l)
{
  return ebb_replays(l) || (ebb_reversible(l) && l->ops->logdet && !l->ops->transparent);
}

bool ebb_guards(const ebb_run *r, const ebb_layer *l, ebb_view x)
{
  return ebb_may_drift(l) && r->drift_most > 0 && r->policy == EBB_REVERSE && r->keep == EBB_KEEP_INPUTS && !x.s.stream;
}

void ebb_guard_keep(ebb_run *r, ebb_view x)
{
  ebb_mark mark = ebb_arena_low_mark(r->arena);
  ebb_view probe = ebb_kept_view(r, probe_shape(x.s));
  measure(r, probe, x);
  ebb_kept_push(r, probe, mark);
}

/* The largest change of a channel's mean or deviation, of the largest channel's root mean square. */
static double drift(ebb_view was, ebb_view is)
{
  moments a = moments_in(was), b = moments_in(is);
  double  worst = 0, scale = 0;
  for (int c = 0; c < was.s.c / 2; c++) {
    double change = fmax(fabs((double)b.mean[c] - (double)a.mean[c]), fabs(sqrt((double)b.var[c]) - sqrt((double)a.var[c])));
    worst = ebb_worse(worst, change);
    if (isfinite(a.mean[c]) && !isfinite(a.var[c])) return INFINITY; /* too large for anyone to tell */
    scale = fmax(scale, sqrt((double)a.mean[c] * (double)a.mean[c] + (double)a.var[c]));
  }
  return isfinite(scale) && !(worst <= 0) ? worst / scale : 0; /* what was not finite cannot come back */
}

void ebb_guard_check(ebb_run *r, const ebb_layer *l, ebb_view x)
{
  ebb_kept kept = ebb_kept_pop(r);
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  ebb_view now = ebb_scratch_view(r, kept.view.s);
  measure(r, now, x);
  if (!r->dry) ebb_note_drift(r, l, drift(kept.view, now));
  ebb_arena_high_release(r->arena, mark);
  ebb_arena_low_release(r->arena, kept.mark);
}
