/* model.c -- see model.h. */
#include "compose/model.h"

#include <math.h>
#include <string.h>

#include "compose/catalogue.h"
#include "layers/operands.h"

void ebb_model_begin(ebb_model *m, ebb_builder *b, const char *name, ebb_shape in)
{
  in.n = 1;
  *m = (ebb_model){.in = in};
  m->name = ebb_pool_text(&m->pool, "%s", name);
  *b = (ebb_builder){.pool = &m->pool, .rank = in.rank, .scope = ""};
}

/* Invertible from end to end, but for the doors of the fixed-point stream. */
static bool is_flow(const ebb_layer *root)
{
  for (int i = 0; root->ops->child(root, i); i++) {
    const ebb_layer *l = root->ops->child(root, i);
    if (!ebb_reversible(l) && l->ops != &ebb_quantise_ops && l->ops != &ebb_dequantise_ops) return false;
  }
  return true;
}

static void note(const ebb_layer *l, int depth, void *context)
{
  ebb_model *m = context;
  (void)depth;
  m->logdet |= l->ops->logdet;
  m->conditional |= l->ops->conditional;
}

ebb_status ebb_model_end(ebb_model *m, const ebb_builder *b, ebb_layer *root)
{
  char text[EBB_SHAPE_TEXT];
  m->root = root;
  m->flow = is_flow(root);
  ebb_model_walk(m, note, m);
  m->params = b->first;
  m->layers = b->layers;
  m->weights = b->weights;
  m->states = b->states;
  ebb_shape x = m->in;
  for (int i = 0; root->ops->child(root, i); i++) {
    const ebb_layer *l = root->ops->child(root, i);
    ebb_shape        y = ebb_shape_read(l, x);
    if (y.rank == 0)
      return ebb_fail(EBB_CONFIG,
                      "model %s: layer %s (%s) does not fit its input %s\nhint: check data.shape and the model's widths "
                      "and strides",
                      m->name, l->name, l->ops->name, ebb_shape_print(text, x));
    x = y;
  }
  m->out = x;
  return EBB_OK;
}

void ebb_model_destroy(ebb_model *m)
{
  ebb_pool_clear(&m->pool);
  *m = (ebb_model){0};
}

/* A normal cut at two sigma: drawn again from further counters until it lies within. */
static double truncated_normal(ebb_rng g, uint64_t i, uint64_t count)
{
  double v = ebb_rng_normal(g, i);
  for (uint64_t again = 1; fabs(v) > 2; again++) v = ebb_rng_normal(g, i + again * count);
  return v;
}

static double initial(const ebb_param *p, ebb_rng g, uint64_t i)
{
  switch (p->fill) {
  case EBB_FILL_ZERO: return 0;
  case EBB_FILL_ONE: return 1;
  case EBB_FILL_ORTHOGONAL: return ebb_rng_normal(g, i);
  case EBB_FILL_NORMAL: return p->scale * ebb_rng_normal(g, i);
  case EBB_FILL_TRUNCATED_NORMAL: return p->scale * truncated_normal(g, i, p->count);
  case EBB_FILL_UNIFORM: return p->scale * (2 * ebb_rng_uniform(g, i) - 1);
  case EBB_FILL_PERMUTATION: return (double)ebb_rng_below(g, i, i + 1);
  case EBB_FILL_TABLE: return p->values[i % p->period];
  }
  return 0;
}

/* Rows of a random matrix, each made orthogonal to those before (Gram-Schmidt, twice, in double sums). */
static void orthonormalise(ebb_real *m, int c)
{
  for (int i = 0; i < c; i++) {
    ebb_real *row = m + i * c;
    for (int again = 0; again < 2; again++)
      for (int j = 0; j < i; j++) {
        double dot = 0;
        for (int k = 0; k < c; k++) dot += (double)row[k] * (double)m[j * c + k];
        for (int k = 0; k < c; k++) row[k] -= (ebb_real)(dot * (double)m[j * c + k]);
      }
    double norm = 0;
    for (int k = 0; k < c; k++) norm += (double)row[k] * (double)row[k];
    for (int k = 0; k < c; k++) row[k] = (ebb_real)((double)row[k] / sqrt(norm));
  }
}

/* Of random places 0 .. i for each i a permutation (Fisher-Yates). */
static void permute(ebb_real *values, size_t count)
{
  for (size_t i = 0; i < count; i++) {
    size_t j = (size_t)values[i];
    values[i] = values[j];
    values[j] = (ebb_real)i;
  }
}

typedef struct arrays { ebb_real *weights, *state; } arrays;

static void begin(const ebb_layer *l, int depth, void *context)
{
  const arrays *a = context;
  (void)depth;
  if (l->ops->begin) l->ops->begin(l, a->weights, a->state);
}

void ebb_model_initialise(const ebb_model *m, ebb_real *weights, ebb_real *state, uint64_t seed)
{
  for (const ebb_param *p = m->params; p; p = p->next) {
    ebb_real *values = (p->kind == EBB_WEIGHT ? weights : state) + p->offset;
    ebb_rng   g = {seed, EBB_RNG_INIT, (uint32_t)p->index};
    for (size_t i = 0; i < p->count; i++) values[i] = (ebb_real)initial(p, g, i);
    if (p->fill == EBB_FILL_ORTHOGONAL) orthonormalise(values, p->dims[0]);
    if (p->fill == EBB_FILL_PERMUTATION) permute(values, p->count);
  }
  ebb_model_walk(m, begin, &(arrays){weights, state});
}

/* Their names begin with the layer's, or with those of its parts. */
size_t ebb_model_weights_of(const ebb_model *m, const ebb_layer *l)
{
  size_t count = 0, length = strlen(l->name);
  if (l == m->root) return m->weights;
  for (int i = 0; l->ops->part && l->ops->part(l, i); i++) count += ebb_model_weights_of(m, l->ops->part(l, i));
  if (l->ops->part) return count;
  for (const ebb_param *p = m->params; p; p = p->next)
    if (p->kind == EBB_WEIGHT && strncmp(p->name, l->name, length) == 0 && p->name[length] == '.') count += p->count;
  return count;
}

static void walk(const ebb_layer *l, int depth, void (*visit)(const ebb_layer *, int, void *), void *context)
{
  visit(l, depth, context);
  for (int i = 0; l->ops->child && l->ops->child(l, i); i++) walk(l->ops->child(l, i), depth + 1, visit, context);
}

void ebb_model_walk(const ebb_model *m, void (*visit)(const ebb_layer *l, int depth, void *context), void *context)
{
  walk(m->root, 0, visit, context);
}

/* ---- the two passes ------------------------------------------------------------------------------------------ */
void ebb_forward(ebb_run *r, const ebb_model *m, ebb_view x, ebb_view *y)
{
  EBB_ASSERT(r->arena->low == 0 && r->kept_count == 0, "the pass before was not released (%zu bytes)", r->arena->low);
  if (r->pass == EBB_TRAIN) r->step++;
  r->keep = r->pass == EBB_EVAL ? EBB_KEEP_NONE : r->policy == EBB_STORE ? EBB_KEEP_ALL : EBB_KEEP_INPUTS;
  for (int i = 0; r->logdet && i < x.s.n; i++) r->logdet[i] = 0;
  *y = ebb_kept_view(r, ebb_layer_shape(m->root, x.s));
  ebb_forward_layer(m->root, r, x, *y);
}

void ebb_backward(ebb_run *r, const ebb_model *m, ebb_view x, ebb_view dy, ebb_view dx)
{
  EBB_ASSERT(r->pass == EBB_TRAIN, "backward of a pass that is no training pass (%d)", (int)r->pass);
  m->root->ops->backward(m->root, r, x, dy, dx, NULL);
  EBB_ASSERT(r->kept_count == 0, "%zu views were kept for nobody", r->kept_count);
  ebb_release(r);
}

/* Layer l of the root backwards, in place: a door of the stream is the other one. */
static ebb_view invert(const ebb_layer *l, ebb_run *r, ebb_view y)
{
  const ebb_layer_ops *door = l->ops == &ebb_quantise_ops ? &ebb_dequantise_ops : l->ops == &ebb_dequantise_ops ? &ebb_quantise_ops : NULL;
  if (!door) {
    ebb_inverse_layer(l, r, y);
    return ebb_view_retyped(y, ebb_shape_before(l, y.s));
  }
  ebb_view x = ebb_view_retyped(y, door->shape(l, y.s));
  if (!r->dry) door->forward(l, r, y, x, NULL);
  return x;
}

void ebb_invert(ebb_run *r, const ebb_model *m, ebb_view *y)
{
  int count = 0;
  EBB_ASSERT(m->flow, "%s is not invertible from end to end", m->name);
  while (m->root->ops->child(m->root, count)) count++;
  r->pass = EBB_EVAL;
  r->keep = EBB_KEEP_NONE;
  for (int i = count - 1; i >= 0; i--) *y = invert(m->root->ops->child(m->root, i), r, *y);
}

void ebb_inverse(ebb_run *r, const ebb_model *m, ebb_view z, ebb_view *x)
{
  *x = ebb_kept_view(r, z.s);
  ebb_copy(r, *x, z);
  ebb_invert(r, m, x);
}

void ebb_release(ebb_run *r)
{
  r->kept_count = 0;
  ebb_arena_low_release(r->arena, (ebb_mark){0, 0});
  ebb_arena_high_release(r->arena, (ebb_mark){0, 0});
}
