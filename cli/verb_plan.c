/* verb_plan.c -- `ebb plan`: the memory a training takes, to the byte, before anything is taken. */
#include <stdio.h>

#include "build.h"
#include "largest.h"
#include "print.h"
#include "train/trainer.h"
#include "verb.h"

/* ---- the tree as JSON ----------------------------------------------------------------------------------------- */
enum { DEPTH_MOST = 64 };

typedef struct tree {
  const ebb_plan  *plan;
  const ebb_model *model;
  json_t          *open[DEPTH_MOST];   /* the node at each depth on the way to the current one */
} tree;

static json_t *node(const tree *t, const ebb_layer *l)
{
  const ebb_tally *k = &t->plan->tally[l->id];
  return json_pack("{s:s, s:s, s:b, s:o, s:o, s:I, s:I, s:I, s:I}", "name", l->name, "kind", l->ops->name, "reversible",
                   ebb_reversible(l), "input", ebb_json_shape(k->x), "output", ebb_json_shape(k->y), "parameters",
                   (json_int_t)ebb_model_weights_of(t->model, l), "kept_bytes", (json_int_t)k->kept,
                   "forward_peak_bytes", (json_int_t)k->forward_peak, "backward_peak_bytes", (json_int_t)k->backward_peak);
}

static void add_node(const ebb_layer *l, int depth, void *context)
{
  tree *t = context;
  if (depth >= DEPTH_MOST) return;
  t->open[depth] = node(t, l);
  if (depth == 0) return;
  json_t *children = json_object_get(t->open[depth - 1], "children");
  if (!children) {
    children = json_array();
    json_object_set_new(t->open[depth - 1], "children", children);
  }
  json_array_append_new(children, t->open[depth]);
}

static json_t *forecast_json(const ebb_plan *p, const ebb_model *m)
{
  ebb_forecast f = ebb_plan_forecast(p, m);
  return json_pack("{s:i, s:i, s:i, s:f, s:f, s:f}", "blocks", f.blocks, "spared", f.spared, "stored", f.stored, "seconds", f.planned,
                   "seconds_all_replayed", f.least, "seconds_all_stored", f.most);
}

static int print_json(const ebb_plan *p, const ebb_model *m)
{
  tree t = {.plan = p, .model = m};
  ebb_model_walk(m, add_node, &t);
  json_t *bytes = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights", (json_int_t)p->weights, "gradients",
                            (json_int_t)p->gradients, "optimizer", (json_int_t)p->optimizer, "state", (json_int_t)p->state,
                            "stream", (json_int_t)p->stream, "kept", (json_int_t)p->kept, "scratch", (json_int_t)p->scratch,
                            "batches", (json_int_t)p->batches, "peak", (json_int_t)p->peak);
  return ebb_print_json(json_pack("{s:s, s:i, s:o, s:I, s:s, s:o*, s:o, s:o}", "model", m->name, "batch", p->x.n, "shape",
                                  ebb_json_shape(p->x), "parameters", (json_int_t)m->weights, "backward",
                                  ebb_policy_names[p->options.policy], "forecast", p->costs ? forecast_json(p, m) : NULL, "bytes", bytes,
                                  "tree", t.open[0]));
}

/* ---- text ----------------------------------------------------------------------------------------------------- */
static void print_line(const char *name, size_t bytes, const char *what)
{
  char text[EBB_BYTES_TEXT];
  printf("  %-10s %14zu  %10s  %s\n", name, bytes, ebb_print_bytes(text, bytes), what);
}

static void print_forecast(const ebb_plan *p, const ebb_model *m)
{
  ebb_forecast f = ebb_plan_forecast(p, m);
  printf("\nof %d reversible blocks %d keep what is inside them and %d keep all; as measured they take %.4g s of a step (replayed %.4g s, stored "
         "%.4g s)\n", f.blocks, f.spared, f.stored, f.planned, f.least, f.most);
}

static int print_human(const ebb_plan *p, const ebb_model *m)
{
  char shape[EBB_SHAPE_TEXT];
  ebb_plan_print(stdout, p, m);
  printf("\n%s, batch %d of %s, backward by %s: %zu parameters\n", m->name, p->x.n, ebb_shape_print(shape, p->x),
         ebb_policy_names[p->options.policy], m->weights);
  print_line("weights", p->weights, "");
  print_line("gradients", p->gradients, "");
  print_line("optimizer", p->optimizer, "what the optimiser keeps of each weight");
  print_line("state", p->state, "running statistics, and what norms save for the way back");
  print_line("stream", p->stream, "the state that flows through reversible layers");
  print_line("kept", p->kept, "inputs that no inverse gives back, and insides that are not replayed");
  print_line("scratch", p->scratch, "gradients of activations, and one block's inside");
  print_line("batches", p->batches, "input: two batches that take turns, and the readers' own");
  print_line("peak", p->peak, "all together, to the byte");
  if (p->costs) print_forecast(p, m);
  return EBB_OK;
}

/* ---- the verb ------------------------------------------------------------------------------------------------- */
/* What a configuration says, planned. */
typedef struct planned { ebb_model m; ebb_plan p; ebb_pool pool; } planned;

static ebb_status plan(planned *k, const ebb_config *c, const ebb_input *in)
{
  ebb_shape x = ebb_build_batch(in->shape, c->train.batch), y = ebb_build_batch(k->m.out, x.n);
  size_t    batches = in->batches ? in->batches : ebb_data_batch_bytes(x, ebb_sites(y));
  return ebb_train_plan(&k->p, &k->m, x, &c->train, &c->run, batches, &k->pool);
}

static void planned_close(planned *k)
{
  ebb_pool_clear(&k->pool);
  ebb_model_destroy(&k->m);
}

static ebb_status planned_open(planned *k, const ebb_config *c)
{
  ebb_input in;
  *k = (planned){.pool = {0}};
  EBB_TRY(ebb_build_input(&in, c));
  EBB_TRY(ebb_build_model(&k->m, c, in.shape, in.classes));
  ebb_status status = plan(k, c, &in);
  if (status != EBB_OK) planned_close(k);
  return status;
}

ebb_status ebb_verb_planned(size_t *peak, const ebb_config *c)
{
  planned    k;
  ebb_config least = *c;
  if (least.run.backward == EBB_AUTO) least.run.backward = EBB_REVERSE;
  EBB_TRY(planned_open(&k, &least));
  *peak = k.p.peak;
  planned_close(&k);
  return EBB_OK;
}

static int with_config(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  planned k;
  if (*flags->fit) return ebb_largest(flags, c, words);
  ebb_status status = planned_open(&k, c);
  if (status != EBB_OK) return ebb_verb_failed(status);
  int code = flags->json ? print_json(&k.p, &k.m) : print_human(&k.p, &k.m);
  planned_close(&k);
  return code;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  return ebb_build_with_config(flags, words, with_config);
}

const ebb_verb ebb_verb_plan = {
  .name = "plan", .arguments = "CONFIG [key=value ...]", .summary = "Tells the memory a training takes, before it runs",
  .text = "Nothing is trained; for run.backward=auto blocks are measured for a moment. The input's shape is that of data.train, or data.shape where there are no data yet.",
  .flags = "json fit", .sections = "model data train run", .least = 1, .run = run,
};
