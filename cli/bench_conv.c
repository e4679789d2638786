/* bench_conv.c -- how fast convolutions are, each product in both ways, beside the machine's multiply-add peak.
 * Owns: the turns that a product's two ways and the peak take, and the rows told of them. Must not know: how a way is
 * chosen (engine/kernels/conv.c). */
#include "bench_conv.h"

#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "bench.h"
#include "print.h"

enum { WAYS = EBBK_WINOGRAD + 1, CALLS_MOST = 1000 };
static const double sample_seconds = 4e-3; /* a call that is shorter is repeated */
static const double slower_by = 1.05;      /* the choice is marked beyond that   */
static const char *const way_names[WAYS] = {[EBBK_DIRECT] = "direct", [EBBK_WINOGRAD] = "winograd"};
static const char *const product_names[] = {"forward", "data gradient", "weight gradient"};

typedef struct times {
  bool   there;                      /* this product has this way          */
  int    calls;                      /* in one round                       */
  double seconds[EBB_ROUNDS_MOST];   /* of one call                        */
} times;

typedef struct trial {
  const char     *name;
  ebb_bench_conv *conv;
  ebbk_product    what;
  ebbk_algorithm  choice;
  int             rounds;
  bool            errors;
  double          peak[EBB_ROUNDS_MOST];
  times           way[WAYS];
} trial;

/* ---- measuring ------------------------------------------------------------------------------------------------ */
static double seconds_of(const trial *t, ebbk_algorithm way, int calls)
{
  double begin = ebb_seconds();
  for (int i = 0; i < calls; i++) ebb_bench_conv_run(t->conv, t->what, way);
  return (ebb_seconds() - begin) / calls;
}

static void prepare(trial *t)
{
  ebbk_conv g = t->conv->g;
  t->choice = ebbk->conv_algorithm(&g, t->what);
  for (ebbk_algorithm way = EBBK_DIRECT; way <= EBBK_WINOGRAD; way++) {
    times *k = &t->way[way];
    g.algorithm = way;
    k->there = ebbk->conv_algorithm(&g, t->what) == way;
    if (!k->there) continue;
    seconds_of(t, way, 1);
    k->calls = (int)fmin(ceil(sample_seconds / seconds_of(t, way, 1)), CALLS_MOST);
  }
}

static void measure(trial *t)
{
  for (int r = 0; r < t->rounds; r++) {
    t->peak[r] = ebb_bench_peak();
    for (ebbk_algorithm way = EBBK_DIRECT; way <= EBBK_WINOGRAD; way++)
      if (t->way[way].there) t->way[way].seconds[r] = seconds_of(t, way, t->way[way].calls);
  }
}

/* ---- what comes of it: medians over the rounds, of ratios within a round --------------------------------------- */
typedef struct result {
  double     milliseconds, of_peak, error;
  ebb_spread gflops;
} result;

static result result_of(const trial *t, ebbk_algorithm way)
{
  double flops = ebb_bench_conv_flops(&t->conv->g), gflops[EBB_ROUNDS_MOST], of_peak[EBB_ROUNDS_MOST];
  for (int r = 0; r < t->rounds; r++) {
    gflops[r] = flops / t->way[way].seconds[r] * 1e-9;
    of_peak[r] = gflops[r] / t->peak[r];
  }
  return (result){.milliseconds = 1e3 * ebb_spread_of(t->way[way].seconds, t->rounds).median,
                  .gflops = ebb_spread_of(gflops, t->rounds), .of_peak = ebb_spread_of(of_peak, t->rounds).median,
                  .error = t->errors ? ebb_bench_conv_error(t->conv, t->what, way) : NAN};
}

static ebbk_algorithm other_of(const trial *t)
{
  return t->choice == EBBK_DIRECT ? EBBK_WINOGRAD : EBBK_DIRECT;
}

/* The time of the chosen way as a multiple of the other's; NaN if there is no other. */
static double choice_to_other(const trial *t)
{
  double       ratio[EBB_ROUNDS_MOST];
  const times *chosen = &t->way[t->choice], *other = &t->way[other_of(t)];
  if (!other->there) return NAN;
  for (int r = 0; r < t->rounds; r++) ratio[r] = chosen->seconds[r] / other->seconds[r];
  return ebb_spread_of(ratio, t->rounds).median;
}

/* ---- telling -------------------------------------------------------------------------------------------------- */
static void print_head(bool errors)
{
  const char *error = errors ? "   error" : "";
  int         width = errors ? 44 : 36;
  printf("%-19s  %-15s  %-*s  %s\n", "", "", width, "direct", "winograd");
  printf("%-19s  %-15s", "convolution", "product");
  for (int i = 0; i < 2; i++) printf("  %9s %7s %12s %5s%s", "ms", "GFLOP/s", "least..most", "/peak", error);
  puts("  choice");
}

static void print_result(const result *k, bool errors)
{
  char range[32];
  snprintf(range, sizeof range, "%.0f..%.0f", k->gflops.least, k->gflops.most);
  printf("  %9.3f %7.1f %12s %5.2f", k->milliseconds, k->gflops.median, range, k->of_peak);
  if (errors) printf(" %7.1e", k->error);
}

static void print_row(const trial *t, const result results[WAYS])
{
  double lag = choice_to_other(t);
  printf("%-19s  %-15s", t->what == EBBK_FORWARD ? t->name : "", product_names[t->what]);
  for (ebbk_algorithm way = EBBK_DIRECT; way <= EBBK_WINOGRAD; way++)
    if (t->way[way].there) print_result(&results[way], t->errors);
    else printf("  %*s", t->errors ? 44 : 36, "");
  printf("  %s", way_names[t->choice]);
  if (lag > slower_by) printf(" (%s is %.2f times as fast)", way_names[other_of(t)], lag);
  putchar('\n');
  fflush(stdout);
}

static json_t *result_json(const trial *t, const result *k)
{
  json_t *row = json_pack("{s:f, s:f, s:f, s:f, s:f}", "seconds", 1e-3 * k->milliseconds, "gflops", k->gflops.median, "gflops_least",
                          k->gflops.least, "gflops_most", k->gflops.most, "of_peak", k->of_peak);
  if (t->errors) json_object_set_new(row, "error", json_real(k->error));
  return row;
}

static json_t *shape_json(const ebbk_conv *g)
{
  return json_pack("{s:i, s:[iii], s:i, s:[iii], s:i, s:[iii], s:[iii], s:[iii]}", "n", g->n, "in", g->in[0], g->in[1], g->in[2], "ci",
                   g->ci, "out", g->out[0], g->out[1], g->out[2], "co", g->co, "kernel", g->kernel[0], g->kernel[1], g->kernel[2],
                   "stride", g->stride[0], g->stride[1], g->stride[2], "pad", g->pad[0], g->pad[1], g->pad[2]);
}

static json_t *row_json(const trial *t, const result results[WAYS])
{
  double  lag = choice_to_other(t);
  json_t *row = json_pack("{s:s, s:s, s:o, s:f, s:s, s:o, s:b}", "name", t->name, "product", product_names[t->what], "shape",
                          shape_json(&t->conv->g), "peak_gflops", ebb_spread_of(t->peak, t->rounds).median, "choice",
                          way_names[t->choice], "choice_to_other", ebb_json_number(lag), "slower", lag > slower_by);
  for (ebbk_algorithm way = EBBK_DIRECT; way <= EBBK_WINOGRAD; way++)
    json_object_set_new(row, way_names[way], t->way[way].there ? result_json(t, &results[way]) : json_null());
  return row;
}

/* ---- all of them ---------------------------------------------------------------------------------------------- */
static void bench_product(const ebb_flags *flags, json_t *rows, const char *name, ebb_bench_conv *conv, ebbk_product what)
{
  trial  t = {.name = name, .conv = conv, .what = what, .rounds = flags->rounds, .errors = flags->errors};
  result results[WAYS];
  prepare(&t);
  measure(&t);
  for (ebbk_algorithm way = EBBK_DIRECT; way <= EBBK_WINOGRAD; way++)
    if (t.way[way].there) results[way] = result_of(&t, way);
  if (!flags->json) print_row(&t, results);
  json_array_append_new(rows, row_json(&t, results));
}

ebb_status ebb_bench_convs(const ebb_flags *flags, json_t *rows)
{
  for (const ebb_bench_shape *s = ebb_bench_shapes; s->name; s++) {
    ebb_bench_conv conv;
    if (!ebb_bench_wants(flags, s->name)) continue;
    EBB_TRY(ebb_bench_conv_create(&conv, &s->g));
    if (!flags->json && json_array_size(rows) == 0) print_head(flags->errors);
    for (ebbk_product what = EBBK_FORWARD; what <= EBBK_GRAD_WEIGHT; what++) bench_product(flags, rows, s->name, &conv, what);
    ebb_bench_conv_destroy(&conv);
  }
  return EBB_OK;
}
