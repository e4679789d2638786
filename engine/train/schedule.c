/* schedule.c -- see schedule.h. Cosine: Loshchilov & Hutter 2017, Eq. 5, one cycle. */
#include "train/schedule.h"

#include <math.h>

static double cuts(const ebb_train_options *o, double share)
{
  double factor = 1;
  for (int i = 0; i < o->milestones.count; i++)
    if (share >= o->milestones.at[i]) factor *= o->gamma;
  return factor;
}

double ebb_schedule_lr(const ebb_train_options *o, uint64_t step, uint64_t steps)
{
  double warm = floor(o->warmup * (double)steps), after = (double)steps - warm;
  if ((double)step < warm) return o->lr * ((double)step + 1) / warm;
  double left = after > 0 ? 1 - ((double)step - warm) / after : 0; /* 1 .. 1 / after */
  switch (o->schedule) {
  case EBB_STEP: return o->lr * cuts(o, (double)step / (double)steps);
  case EBB_COSINE: return o->lr_end + (o->lr - o->lr_end) * 0.5 * (1 - cos(3.14159265358979323846 * left));
  case EBB_POLY: return o->lr_end + (o->lr - o->lr_end) * pow(left, o->power);
  default: return o->lr;
  }
}
