/* deal.h -- work items dealt out to a team of threads: each takes its own share from the front, and when that is done, what
 * others have left from the back.
 * Owns: who takes which item. Must not know: what an item is. Private to the files with parallel loops:
 *
 *   deal d = deal_out(items, threads);
 *   #pragma omp parallel num_threads(d.threads)
 *   FOR_DEALT(i, d) compute(i);
 *
 * Shares that stay where they are keep a thread's data in its core's cache from one loop to the next, as a static schedule does;
 * taking from others ends the wait for a core that is disturbed. What an item computes must not depend on who computes it. */
#pragma once
#include <omp.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { HANDS = 32, HAND_BYTES = 64 }; /* with more threads, some have one together; a cache line each */

/* Of the items that nobody has taken yet, end * 2^32 + begin, so that one exchange takes one. */
typedef struct hand { _Alignas(HAND_BYTES) _Atomic uint64_t left; } hand;

typedef struct deal {
  int  threads, count;
  hand hands[HANDS];
} deal;

/* At most 2^31 items; no more threads than items. A team may turn out smaller: what nobody holds is taken from the back. */
static inline deal deal_out(size_t items, int threads)
{
  deal d;
  d.threads = items > (size_t)threads ? threads : items > 0 ? (int)items : 1;
  d.count = d.threads < HANDS ? d.threads : HANDS;
  for (size_t i = 0, n = (size_t)d.count; i < n; i++)
    atomic_init(&d.hands[i].left, (uint64_t)(items * (i + 1) / n) << 32 | items * i / n);
  return d;
}

/* The calling thread's next item, or -1 when all are taken. */
static inline ptrdiff_t deal_next(deal *d)
{
  for (int k = 0; k < d->count; k++) {
    hand    *h = &d->hands[(omp_get_thread_num() + k) % d->count];
    uint64_t left = atomic_load_explicit(&h->left, memory_order_relaxed);
    while ((uint32_t)left < left >> 32) {
      uint64_t rest = k == 0 ? left + 1 : left - ((uint64_t)1 << 32);
      if (atomic_compare_exchange_weak_explicit(&h->left, &left, rest, memory_order_relaxed, memory_order_relaxed))
        return (ptrdiff_t)(k == 0 ? (uint32_t)left : rest >> 32);
    }
  }
  return -1;
}

#define FOR_DEALT(i, d) for (ptrdiff_t i; (i = deal_next(&(d))) >= 0;)
