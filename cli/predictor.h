/* predictor.h -- a checkpoint's network put to whole volumes, one after the other.
 * Owns: the choice between one piece and windows by the memory there is, the network for each size. Must not know: what becomes
 * of the probabilities. */
#pragma once
#include "config.h"
#include "datasets/scans.h"
#include "train/windows.h"

typedef struct ebb_predictor {
  ebb_pool          pool;
  const ebb_config *config;
  const char       *checkpoint;
  ebb_scans        *scans;
  ebb_windows      *windows;     /* (scans->count)                                      */
  size_t            site_bytes, plane_bytes; /* what the caller keeps for each site of a volume, of a plane */
  size_t            planned;     /* bytes, the most of all volumes: known before any is predicted */
  int               largest;     /* the volume that takes them                          */
  int               classes;     /* of the network; one output tells two apart          */
  bool              ready;       /* model and trainer are made, for inputs of `size`    */
  int               size[3];
  ebb_model         model;
  ebb_trainer       trainer;
} ebb_predictor;

/* EBB_CONFIG unless the network labels each site of its input. */
ebb_status ebb_predictor_check(const ebb_config *c, const char *checkpoint);

/* Chooses for each volume, plans, and says so on standard error unless quiet. EBB_OSERR: even windows do not fit. */
ebb_status ebb_predictor_open(ebb_predictor *p, const ebb_config *c, const char *checkpoint, ebb_scans *scans, size_t site_bytes, size_t plane_bytes,
                              bool quiet);
/* Predicts scan i. `take` as in windows.h. */
ebb_status ebb_predictor_run(ebb_predictor *p, int i, ebb_status (*take)(void *context, int first, int count, const float *q), void *context,
                             bool quiet);
void ebb_predictor_close(ebb_predictor *p);

/* Sites in a plane across the outer axis of volume i. */
size_t ebb_predictor_plane(const ebb_predictor *p, int i);

/* The class of highest probability; of one output: 1 where it is above a half. */
void ebb_predictor_classes(uint16_t *class, const float *q, int outputs, size_t sites);
