/* bench_dnnl.c -- the convolutions of `ebb bench kernels` by oneDNN (libdnnl 2), directly and by Winograd's algorithm, in turns.
 *   bench_dnnl KERNELS.json ROUNDS > DNNL.json
 * All tensors are in the memory formats that oneDNN asks for: what it takes to get them there is not counted.
 * Owns: nothing of Ebb's; reads the program's JSON for the shapes, writes JSON of the same names. Built by scripts/bench. */
#define _POSIX_C_SOURCE 200809L
#include <dnnl.h>
#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FORWARD, DATA_GRADIENT, WEIGHT_GRADIENT, PRODUCTS };
enum { DIRECT, WINOGRAD, WAYS };
enum { OPERANDS = 3, ROUNDS_MOST = 99, CALLS_MOST = 1000 };
static const double          sample_seconds = 4e-3; /* a call that is shorter is repeated */
static const char *const     product_names[PRODUCTS] = {"forward", "data gradient", "weight gradient"};
static const char *const     way_names[WAYS] = {"direct", "winograd"};
static const dnnl_alg_kind_t way_kinds[WAYS] = {dnnl_convolution_direct, dnnl_convolution_winograd};

/* Without depth a shape has two dimensions. */
typedef struct shape {
  int         rank;
  dnnl_dims_t x, w, y, stride, pad, pad_end;
  double      flops;
} shape;

typedef struct call {
  dnnl_primitive_t primitive; /* NULL: oneDNN has no such way */
  dnnl_exec_arg_t  args[OPERANDS];
  double           seconds[ROUNDS_MOST];
  int              repeats;
} call;

static dnnl_engine_t engine;
static dnnl_stream_t stream;

static void fail(const char *what)
{
  fprintf(stderr, "bench_dnnl: %s\n", what);
  exit(1);
}

static void need(dnnl_status_t status, const char *what)
{
  if (status != dnnl_success) fail(what);
}

/* ---- shapes ------------------------------------------------------------------------------------------------------ */
static int number(const json_t *object, const char *key)
{
  const json_t *v = json_object_get(object, key);
  if (!json_is_integer(v)) fail("expected a file of `ebb bench kernels --json`");
  return (int)json_integer_value(v);
}

static int entry(const json_t *object, const char *key, int i)
{
  return (int)json_integer_value(json_array_get(json_object_get(object, key), (size_t)i));
}

static shape shape_of(const json_t *s)
{
  int   first = entry(s, "in", 0) > 1 ? 0 : 1, n = number(s, "n"), ci = number(s, "ci"), co = number(s, "co");
  shape k = {.rank = 3 - first, .x = {n, ci}, .w = {co, ci}, .y = {n, co}, .flops = 2.0 * n * ci * co};
  for (int i = 0; i < k.rank; i++) {
    int at = first + i;
    k.x[2 + i] = entry(s, "in", at), k.w[2 + i] = entry(s, "kernel", at), k.y[2 + i] = entry(s, "out", at);
    k.stride[i] = entry(s, "stride", at), k.pad[i] = entry(s, "pad", at);
    k.pad_end[i] = (k.y[2 + i] - 1) * k.stride[i] + k.w[2 + i] - k.x[2 + i] - k.pad[i];
    k.flops *= (double)(k.w[2 + i] * k.y[2 + i]);
  }
  return k;
}

/* ---- a product in one way --------------------------------------------------------------------------------------- */
static dnnl_memory_t memory_for(dnnl_primitive_desc_t pd, dnnl_query_t query)
{
  const dnnl_memory_desc_t *md = dnnl_primitive_desc_query_md(pd, query, 0);
  dnnl_memory_t             m;
  void                     *data;
  need(dnnl_memory_create(&m, md, engine, DNNL_MEMORY_ALLOCATE), "no memory");
  need(dnnl_memory_get_data_handle(m, &data), "no memory");
  float *values = data;
  for (size_t i = 0; i < dnnl_memory_desc_get_size(md) / sizeof *values; i++) values[i] = (float)(i % 1000) * 2e-3f - 1;
  return m;
}

/* The primitive's descriptor; NULL where there is none. Gradients want the forward's as a hint. */
static dnnl_primitive_desc_t describe(const shape *s, int product, dnnl_alg_kind_t kind, dnnl_primitive_desc_t forward)
{
  dnnl_memory_desc_t      x, w, y;
  dnnl_convolution_desc_t c;
  dnnl_primitive_desc_t   pd;
  need(dnnl_memory_desc_init_by_tag(&x, s->rank + 2, s->x, dnnl_f32, dnnl_format_tag_any), "bad shape");
  need(dnnl_memory_desc_init_by_tag(&w, s->rank + 2, s->w, dnnl_f32, dnnl_format_tag_any), "bad shape");
  need(dnnl_memory_desc_init_by_tag(&y, s->rank + 2, s->y, dnnl_f32, dnnl_format_tag_any), "bad shape");
  dnnl_status_t status =
      product == FORWARD ? dnnl_convolution_forward_desc_init(&c, dnnl_forward_training, kind, &x, &w, NULL, &y, s->stride, s->pad, s->pad_end)
      : product == DATA_GRADIENT ? dnnl_convolution_backward_data_desc_init(&c, kind, &x, &w, &y, s->stride, s->pad, s->pad_end)
                                 : dnnl_convolution_backward_weights_desc_init(&c, kind, &x, &w, NULL, &y, s->stride, s->pad, s->pad_end);
  if (status != dnnl_success) return NULL;
  return dnnl_primitive_desc_create(&pd, &c, NULL, engine, forward) == dnnl_success ? pd : NULL;
}

static call call_of(const shape *s, int product, dnnl_alg_kind_t kind)
{
  static const struct { int arg; dnnl_query_t query; } operands[PRODUCTS][OPERANDS] = {
      {{DNNL_ARG_SRC, dnnl_query_src_md}, {DNNL_ARG_WEIGHTS, dnnl_query_weights_md}, {DNNL_ARG_DST, dnnl_query_dst_md}},
      {{DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md}, {DNNL_ARG_WEIGHTS, dnnl_query_weights_md}, {DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md}},
      {{DNNL_ARG_SRC, dnnl_query_src_md}, {DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md}, {DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md}},
  };
  call                  c = {0};
  dnnl_primitive_desc_t forward = describe(s, FORWARD, kind, NULL), pd;
  if (!forward && kind == dnnl_convolution_winograd) forward = describe(s, FORWARD, dnnl_convolution_direct, NULL);
  pd = describe(s, product, kind, forward);
  if (pd) {
    need(dnnl_primitive_create(&c.primitive, pd), "no primitive");
    for (int i = 0; i < OPERANDS; i++)
      c.args[i] = (dnnl_exec_arg_t){operands[product][i].arg, memory_for(pd, operands[product][i].query)};
    dnnl_primitive_desc_destroy(pd);
  }
  dnnl_primitive_desc_destroy(forward);
  return c;
}

static void destroy(call *c)
{
  if (!c->primitive) return;
  dnnl_primitive_destroy(c->primitive);
  for (int i = 0; i < OPERANDS; i++) dnnl_memory_destroy(c->args[i].memory);
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */
static double now(void)
{
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double seconds_of(const call *c, int repeats)
{
  double begin = now();
  for (int i = 0; i < repeats; i++) need(dnnl_primitive_execute(c->primitive, stream, OPERANDS, c->args), "a convolution failed");
  need(dnnl_stream_wait(stream), "a convolution failed");
  return (now() - begin) / repeats;
}

static int ascending(const void *a, const void *b)
{
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static json_t *told(call *c, int rounds, double flops)
{
  if (!c->primitive) return json_null();
  qsort(c->seconds, (size_t)rounds, sizeof *c->seconds, ascending);
  double median = (c->seconds[(rounds - 1) / 2] + c->seconds[rounds / 2]) / 2;
  return json_pack("{s:f,s:f}", "seconds", median, "gflops", flops / median * 1e-9);
}

static json_t *row_of(const char *name, const shape *s, int product, int rounds)
{
  call    c[WAYS];
  json_t *row = json_pack("{s:s,s:s}", "name", name, "product", product_names[product]);
  for (int way = 0; way < WAYS; way++) {
    c[way] = call_of(s, product, way_kinds[way]);
    if (!c[way].primitive) continue;
    seconds_of(&c[way], 1);
    c[way].repeats = (int)fmin(ceil(sample_seconds / seconds_of(&c[way], 1)), CALLS_MOST);
  }
  for (int r = 0; r < rounds; r++)
    for (int way = 0; way < WAYS; way++)
      if (c[way].primitive) c[way].seconds[r] = seconds_of(&c[way], c[way].repeats);
  for (int way = 0; way < WAYS; way++) {
    json_object_set_new(row, way_names[way], told(&c[way], rounds, s->flops));
    destroy(&c[way]);
  }
  return row;
}

/* A shape's rows stand one behind the other: each is measured where the first of them is met. */
static json_t *rows_of(const json_t *kernels, int rounds)
{
  json_t       *rows = json_array(), *row;
  const char   *before = "";
  size_t        i;
  const json_t *convolutions = json_object_get(kernels, "convolutions");
  json_array_foreach(convolutions, i, row)
  {
    const char *name = json_string_value(json_object_get(row, "name"));
    if (!name) fail("expected a file of `ebb bench kernels --json`");
    if (strcmp(name, before) == 0) continue;
    shape s = shape_of(json_object_get(row, "shape"));
    for (int product = 0; product < PRODUCTS; product++) json_array_append_new(rows, row_of(name, &s, product, rounds));
    before = name;
  }
  return rows;
}

int main(int argc, char **argv)
{
  json_error_t error;
  int          rounds = argc == 3 ? atoi(argv[2]) : 0;
  if (rounds < 1 || rounds > ROUNDS_MOST) fail("usage: bench_dnnl KERNELS.json ROUNDS (1..99)");
  json_t *kernels = json_load_file(argv[1], 0, &error);
  if (!kernels) fail(error.text);
  int threads = number(kernels, "threads");
  omp_set_num_threads(threads);
  need(dnnl_engine_create(&engine, dnnl_cpu, 0), "no engine");
  need(dnnl_stream_create(&stream, engine, dnnl_stream_default_flags), "no stream");
  const dnnl_version_t *v = dnnl_version();
  char                  version[32];
  snprintf(version, sizeof version, "%d.%d.%d", v->major, v->minor, v->patch);
  json_t *all = json_pack("{s:s,s:i,s:i,s:o}", "version", version, "threads", threads, "rounds", rounds, "convolutions",
                          rows_of(kernels, rounds));
  json_dumpf(all, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(6));
  putchar('\n');
  json_decref(all);
  json_decref(kernels);
  dnnl_stream_destroy(stream);
  dnnl_engine_destroy(engine);
  return 0;
}
