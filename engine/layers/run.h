/* run.h -- what changes while a model works: one pass carries one run.
 * Owns: memory in use, passes, what is kept for the way back, events. The model itself is const.
 * Must not know: which layers there are. */
#pragma once
#include "base/arena.h"
#include "base/rng.h"
#include "base/view.h"

struct ebb_layer;
struct ebb_param;

/* TRAIN draws and moves statistics; REPLAY repeats a TRAIN pass and changes nothing; EVAL uses running statistics
 * and drops nothing. */
typedef enum ebb_pass { EBB_TRAIN, EBB_REPLAY, EBB_EVAL } ebb_pass;

/* How the backward pass comes by activations. REVERSE reconstructs them, STORE keeps all that backward needs and
 * recomputes nothing, CHECKPOINT keeps each block's input and recomputes the block. Results are the same bytes, or,
 * of real-valued streams by reversal, the same but for rounding. AUTO is for plans to settle. */
typedef enum ebb_policy { EBB_REVERSE, EBB_STORE, EBB_CHECKPOINT, EBB_POLICIES, EBB_AUTO = EBB_POLICIES } ebb_policy;
extern const char *const ebb_policy_names[EBB_POLICIES + 1];

/* What a composite layer's forward keeps for its backward. INPUTS: the inputs of its layers that cannot be had
 * otherwise, by the run's policy, and nothing inside those layers. INSIDE, of a reversible block: what its reverse would
 * otherwise have to replay; its input is reconstructed all the same. */
typedef enum ebb_keep { EBB_KEEP_NONE, EBB_KEEP_INPUTS, EBB_KEEP_INSIDE, EBB_KEEP_ALL } ebb_keep;

/* Numbers that went astray; the trainer decides what to do. */
typedef struct ebb_events {
  uint64_t    out_of_range;   /* values that left the stream's range    */
  double      worst;          /* the largest of them                    */
  const char *where;          /* the first layer it happened in         */
  const char *singular;       /* a layer whose matrix has no inverse    */
  const char *not_whole;      /* a layer that takes whole numbers 0 .. levels - 1 and was given `odd` */
  double      odd;
  int         levels;
  const struct ebb_layer *drifted; /* the layer that was undone first of those whose input did not come back */
  double      drift;          /* by how much                            */
} ebb_events;

typedef struct ebb_kept { ebb_view view; ebb_mark mark; } ebb_kept;

/* What a plan notes of each layer, by its id. */
typedef struct ebb_tally {
  ebb_shape x, y;          /* input and output                                                          */
  size_t    kept;          /* bytes that stay in the arena when its forward returns                     */
  size_t    forward_peak, backward_peak; /* bytes taken inside, beyond what was taken before            */
  size_t    saved;         /* bytes of ops->saved                                                       */
} ebb_tally;

/* Weights that lie together: `count` from `from` on, the first parameter and those behind it. */
typedef struct ebb_span { const struct ebb_param *first; size_t from, count; } ebb_span;

typedef struct ebb_run {
  ebb_arena      *arena;
  const ebb_real *weights;    /* all trainable parameters, by ebb_param.offset                       */
  ebb_real       *grads;      /* their gradients, added to                                 */
  const ebb_span *spans;      /* (layers) NULL, or `grads` holds the gradients of one span at a time, while its layer is in its backward */
  ebb_span        span;       /* that one; {0}: of none, or of all weights                 */
  void          (*ready)(struct ebb_run *r); /* takes the gradients of `span`, and zeroes them; NULL: nobody wants any */
  void           *updater;    /* the context of `ready`                                    */
  ebb_real       *state;      /* running statistics, by ebb_param.offset                   */
  char           *saved;      /* what layers keep from forward to backward, by layer id    */
  size_t         *saved_at;   /* (layers) offsets into `saved`, bytes                             */
  ebb_kept       *kept;       /* stack of inputs kept for the way back                     */
  size_t          kept_count, kept_size, kept_most; /* now; there is room for; there were at a time */
  uint64_t        seed;
  uint32_t        step;       /* counts forward passes: the time of every random number    */
  ebb_pass        pass;
  ebb_policy      policy;
  const bool     *spared;     /* (layers) REVERSE: blocks that keep their INSIDE, since there is room; NULL: none do */
  const bool     *stored;     /* (layers) REVERSE: blocks that keep all, since there is more room; NULL: none do */
  const bool     *held;       /* (layers) REVERSE: layers whose input is kept, as it does not come back; NULL: none are */
  double          drift_most; /* largest change of a channel's mean or deviation in what reverse brings back (guard.h); 0: nobody looks */
  ebb_keep        keep;
  uint64_t        place;      /* EVAL: of the first sample in its set, by which random numbers tell samples apart */
  bool            drawn;      /* an inverse in EVAL: of latent values that were drawn, and that no noise was added to */
  double         *logdet;     /* (n) log|det| of each sample, added up on the way forward; NULL: not wanted */
  double          dlogdet;    /* the derivative of the loss by each of them                */
  const int32_t  *labels;     /* (n) of the samples, for what depends on their class, below 0: none; NULL: none has one */
  ebb_real       *first;      /* the weights, while a first batch decides on some of them; else NULL */
  ebb_events      events;
  const struct ebb_layer *measured; /* the norm whose input was measured when it was written, just now */
  bool            dry;        /* plan: memory is taken and given back, nothing is computed */
  ebb_tally      *tally;      /* (layers) or NULL                                          */
  /* Sees each reversible layer's input, on the way forward and reconstructed on the way back; NULL: nobody looks. */
  void          (*watch)(struct ebb_run *r, const struct ebb_layer *l, ebb_view x, bool reconstructed);
  void           *watcher;
} ebb_run;

/* Inputs kept: pushed on the way forward, popped on the way back. `mark` is the low end before the view was taken. */
void     ebb_kept_push(ebb_run *r, ebb_view v, ebb_mark mark);
ebb_kept ebb_kept_pop(ebb_run *r);

/* A dense tensor from the high (scratch) or low (kept) end of the run's arena. */
ebb_view ebb_scratch_view(ebb_run *r, ebb_shape s);
ebb_view ebb_kept_view(ebb_run *r, ebb_shape s);

/* Random numbers of layer `id` at this step. */
ebb_rng ebb_layer_rng(const ebb_run *r, int id);

/* Where a layer adds its log|det|: nowhere in a replay. */
static inline double *ebb_logdet(const ebb_run *r) { return r->pass == EBB_REPLAY ? NULL : r->logdet; }

/* Layer `l` found that its matrix has no inverse. */
void     ebb_note_singular(ebb_run *r, const struct ebb_layer *l);

/* Layer `l` takes whole numbers 0 .. levels - 1, and was given `value`. */
void     ebb_note_not_whole(ebb_run *r, const struct ebb_layer *l, double value, int levels);

/* The input of layer `l` came back off by `drift`, of its size. */
void ebb_note_drift(ebb_run *r, const struct ebb_layer *l, double drift);

/* Counts values that left the stream's range in layer `l`. */
void ebb_note_range(ebb_run *r, const struct ebb_layer *l, uint64_t count, double worst);
