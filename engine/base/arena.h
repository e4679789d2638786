/* arena.h -- all memory of the engine: a two-ended arena for what is planned, a pool for what is built.
 * Owns: the program's only calls of mmap and malloc, peaks, poison. Must not know: layers, shapes.
 *
 *   base                                                              base + size
 *   | stream, kept ->                     free                  <- scratch, gradients |
 *          low                                                       high
 *
 * Both ends are stacks: what was taken last is given back first, by returning to a mark. A dry arena hands
 * out addresses with no memory behind them and only counts: the plan is a run on a dry arena. */
#pragma once
#include "base/status.h"

/* What a piece of memory is for; the plan reports the peak by these. */
typedef enum ebb_use { EBB_USE_STREAM, EBB_USE_KEPT, EBB_USE_SCRATCH, EBB_USES } ebb_use;

typedef struct ebb_arena {
  const char *name;             /* for messages: "model", "run", "batch"             */
  char       *base;             /* not readable if dry                               */
  size_t      size;             /* bytes                                             */
  size_t      low;              /* bytes taken at the low end                        */
  size_t      high;             /* bytes taken at the high end                       */
  size_t      stream;           /* bytes of `low` that are streams                   */
  size_t      peak;             /* largest low + high since the last reset           */
  size_t      at_peak[EBB_USES];/* the parts of that peak                            */
  bool        dry;
  bool        poison;           /* what is released is overwritten                   */
  void      (*watch)(const struct ebb_arena *a, void *context); /* after each change of low or high; NULL: nobody looks */
  void       *watcher;          /* its context                                       */
} ebb_arena;

typedef struct ebb_mark { size_t bytes, stream; } ebb_mark;

/* Every piece is a multiple of this many bytes and so aligned. */
#define EBB_ALIGN ((size_t)64)
size_t ebb_align(size_t bytes);

/* Maps `size` bytes, zeroed. EBB_OSERR with the bytes asked for and available if the system has not got them. */
ebb_status ebb_arena_create(ebb_arena *a, const char *name, size_t size);
void       ebb_arena_create_dry(ebb_arena *a, const char *name);
void       ebb_arena_destroy(ebb_arena *a);

/* Takes bytes; running out is a planning mistake and aborts. The memory is not cleared. */
void *ebb_arena_low(ebb_arena *a, size_t bytes, ebb_use use);
void *ebb_arena_high(ebb_arena *a, size_t bytes);

/* Moves the newest piece at the high end, of `bytes` bytes, up to `mark` over the dead pieces between; returns it. */
void *ebb_arena_high_slide(ebb_arena *a, ebb_mark mark, size_t bytes);

/* The newest piece at the low end, of `bytes` bytes, now serves as `use`: a layer has worked in place. */
void ebb_arena_retag(ebb_arena *a, size_t bytes, ebb_use use);

ebb_mark ebb_arena_low_mark(const ebb_arena *a);
ebb_mark ebb_arena_high_mark(const ebb_arena *a);
void     ebb_arena_low_release(ebb_arena *a, ebb_mark mark);
void     ebb_arena_high_release(ebb_arena *a, ebb_mark mark);

/* Bytes of memory this process may still take: the least of what the machine and its control group have free. */
size_t ebb_memory_available(void);

/* ---- the pool: small things that live as long as what they belong to (layers, names, tables) -------------- */
typedef struct ebb_pool { struct ebb_pool_block *blocks; } ebb_pool; /* {0} is an empty pool */

void *ebb_pool_take(ebb_pool *p, size_t bytes); /* zeroed; aborts if the system has none left           */
char *ebb_pool_text(ebb_pool *p, const char *format, ...) __attribute__((format(printf, 2, 3), nonnull(2)));
void  ebb_pool_clear(ebb_pool *p);              /* gives everything back; the pool is empty and usable    */
#define EBB_POOL_NEW(pool, type) ((type *)ebb_pool_take((pool), sizeof(type)))
