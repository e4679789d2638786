/* layer.h -- the contract of a layer, and how models are built of them.
 * Owns: ebb_layer_ops, parameters, the builder, and the one way by which any layer is called (ebb_forward_layer and
 * its kin). Must not know: which layers there are.
 *
 * A layer is one constant struct of functions. `inverse != NULL` is the only question anyone asks about
 * reversibility. To add a layer: one file, one row in compose/layers.def, one line in meson.build; tests,
 * benchmark and catalogue follow from the row. */
#pragma once
#include "layers/run.h"

typedef struct ebb_layer     ebb_layer;
typedef struct ebb_builder   ebb_builder;

/* z + L(x) or z - L(x) on the stream. */
typedef enum ebb_sign { EBB_PLUS, EBB_MINUS } ebb_sign;

/* Where a layer can write its input's gradient; ebb_backward_layer sees to it. */
typedef enum ebb_dx_place {
  EBB_DX_OVER_X,    /* may lie over x: the layer reads x before it overwrites it                              */
  EBB_DX_FRESH,     /* must not                                                                               */
} ebb_dx_place;

typedef struct ebb_layer_ops {
  const char *name;      /* "coupling"                                                                      */
  const char *formula;   /* "z1 = x1 + F(x2); z2 = x2 + G(z1)"                                              */
  const char *source;    /* paper and equation, or ""                                                       */

  bool in_place;         /* forward may be called with y == x                                              */
  bool ignores_x;        /* backward does not read x (only its shape)                                       */
  bool logdet;           /* of flows: adds to the run's log|det|, if only 0; on real values, so that its inverse rounds */
  bool conditional;      /* looks at the run's labels                                                        */
  bool transparent;      /* a reversible composite that itself sees to what those inside keep, by the policy */
  ebb_dx_place dx_place;

  /* Shape of y for x; rank 0: does not fit. */
  ebb_shape (*shape)(const ebb_layer *l, ebb_shape x);

  /* Leaves: bytes alive inside one call, handed over as `scratch` (64-byte aligned); NULL: none. */
  size_t (*scratch)(const ebb_layer *l, ebb_shape x);
  size_t (*backward_scratch)(const ebb_layer *l, ebb_shape x); /* the same of backward; NULL: as `scratch` */
  /* Leaves: bytes kept from forward to backward besides the input, a few per channel, found by ebb_saved; NULL: none. */
  size_t (*saved)(const ebb_layer *l, ebb_shape x);

  /* x -> y. Reversible layers work in place: y.p == x.p. A REPLAY gives the bits of the TRAIN pass. Composites may be
   * called with y.p == NULL: only what they keep is wanted. */
  void (*forward)(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y, void *scratch);
  /* z += q(L(x)) or z -= q(L(x)) on the stream, the bits of forward followed by that, in fewer passes over memory; NULL: in
   * two. */
  void (*update)(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign, void *scratch);
  /* Adds the parameters' gradients; writes dx unless dx.p is NULL. dy is not changed unless dx.p == dy.p, which leaves
   * with in_place allow, and reversible layers expect. */
  void (*backward)(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx, void *scratch);

  /* z -= q(L(x)) on the stream and backward at once: the bits of update and backward, in fewer passes over memory; NULL: one
   * after the other. Composites find what their forward with EBB_KEEP_ALL has kept. */
  void (*undo)(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx, void *scratch);

  /* Can x be a view of the stream, taken for the values it stands for, and dx be added to, as dx.add says, where it does not
   * lie over x? NULL: no. */
  bool (*from_stream)(const ebb_layer *l);

  /* Reversible layers that change the shape (then x is dense): the shape of x for y; NULL: they do not. */
  ebb_shape (*before)(const ebb_layer *l, ebb_shape y);
  /* Reversible layers only, in place, after a forward of the same run.  y -> x */
  void (*inverse)(const ebb_layer *l, ebb_run *r, ebb_view y);
  /* y -> x and dy -> dx, sharing one evaluation of what both need; adds the parameters' gradients. NULL: inverse, then backward, of
   * layers that keep the shape. */
  void (*reverse)(const ebb_layer *l, ebb_run *r, ebb_view y, ebb_view dy);

  /* Composites: the i-th layer inside, NULL after the last. A layer without it is a leaf. */
  const ebb_layer *(*child)(const ebb_layer *l, int i);

  /* While building: takes the layer that follows into itself if it can (a norm its activation); NULL: never. */
  bool (*absorb)(ebb_layer *l, const ebb_layer *next);
  /* While building: one layer that does the work of `l` and of `next` behind it, NULL: none. NULL: never. */
  ebb_layer *(*fuse)(ebb_builder *b, ebb_layer *l, ebb_layer *next);
  /* While building: the norm that measures this layer's input (of a coupling, its second half) first of all; NULL: none. */
  ebb_layer *(*measures)(ebb_layer *l);
  /* While building: this layer's result is that input; takes its moments along if it can (a convolution). NULL: it cannot. */
  void (*precedes)(ebb_layer *l, const ebb_layer *norm);
  /* Fused layers: the i-th of those they stand for, who have the parameters; NULL after the last. */
  const ebb_layer *(*part)(const ebb_layer *l, int i);
  /* Makes of the first values of its parameters, each drawn by itself, what they must be together; NULL: nothing. */
  void (*begin)(const ebb_layer *l, ebb_real *weights, ebb_real *state);
  /* A new layer with default options for input x: for activations by name, tests, benchmarks, the catalogue. */
  ebb_layer *(*make)(ebb_builder *b, const char *name, ebb_shape x);
} ebb_layer_ops;

/* Concrete layers have this as their first member. */
struct ebb_layer {
  const ebb_layer_ops *ops;
  const char          *name;   /* dotted, as PyTorch would name the module */
  int                  id;
};

/* ---- parameters ------------------------------------------------------------------------------------------ */
typedef enum ebb_param_kind { EBB_WEIGHT, EBB_STATE } ebb_param_kind;
typedef enum ebb_fill {
  EBB_FILL_ZERO, EBB_FILL_ONE,
  EBB_FILL_NORMAL,            /* N(0, scale^2)                       */
  EBB_FILL_TRUNCATED_NORMAL,  /* N(0, scale^2) cut at two sigma      */
  EBB_FILL_UNIFORM,           /* U(-scale, scale)                    */
  EBB_FILL_ORTHOGONAL,        /* a random orthogonal matrix          */
  EBB_FILL_PERMUTATION,       /* 0 .. count - 1 in a random order    */
  EBB_FILL_TABLE,             /* values[i mod period]                */
} ebb_fill;

typedef struct ebb_param {
  struct ebb_param *next;
  const char    *name;        /* "stage1.0.f.conv1.weight", PyTorch's                                        */
  const ebb_layer *layer;     /* whose it is                                                                 */
  ebb_param_kind kind;
  int            rank, dims[5]; /* PyTorch's shape, e.g. (O, I, H, W)                                        */
  bool           taps_first;  /* in memory the taps come first, then I, then O: (D, H, W, I, O)              */
  bool           decay;       /* a weight, which weight decay may shrink; not a bias or a norm's parameter    */
  bool           places;      /* whole numbers 0 .. count - 1: who reads a file sees to it                    */
  ebb_fill       fill;
  double         scale;
  const double  *values;      /* (period) of EBB_FILL_TABLE, in the pool                                     */
  size_t         period;
  int            index;       /* among all parameters: the time of its random numbers                        */
  size_t         count, offset; /* values, in the flat array of its kind                                     */
} ebb_param;

/* ---- building -------------------------------------------------------------------------------------------- */
struct ebb_builder {
  ebb_pool   *pool;           /* everything that is built lives here                                         */
  int         rank;           /* spatial dimensions of the model's data                                      */
  const char *scope;          /* prefix of names, "stage1.0."                                                */
  ebb_param  *first, *last;
  int         layers, params;
  size_t      weights, states; /* values so far                                                              */
};

/* A new layer of `bytes` bytes, its name prefixed by the scope. */
ebb_layer *ebb_layer_new(ebb_builder *b, const ebb_layer_ops *ops, const char *name, size_t bytes);

/* A parameter of the layer, "layer.name"; dims in PyTorch's order. `p` gives kind, rank, dims, fill and so on. */
const ebb_param *ebb_param_new(ebb_builder *b, const ebb_layer *l, const char *name, ebb_param p);

/* `next` reads what `l` writes: its norm, if it begins with one, need not pass over that again. */
void ebb_layers_join(ebb_layer *l, ebb_layer *next);

/* Names inside `scope` get its prefix: const char *outer = ebb_scope_enter(b, "stage%d", 1); ... b->scope = outer; */
const char *ebb_scope_enter(ebb_builder *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- for layers: their memory in a run ------------------------------------------------------------------- */
static inline const ebb_real *ebb_weights(const ebb_run *r, const ebb_param *p) { return p ? r->weights + p->offset : NULL; }
static inline ebb_real *ebb_grads(const ebb_run *r, const ebb_param *p)
{
  if (!p) return NULL;
  EBB_ASSERT(!r->spans || p->offset - r->span.from < r->span.count, "the gradient of %s is not what is in memory now", p->name);
  return r->grads + (p->offset - r->span.from);
}
static inline ebb_real *ebb_states(const ebb_run *r, const ebb_param *p) { return p ? r->state + p->offset : NULL; }
static inline void *ebb_saved(const ebb_run *r, const ebb_layer *l) { return r->saved + r->saved_at[l->id]; }

/* ---- calling a layer: the only way, so that memory is planned and counted in one place --------------------- */
ebb_shape ebb_layer_shape(const ebb_layer *l, ebb_shape x);
ebb_shape ebb_shape_before(const ebb_layer *l, ebb_shape y); /* of a reversible layer's x */
void ebb_forward_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view y);
void ebb_update_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign);
void ebb_backward_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view dy, ebb_view dx);
void ebb_undo_layer(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_view dy, ebb_view dx); /* after its forward */
void ebb_inverse_layer(const ebb_layer *l, ebb_run *r, ebb_view y);
void ebb_reverse_layer(const ebb_layer *l, ebb_run *r, ebb_view y, ebb_view dy);
static inline bool ebb_reversible(const ebb_layer *l) { return l->ops->inverse != NULL; }

static inline bool ebb_from_stream(const ebb_layer *l) { return l->ops->from_stream && l->ops->from_stream(l); }

/* Shape of the result for an x that may be on the stream where the layer reads that. */
ebb_shape ebb_shape_read(const ebb_layer *l, ebb_shape x);
/* z +- q(L(x)) by a forward into scratch, and a pass that adds: what `update` spares. */
void ebb_update_by_forward(const ebb_layer *l, ebb_run *r, ebb_view x, ebb_view z, ebb_sign sign);

/* For composites: does what they keep outlive their forward? And what those inside keep, if they keep `outer`. */
bool     ebb_keeps(const ebb_run *r);
ebb_keep ebb_keep_inside(const ebb_layer *inner, ebb_keep outer);
/* A reversible layer that must replay what is inside it, unless it kept that. */
bool     ebb_replays(const ebb_layer *l);

/* Shape functions that many layers share. */
ebb_shape ebb_shape_same(const ebb_layer *l, ebb_shape x);          /* y as x, real values only */
bool      ebb_yes(const ebb_layer *l);                              /* from_stream of those that always can */
