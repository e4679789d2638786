/* ahead.h -- batches read ahead: two buffers, one handed out while a thread fills the other.
 * Owns: the thread and its rest, handing out, an error's way from one thread to another. Must not know: what a batch is
 * made of.
 *
 *   next()   gives the buffer handed out before back, waits for the other one
 *   worker   fills a buffer that is given back; it alone touches the files */
#pragma once
#include <pthread.h>

#include "train/batches.h"

#define EBB_AHEAD_BUFFERS 2

typedef struct ebb_ahead_buffer {
  ebb_batch batch;
  ebb_status status; /* of filling it */
  bool full;
} ebb_ahead_buffer;

typedef struct ebb_ahead ebb_ahead;

/* Concrete sources have this as their first member, and set what stands before the lock. */
struct ebb_ahead {
  ebb_source source; /* first */
  ebb_ahead_buffer buffer[EBB_AHEAD_BUFFERS];
  /* Fills the batch at the source's place and moves on; batch->x.s.n = 0 at the end of the epoch. On the worker. */
  ebb_status (*fill)(ebb_ahead *a, ebb_batch *batch);
  /* Puts the source at sample `cursor` of `epoch`; the worker rests meanwhile. */
  void (*rewind)(ebb_ahead *a, uint32_t epoch, uint64_t cursor);

  pthread_t thread;
  pthread_mutex_t lock; /* guards all below                                        */
  pthread_cond_t changed;
  int turn, take;       /* the buffers to be filled and handed out next            */
  int held;             /* the one handed out; -1: none                            */
  bool made, threaded, started, quit, active, busy;
  char error[2048];     /* the worker's message: messages are a thread's own       */
};

/* Begins; the worker starts reading with the first next or seek. `name` is for messages. EBB_OSERR: no thread to be had. */
ebb_status ebb_ahead_start(ebb_ahead *a);
void       ebb_ahead_stop(ebb_ahead *a); /* also if start failed or never was */

/* For ebb_source_ops. */
ebb_status ebb_ahead_next(ebb_source *source, ebb_batch *batch);
void       ebb_ahead_seek(ebb_ahead *a, uint32_t epoch, uint64_t cursor);
