/* loss.c -- see loss.h. */
#include "train/loss.h"

#include "kernels/kernels.h"

static size_t labelled(const int32_t *labels, size_t rows)
{
  size_t count = 0;
  for (size_t i = 0; i < rows; i++) count += labels[i] >= 0;
  return count ? count : 1;
}

/* L = mean of -sum_k t_k log softmax(y)_k  gives  dL/dy = weight (softmax(y) - t) / (labelled rows). */
double ebb_loss_eval(const ebb_loss *loss, ebb_run *r, ebb_view y, const int32_t *labels, double weight, ebb_view *dy)
{
  size_t   rows = ebb_sites(y.s), counted = labelled(labels, rows);
  ebb_mark mark = ebb_arena_high_mark(r->arena);
  ebb_view g = ebb_scratch_view(r, y.s);
  double   sum = ebbk->softmax_xent(ebb_reals(g), g.stride, ebb_reals(y), y.stride, labels, loss->smoothing,
                                    weight / (double)counted, rows, y.s.c);
  if (dy) *dy = g;
  else ebb_arena_high_release(r->arena, mark);
  return sum / (double)counted;
}
