/* ahead.c -- see ahead.h. */
#define _POSIX_C_SOURCE 200809L
#include "datasets/ahead.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "datasets/hdf5.h"

/* Fills the next buffer; the lock is held on entry and on return. After the last batch or a failure it rests. */
static void fill_one(ebb_ahead *a)
{
  ebb_ahead_buffer *y = &a->buffer[a->turn];
  a->busy = true;
  pthread_mutex_unlock(&a->lock);
  ebb_status status = a->fill(a, &y->batch);
  pthread_mutex_lock(&a->lock);
  if (status != EBB_OK) snprintf(a->error, sizeof a->error, "%s", ebb_message());
  y->status = status;
  y->full = true;
  a->turn = (a->turn + 1) % EBB_AHEAD_BUFFERS;
  a->busy = false;
  if (status != EBB_OK || y->batch.x.s.n == 0) a->active = false;
  pthread_cond_broadcast(&a->changed);
}

static void *work(void *source)
{
  ebb_ahead *a = source;
  ebb_h5_init();
  pthread_mutex_lock(&a->lock);
  while (!a->quit)
    if (a->active && !a->buffer[a->turn].full)
      fill_one(a);
    else
      pthread_cond_wait(&a->changed, &a->lock);
  pthread_mutex_unlock(&a->lock);
  return NULL;
}

/* Signals are for the program's own threads. Without a thread-safe libhdf5, next() does the work itself. */
ebb_status ebb_ahead_start(ebb_ahead *a)
{
  sigset_t all, before;
  a->held = -1;
  pthread_mutex_init(&a->lock, NULL);
  pthread_cond_init(&a->changed, NULL);
  a->made = true;
  a->threaded = ebb_h5_threads();
  if (!a->threaded) return EBB_OK;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int error = pthread_create(&a->thread, NULL, work, a);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0) return EBB_OK;
  a->threaded = false;
  return ebb_fail(EBB_OSERR, "threads: the system refused one to read %s: %s", a->source.name, strerror(error));
}

void ebb_ahead_stop(ebb_ahead *a)
{
  if (!a->made) return;
  if (a->threaded) {
    pthread_mutex_lock(&a->lock);
    a->quit = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
  }
  pthread_cond_destroy(&a->changed);
  pthread_mutex_destroy(&a->lock);
}

ebb_status ebb_ahead_next(ebb_source *source, ebb_batch *batch)
{
  ebb_ahead *a = (ebb_ahead *)source;
  pthread_mutex_lock(&a->lock);
  if (a->held >= 0) a->buffer[a->held].full = false;
  a->held = -1;
  ebb_ahead_buffer *y = &a->buffer[a->take];
  if (!a->started) a->started = a->active = true; /* epoch 0 from its first sample */
  if (!a->threaded && !y->full) fill_one(a);
  pthread_cond_broadcast(&a->changed);
  while (!y->full) pthread_cond_wait(&a->changed, &a->lock);
  *batch = y->batch;
  ebb_status status = y->status;
  if (status == EBB_OK && batch->x.s.n > 0) { /* an end or a failure stays where it is */
    a->held = a->take;
    a->take = (a->take + 1) % EBB_AHEAD_BUFFERS;
  }
  if (status != EBB_OK) ebb_fail(status, "%s", a->error);
  pthread_mutex_unlock(&a->lock);
  return status;
}

void ebb_ahead_seek(ebb_ahead *a, uint32_t epoch, uint64_t cursor)
{
  pthread_mutex_lock(&a->lock);
  a->active = false;
  while (a->busy) pthread_cond_wait(&a->changed, &a->lock);
  for (int i = 0; i < EBB_AHEAD_BUFFERS; i++) a->buffer[i].full = false;
  a->turn = a->take = 0;
  a->held = -1;
  a->rewind(a, epoch, cursor);
  a->started = a->active = true;
  pthread_cond_broadcast(&a->changed);
  pthread_mutex_unlock(&a->lock);
}
