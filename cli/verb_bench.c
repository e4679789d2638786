/* verb_bench.c -- `ebb bench`: what kernels and layers reach of what the machine can do.
 * Owns: which benchmarks a word names, and the document around their rows. Must not know: how they measure. */
#include <stdio.h>
#include <string.h>

#include "base/threads.h"
#include "bench.h"
#include "kernels/kernels.h"
#include "print.h"

typedef ebb_status (*benchmark)(const ebb_flags *flags, json_t *rows);

enum { PARTS_MOST = 2, PEAKS = 9 };

typedef struct suite {
  const char *name;
  struct { const char *key; benchmark run; } parts[PARTS_MOST];
} suite;

static const suite suites[] = {
  {"kernels", {{"convolutions", ebb_bench_convs}, {"memory", ebb_bench_memory}}},
  {"layers",  {{"layers", ebb_bench_layers}}},
};
enum { SUITES = sizeof suites / sizeof *suites };

/* NULL, with a message, if there is none of that name. */
static const suite *find(const char *word)
{
  const char *names[SUITES];
  for (int i = 0; i < SUITES; i++) {
    names[i] = suites[i].name;
    if (strcmp(suites[i].name, word) == 0) return &suites[i];
  }
  const char *near = ebb_nearest(word, names, SUITES);
  ebb_fail(EBB_USAGE, "bench: expected kernels or layers, found '%s'%s%s%s", word, near ? "\nhint: did you mean `ebb bench " : "",
           near ? near : "", near ? "`?" : "");
  return NULL;
}

static double median_peak(void)
{
  double peaks[PEAKS];
  for (int i = 0; i < PEAKS; i++) peaks[i] = ebb_bench_peak();
  return ebb_spread_of(peaks, PEAKS).median;
}

static ebb_status run_parts(const suite *s, const ebb_flags *flags, json_t *document)
{
  size_t found = 0;
  for (int i = 0; i < PARTS_MOST && s->parts[i].run; i++) {
    json_t *rows = json_array();
    json_object_set_new(document, s->parts[i].key, rows);
    EBB_TRY(s->parts[i].run(flags, rows));
    found += json_array_size(rows);
  }
  return found ? EBB_OK : ebb_fail(EBB_USAGE, "--only: expected a part of a name, found '%s' in none\nhint: `ebb bench %s --rounds=1` "
                                   "shows the names", flags->only, s->name);
}

static int run(const ebb_flags *flags, ebb_words words)
{
  const suite *s = find(words.at[0]);
  if (!s) return ebb_verb_failed(EBB_USAGE);
  if (words.count > 1) return ebb_verb_failed(ebb_fail(EBB_USAGE, "bench: expected one word, found '%s' after it", words.at[1]));
  double  peak = median_peak();
  json_t *document = json_pack("{s:s, s:i, s:i, s:f}", "isa", ebbk->isa, "threads", ebb_threads(), "rounds", flags->rounds,
                               "peak_gflops", peak);
  if (!flags->json)
    printf("%s, %d threads, %d round%s, multiply-add peak %.0f GFLOP/s\n\n", ebbk->isa, ebb_threads(), flags->rounds,
           flags->rounds == 1 ? "" : "s", peak);
  ebb_status status = run_parts(s, flags, document);
  if (status == EBB_OK && flags->json) return ebb_print_json(document);
  json_decref(document);
  return status == EBB_OK ? EBB_OK : ebb_verb_failed(status);
}

const ebb_verb ebb_verb_bench = {
  .name = "bench", .arguments = "kernels|layers", .summary = "Measures kernels or layers beside what the machine can do",
  .text = "kernels: every convolution, its forward product and both gradients, by direct sums and by Winograd's algorithm, in GFLOP/s "
          "(2 taps Cin Cout output pixels) and as a multiple of the multiply-add peak; the way that the engine chooses, marked "
          "where it is more than 5 % slower than the other; and kernels bound by memory, in GB/s, beside a copy. "
          "layers: each layer of `ebb layers`, forward and on the way back. What is compared takes turns: on a shared machine believe "
          "ratios, not times. Threads: OMP_NUM_THREADS; instruction set: EBB_ISA.",
  .flags = "json rounds only errors", .sections = "", .least = 1, .run = run,
};
