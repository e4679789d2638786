/* random.c -- see random.h. */
#include "random.h"

#include "base/rng.h"
#include "datasets/datasets.h"

typedef struct random_source {
  ebb_source base;
  ebb_arena  arena;
  ebb_batch  batches[2];
  int        turn;
} random_source;

static void draw(ebb_batch *b, ebb_arena *arena, ebb_shape s, size_t labels, int classes, int levels, ebb_rng g)
{
  b->x = ebb_view_of(ebb_arena_low(arena, ebb_bytes(s), EBB_USE_KEPT), s);
  b->labels = ebb_arena_low(arena, labels * sizeof *b->labels, EBB_USE_KEPT);
  b->index = ebb_arena_low(arena, (size_t)s.n * sizeof *b->index, EBB_USE_KEPT);
  ebb_real *x = ebb_reals(b->x);
  for (size_t i = 0; i < ebb_count(s); i++) x[i] = (ebb_real)(levels ? (double)ebb_rng_below(g, i, (uint64_t)levels) : ebb_rng_normal(g, i));
  g.purpose++;
  for (size_t i = 0; i < labels; i++) b->labels[i] = (int32_t)ebb_rng_below(g, i, (uint64_t)classes);
  for (int i = 0; i < s.n; i++) b->index[i] = (uint32_t)i;
}

static ebb_status next(ebb_source *source, ebb_batch *batch)
{
  random_source *s = (random_source *)source;
  *batch = s->batches[s->turn];
  s->turn ^= 1;
  return EBB_OK;
}

static ebb_status seek(ebb_source *source, uint32_t epoch, uint64_t cursor)
{
  (void)epoch;
  ((random_source *)source)->turn = (int)(cursor % 2);
  return EBB_OK;
}

static void finish(ebb_source *source)
{
  ebb_arena_destroy(&((random_source *)source)->arena);
}

ebb_status ebb_random_open(ebb_source **source, ebb_shape batch, ebb_shape out, int levels, uint64_t seed, ebb_pool *pool)
{
  static const ebb_source_ops ops = {.next = next, .seek = seek, .close = finish};
  random_source *s = EBB_POOL_NEW(pool, random_source);
  size_t         labels = (size_t)batch.n * ebb_sites(out);
  s->base = (ebb_source){.ops = &ops, .name = "random numbers", .shape = batch, .classes = out.c,
                         .samples = UINT64_MAX / 4, .bytes = ebb_data_batch_bytes(batch, labels)};
  EBB_TRY(ebb_arena_create(&s->arena, "batch", s->base.bytes));
  for (uint32_t i = 0; i < 2; i++) draw(&s->batches[i], &s->arena, batch, labels, out.c, levels, (ebb_rng){seed, EBB_RNG_TEST, 2 * i});
  *source = &s->base;
  return EBB_OK;
}
