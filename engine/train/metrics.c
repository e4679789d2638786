/* metrics.c -- see metrics.h. */
#include "train/metrics.h"

#include <math.h>

/* How many classes score higher than the label's; of equal scores the lower class goes first, and a score that is no
 * number goes last. */
static int rank_of(const ebb_real *scores, int classes, int label)
{
  int rank = 0;
  if (isnan(scores[label])) return classes;
  for (int k = 0; k < classes; k++) rank += (scores[k] > scores[label]) | ((scores[k] == scores[label]) & (k < label));
  return rank;
}

void ebb_metrics_add(ebb_metrics *m, ebb_view y, const int32_t *labels, double mean_loss)
{
  size_t rows = ebb_sites(y.s), counted = 0;
  for (size_t i = 0; i < rows; i++) {
    if (labels[i] < 0) continue;
    int rank = rank_of(ebb_reals(y) + i * (size_t)y.stride, y.s.c, labels[i]);
    counted++;
    m->correct += rank < 1;
    m->correct5 += rank < 5;
  }
  m->samples += counted;
  m->loss_sum += mean_loss * (double)counted;
}

void ebb_metrics_add_likelihood(ebb_metrics *m, int samples, double mean_loss)
{
  m->likelihood = true;
  m->samples += (uint64_t)samples;
  m->loss_sum += mean_loss * samples;
}

static double share(double part, const ebb_metrics *m)
{
  return m->samples ? part / (double)m->samples : NAN;
}

double ebb_metrics_loss(const ebb_metrics *m)
{
  return share(m->loss_sum, m);
}

double ebb_metrics_accuracy(const ebb_metrics *m)
{
  return m->likelihood ? NAN : share((double)m->correct, m);
}

double ebb_metrics_top5(const ebb_metrics *m)
{
  return m->likelihood ? NAN : share((double)m->correct5, m);
}

/* ---- label maps --------------------------------------------------------------------------------------------------- */
static int predicted_class(const ebb_real *scores, int channels)
{
  int best = 0;
  if (channels == 1) return scores[0] > 0;
  for (int k = 1; k < channels; k++)
    if (scores[k] > scores[best]) best = k;
  return best;
}

static void close_volume(ebb_metrics *m)
{
  for (int k = 0; k < m->classes; k++) {
    uint64_t sizes = m->predicted[k] + m->labelled[k];
    if (sizes) {
      m->dice_sum[k] += 2 * (double)m->both[k] / (double)sizes;
      m->dice_count[k]++;
    }
    m->both[k] = m->predicted[k] = m->labelled[k] = 0;
  }
}

static void add_site(ebb_metrics *m, int label, int class)
{
  m->predicted[class]++;
  m->labelled[label]++;
  m->both[class] += class == label;
  m->confusion[label][class]++;
}

/* What is added from now on belongs to `volume`. */
static void begin_volume(ebb_metrics *m, int classes, uint64_t volume)
{
  if (m->classes && volume != m->volume) close_volume(m);
  m->classes = classes;
  m->volume = volume;
}

void ebb_metrics_add_classes(ebb_metrics *m, int classes, uint64_t volume, const uint16_t *predicted, const int32_t *labels, size_t sites)
{
  bool counted = classes <= EBB_METRIC_CLASSES;
  if (counted) begin_volume(m, classes, volume);
  for (size_t i = 0; i < sites; i++) {
    if (labels[i] < 0 || labels[i] >= classes) continue;
    m->samples++;
    m->correct += labels[i] == predicted[i];
    if (counted) add_site(m, labels[i], predicted[i]);
  }
}

void ebb_metrics_add_maps(ebb_metrics *m, ebb_view y, const int32_t *labels, const uint32_t *index)
{
  size_t sites = ebb_sites(y.s) / (size_t)(y.s.n ? y.s.n : 1);
  int    classes = y.s.c == 1 ? 2 : y.s.c;
  if (classes > EBB_METRIC_CLASSES) return;
  for (size_t n = 0; n < (size_t)y.s.n; n++) {
    begin_volume(m, classes, index[n]);
    for (size_t i = n * sites; i < (n + 1) * sites; i++)
      if (labels[i] >= 0 && labels[i] < classes) add_site(m, labels[i], predicted_class(ebb_reals(y) + i * (size_t)y.stride, y.s.c));
  }
}

void ebb_metrics_finish(ebb_metrics *m)
{
  close_volume(m);
}

double ebb_metrics_dice(const ebb_metrics *m, int class)
{
  return m->dice_count[class] ? m->dice_sum[class] / (double)m->dice_count[class] : NAN;
}

double ebb_metrics_iou(const ebb_metrics *m, int class)
{
  uint64_t label = 0, prediction = 0, both = m->confusion[class][class];
  for (int k = 0; k < m->classes; k++) {
    label += m->confusion[class][k];
    prediction += m->confusion[k][class];
  }
  return label + prediction ? (double)both / (double)(label + prediction - both) : NAN;
}

double ebb_metrics_mean_dice(const ebb_metrics *m)
{
  double sum = 0;
  int    count = 0;
  for (int k = 1; k < m->classes; k++) {
    if (!m->dice_count[k]) continue;
    sum += ebb_metrics_dice(m, k);
    count++;
  }
  return count ? sum / count : NAN;
}

double ebb_metrics_score(const ebb_metrics *m)
{
  if (m->likelihood) return -ebb_metrics_loss(m);
  return m->classes ? ebb_metrics_mean_dice(m) : ebb_metrics_accuracy(m);
}
