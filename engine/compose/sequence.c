/* sequence.c -- layers one after the other: a layer itself.
 * Owns: which activations stay for the way back, and where gradients lie. It asks one question of a layer: has it an
 * inverse? Neighbours that have one become a chain (chain.c), which works in place on one stream and sees to itself.
 * Must not know: which layers there are.
 *
 * Way forward, by r->keep:
 *   NONE    two scratch buffers take turns; layers that can, work in place.
 *   INPUTS  (the outermost sequence, under REVERSE and CHECKPOINT) the inputs of irreversible layers stay, nothing
 *           inside the layers does.
 *   ALL     (STORE, and inside a block that is being replayed) everything backward needs stays.
 * Way back: the gradient of a layer's input is written over that input, which nobody needs any more, unless a
 * reversible layer in front must still turn it back into its own input. */
#include "compose/sequence.h"

#include "compose/catalogue.h"
#include "compose/chain.h"
#include "kernels/kernels.h"
#include "layers/operands.h"

struct ebb_sequence {
  ebb_layer   base;
  int         count, most;
  ebb_layer **layers;
  ebb_chain  *chain;     /* the last layer, if it is one */
  ebb_builder *builder;  /* while building */
};

/* ---- building ------------------------------------------------------------------------------------------------ */
ebb_sequence *ebb_sequence_open(ebb_builder *b, const char *name, int most)
{
  ebb_sequence *s = (ebb_sequence *)ebb_layer_new(b, &ebb_sequence_ops, name, sizeof *s);
  s->most = most;
  s->layers = ebb_pool_take(b->pool, (size_t)most * sizeof *s->layers);
  s->builder = b;
  return s;
}

static void append(ebb_sequence *s, ebb_layer *l)
{
  EBB_ASSERT(s->count < s->most, "%s has room for %d layers", s->base.name, s->most);
  s->layers[s->count++] = l;
}

/* Neighbours with an inverse share a chain, which has the room that is left. */
static void add_reversible(ebb_sequence *s, ebb_layer *l)
{
  if (!s->chain) {
    s->chain = ebb_chain_open(s->builder, ebb_pool_text(s->builder->pool, "chain%d", s->count), s->most - s->count);
    append(s, ebb_chain_close(s->chain));
  }
  ebb_chain_add(s->chain, l);
}

void ebb_sequence_add(ebb_sequence *s, ebb_layer *l)
{
  ebb_layer *last = s->count ? s->layers[s->count - 1] : NULL;
  if (last && last->ops->absorb && last->ops->absorb(last, l)) return;
  ebb_layer *fused = last && last->ops->fuse ? last->ops->fuse(s->builder, last, l) : NULL;
  if (fused) {
    s->layers[s->count - 1] = fused;
    return;
  }
  if (ebb_reversible(l)) {
    add_reversible(s, l);
    return;
  }
  s->chain = NULL;
  append(s, l);
}

ebb_layer *ebb_sequence_close(ebb_sequence *s)
{
  EBB_ASSERT(s->count > 0, "%s is empty", s->base.name);
  for (int i = 1; i < s->count; i++) ebb_layers_join(s->layers[i - 1], s->layers[i]);
  return &s->base;
}

static ebb_shape shape(const ebb_layer *layer, ebb_shape x)
{
  const ebb_sequence *s = (const ebb_sequence *)layer;
  for (int i = 0; i < s->count && x.rank; i++) x = i ? ebb_shape_read(s->layers[i], x) : ebb_layer_shape(s->layers[0], x);
  return x;
}

static ebb_layer *measures(ebb_layer *layer)
{
  ebb_layer *first = ((ebb_sequence *)layer)->layers[0];
  return first->ops->measures ? first->ops->measures(first) : NULL;
}

static void precedes(ebb_layer *layer, const ebb_layer *norm)
{
  const ebb_sequence *s = (const ebb_sequence *)layer;
  ebb_layer          *last = s->layers[s->count - 1];
  if (last->ops->precedes) last->ops->precedes(last, norm);
}

static const ebb_layer *child(const ebb_layer *layer, int i)
{
  const ebb_sequence *s = (const ebb_sequence *)layer;
  return i < s->count ? s->layers[i] : NULL;
}

/* ---- small questions ------------------------------------------------------------------------------------------ */
/* Does a reversible layer before `i` need layer i's input back as it was? */
static bool needed_for_reversal(const ebb_sequence *s, const ebb_run *r, int i)
{
  return i > 0 && ebb_reversible(s->layers[i - 1]) && r->keep == EBB_KEEP_INPUTS && r->policy == EBB_REVERSE;
}

/* Are all layers from `i` on reversible, so that they can work in place on the sequence's output? */
static bool reversible_from(const ebb_sequence *s, int i)
{
  while (i < s->count && ebb_reversible(s->layers[i])) i++;
  return i == s->count;
}

/* Do all layers before `i` hand gradients through in place, without a look at their input? */
static bool in_place_before(const ebb_sequence *s, int i)
{
  while (i > 0 && s->layers[i - 1]->ops->in_place && s->layers[i - 1]->ops->ignores_x && !ebb_reversible(s->layers[i - 1]))
    i--;
  return i == 0;
}

/* ---- where the last layer's result goes ------------------------------------------------------------------------ */
/* Into y, or onto the stream z, which shows in y's shape. */
typedef struct sink { ebb_view y; bool update; ebb_sign sign; } sink;

/* Layer i, whose result goes to y, or, of the last, where the sequence's does. */
static void call(const ebb_sequence *s, int i, ebb_run *r, ebb_view x, ebb_view y, const sink *to)
{
  if (i + 1 == s->count && to->update) ebb_update_layer(s->layers[i], r, x, to->y, to->sign);
  else ebb_forward_layer(s->layers[i], r, x, y);
}

/* ---- forward, nothing kept ------------------------------------------------------------------------------------ */
typedef struct turns { ebb_view slot[2]; int next; } turns;

/* A layer whose output goes over its input: reversible, or a leaf that can; never over the caller's x. */
static bool works_in_place(const ebb_sequence *s, int i, bool owned)
{
  return owned && i + 1 < s->count && s->layers[i]->ops->in_place;
}

/* The two buffers that take turns, each as large as its largest tenant. */
static turns take_turns(const ebb_sequence *s, ebb_run *r, ebb_shape x)
{
  size_t bytes[2] = {0, 0};
  turns  t = {.next = 0};
  int    next = 0;
  bool   owned = false;
  for (int i = 0; i + 1 < s->count; i++) {
    x = ebb_shape_read(s->layers[i], x);
    if (works_in_place(s, i, owned)) continue;
    if (ebb_bytes(x) > bytes[next]) bytes[next] = ebb_bytes(x);
    next ^= 1;
    owned = true;
  }
  for (int k = 0; k < 2; k++)
    if (bytes[k]) t.slot[k].p = ebb_arena_high(r->arena, bytes[k]);
  return t;
}

static void forward_unkept(const ebb_sequence *s, ebb_run *r, ebb_view x, const sink *to)
{
  turns    t = take_turns(s, r, x.s);
  ebb_view now = x;
  bool     owned = false;
  for (int i = 0; i < s->count; i++) {
    const ebb_layer *l = s->layers[i];
    ebb_view         next = to->y;
    if (works_in_place(s, i, owned)) next = ebb_view_retyped(now, ebb_shape_read(l, now.s));
    else if (i + 1 < s->count) {
      next = ebb_view_of(t.slot[t.next].p, ebb_shape_read(l, now.s));
      t.next ^= 1;
    }
    if (ebb_reversible(l) && next.p != now.p) {
      ebb_view mine = ebb_view_retyped(next, now.s);
      ebb_copy(r, mine, now);
      now = mine;
    }
    call(s, i, r, now, next, to);
    now = next;
    owned = true;
  }
}

/* ---- forward, kept -------------------------------------------------------------------------------------------- */
/* Where layer i writes: the sequence's output if only reversible layers follow, which give it its shape, else memory that is kept. */
static ebb_view output_of(const ebb_sequence *s, ebb_run *r, int i, ebb_shape out, ebb_view y)
{
  return reversible_from(s, i + 1) && (y.p || i + 1 == s->count) ? ebb_view_retyped(y, out) : ebb_kept_view(r, out);
}

/* A leaf that neither needs its input back nor stands before one who does works in place, and its memory changes use. */
static bool keeps_in_place(const ebb_sequence *s, const ebb_run *r, int i, bool owned)
{
  const ebb_layer *l = s->layers[i];
  return owned && i + 1 < s->count && l->ops->in_place && l->ops->ignores_x && !l->ops->child &&
         !needed_for_reversal(s, r, i) && !reversible_from(s, i + 1);
}

static ebb_view over_input(ebb_run *r, ebb_view now, ebb_shape out)
{
  if (out.stream != now.s.stream)
    ebb_arena_retag(r->arena, ebb_bytes(out), out.stream ? EBB_USE_STREAM : EBB_USE_KEPT);
  return ebb_view_retyped(now, out);
}

static void forward_kept(const ebb_sequence *s, ebb_run *r, ebb_view x, const sink *to)
{
  ebb_keep outer = r->keep;
  ebb_view now = x;
  for (int i = 0; i < s->count; i++) {
    const ebb_layer *l = s->layers[i];
    ebb_shape        out = ebb_shape_read(l, now.s);
    bool             owned = i > 0;
    if (ebb_reversible(l) && !owned) {
      ebb_view mine = ebb_view_retyped(output_of(s, r, i, out, to->y), now.s);
      ebb_copy(r, mine, now);
      now = mine;
    }
    ebb_mark mark = ebb_arena_low_mark(r->arena);
    ebb_view next;
    if (ebb_reversible(l)) next = ebb_view_retyped(now, out);
    else if (keeps_in_place(s, r, i, owned)) next = over_input(r, now, out);
    else next = output_of(s, r, i, out, to->y);
    r->keep = ebb_keep_inside(l, outer);
    call(s, i, r, now, next, to);
    r->keep = outer;
    ebb_kept_push(r, now, mark);
    now = next;
  }
}

static void run(const ebb_sequence *s, ebb_run *r, ebb_view x, sink to)
{
  if (r->keep == EBB_KEEP_NONE) forward_unkept(s, r, x, &to);
  else forward_kept(s, r, x, &to);
}

static void forward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view y, void *scratch)
{
  (void)scratch;
  run((const ebb_sequence *)layer, r, x, (sink){.y = y});
}

static void update(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign, void *scratch)
{
  (void)scratch;
  run((const ebb_sequence *)layer, r, x, (sink){.y = z, .update = true, .sign = sign});
}

static bool from_stream(const ebb_layer *layer)
{
  return ebb_from_stream(((const ebb_sequence *)layer)->layers[0]);
}

/* ---- backward -------------------------------------------------------------------------------------------------- */
/* The gradient on its way back: a view, and the high end before it was taken if it lies there. */
typedef struct gradient { ebb_view v; bool mine, high; ebb_mark mark; } gradient;

/* Moves a gradient up over the dead one above it, so that the high end holds one only. */
static gradient slide(ebb_run *r, gradient dead, gradient g)
{
  if (!dead.high) return g;
  g.v.p = ebb_arena_high_slide(r->arena, dead.mark, ebb_bytes(g.v.s));
  g.mark = dead.mark;
  return g;
}

/* A reversible layer changes the gradient in place; the caller's stays as it is. */
static gradient own(ebb_run *r, gradient g)
{
  if (g.mine) return g;
  gradient mine = {.mine = true, .high = true, .mark = ebb_arena_high_mark(r->arena)};
  mine.v = ebb_scratch_view(r, g.v.s);
  ebb_copy(r, mine.v, g.v);
  return mine;
}

/* In place: by reversal where nothing was kept, else with what the layer kept. */
static gradient back_reversible(const ebb_layer *l, ebb_run *r, ebb_view x, gradient g)
{
  g = own(r, g);
  ebb_view dx = ebb_view_retyped(g.v, ebb_shape_real(x.s));
  if (ebb_keeps(r)) ebb_backward_layer(l, r, x, g.v, dx);
  else ebb_reverse_layer(l, r, ebb_view_retyped(x, ebb_layer_shape(l, x.s)), g.v);
  g.v = dx;
  return g;
}

/* z: what the last layer's result is taken back from, or NULL */
static gradient back_irreversible(const ebb_sequence *s, ebb_run *r, int i, ebb_view x, const ebb_view *z, gradient g, ebb_view dx,
                                  bool keep_x)
{
  gradient to = {.v = ebb_view_retyped(x, ebb_shape_real(x.s)), .mine = true};
  if (i == 0 || (in_place_before(s, i) && !keep_x && dx.p && !dx.add)) {
    to = (gradient){.v = dx};
  } else if (keep_x) {
    to.high = true;
    to.mark = ebb_arena_high_mark(r->arena);
    to.v = ebb_scratch_view(r, ebb_shape_real(x.s));
  }
  if (z && i + 1 == s->count) ebb_undo_layer(s->layers[i], r, x, *z, g.v, to.v);
  else ebb_backward_layer(s->layers[i], r, x, g.v, to.v);
  if (to.high) return slide(r, g, to);
  if (g.high) ebb_arena_high_release(r->arena, g.mark);
  return to;
}

/* x may lie elsewhere than it did on the way forward. */
static void back(const ebb_sequence *s, ebb_run *r, ebb_view x, const ebb_view *z, ebb_view dy, ebb_view dx)
{
  ebb_keep outer = r->keep;
  gradient g = {.v = dy};
  for (int i = s->count - 1; i >= 0; i--) {
    const ebb_layer *l = s->layers[i];
    ebb_kept         kept = ebb_kept_pop(r);
    bool             keep_x = needed_for_reversal(s, r, i);
    r->keep = ebb_keep_inside(l, outer);
    if (ebb_reversible(l)) g = back_reversible(l, r, kept.view, g);
    else g = back_irreversible(s, r, i, i ? kept.view : x, z, g, dx, keep_x);
    r->keep = outer;
    ebb_arena_low_release(r->arena, kept.mark);
  }
  if (dx.p && g.v.p != dx.p) ebb_copy(r, dx, g.v);
}

static void backward(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  back((const ebb_sequence *)layer, r, x, NULL, dy, dx);
}

static void undo(const ebb_layer *layer, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx, void *scratch)
{
  (void)scratch;
  back((const ebb_sequence *)layer, r, x, &z, dy, dx);
}

static ebb_layer *make(ebb_builder *b, const char *name, ebb_shape x)
{
  const char   *outer = ebb_scope_enter(b, "%s", name);
  ebb_sequence *s = ebb_sequence_open(b, "chain", 4);
  ebb_sequence_add(s, ebb_batch_norm_ops.make(b, "norm1", x));
  ebb_sequence_add(s, ebb_relu_ops.make(b, "relu", x));
  ebb_sequence_add(s, ebb_conv_ops.make(b, "conv", x));
  ebb_sequence_add(s, ebb_batch_norm_ops.make(b, "norm2", x));
  b->scope = outer;
  return ebb_sequence_close(s);
}

const ebb_layer_ops ebb_sequence_ops = {
    .name = "sequence",
    .formula = "y = L_n(... L_2(L_1(x)))",
    .source = "",
    .shape = shape,
    .forward = forward,
    .update = update,
    .backward = backward,
    .undo = undo,
    .from_stream = from_stream,
    .measures = measures,
    .precedes = precedes,
    .child = child,
    .make = make,
};
