/* windows.h -- prediction of whole volumes: in one piece, or in sliding windows that are put together in slabs.
 * Owns: where windows lie, their weights, the slab. Must not know: files, classes' meaning.
 *
 * A window's core counts, its halo is context only. Beyond the volume's border a halo sees it mirrored, a core sees 0, the mean, as
 * patches do in training. Where cores overlap, probabilities are
 * averaged with Gaussian weights (sigma: an eighth of the core; nnU-Net, Isensee et al. 2021). Cores begin at multiples of a power
 * of two, so that a network that halves sizes sees every window in the same phase: with a halo of its receptive field, a
 * multiple of its strides, and statistics that do not depend on the window, the result is that of the whole volume. */
#pragma once
#include "train/trainer.h"

/* All arrays are D H W. */
typedef struct ebb_windows {
  int volume[3];
  int size[3];           /* of a window, halo included: the network's input                              */
  int halo[3], align[3];
  int count[3], last[3]; /* windows along each axis, where the last core begins                          */
  int before[3];         /* sites of the first core before the volume: a smaller volume stands in its middle */
  int outer;             /* the first axis of more than one site: slabs lie across it                    */
  unsigned flips;        /* axes also predicted mirrored, bit 0 is D                                     */
} ebb_windows;

/* One window for the whole volume, its size rounded up to the alignment and at least `least`. */
void ebb_windows_whole(ebb_windows *w, const int volume[3], const int least[3]);

/* Windows of `size`, whose cores overlap by at least the share `overlap` (0 to 0.9) of themselves; 2 halo < size. */
void ebb_windows_slide(ebb_windows *w, const int volume[3], const int size[3], const int halo[3], double overlap);

uint64_t ebb_windows_total(const ebb_windows *w);

/* Sites of the largest box that is read. */
size_t ebb_windows_sites(const ebb_windows *w);

/* Bytes taken besides the network's own. */
size_t ebb_windows_bytes(const ebb_windows *w, int channels, int classes);

typedef struct ebb_windows_io {
  /* A box that lies inside of the volume: x (size, channels). */
  ebb_status (*read)(void *context, ebb_real *x, const int start[3], const int size[3]);
  /* Planes first .. first + count - 1 of the outer axis, in order, each once: p (count, the other axes, classes), probabilities;
   * one class: of class 1. */
  ebb_status (*take)(void *context, int first, int count, const float *p);
  void (*done)(void *context, uint64_t windows, uint64_t of); /* may be NULL */
  void *context;
} ebb_windows_io;

/* t: made by ebb_trainer_create_eval for inputs of w->size. EBB_OSERR, EBB_SOFTWARE (the stream left its range), or what read
 * and take return. */
ebb_status ebb_windows_predict(const ebb_windows *w, ebb_trainer *t, const ebb_windows_io *io);
