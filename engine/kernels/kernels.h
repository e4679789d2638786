/* kernels.h -- the arithmetic of the engine: one table of functions on pointers and sizes.
 * Owns: the signatures and the choice of instruction set. Must not know: layers, arenas, runs.
 * These are the only SIMD and OpenMP loops of the engine.
 *
 * Laws, for every kernel and every instruction set:
 *  - Tensors are channels-last; a matrix of `rows` pixels and `c` channels has a row stride in values (xs, ys...).
 *  - Outputs first, then inputs, then sizes, then scratch. Kernels return nothing and cannot fail.
 *  - Results do not depend on the number of threads: every sum has a fixed order, over chunks that depend on the
 *    sizes only. They do not depend on alignment or row strides either: the same values give the same bits.
 *  - Element-wise kernels may work in place (y == x, dx == dy, dx == x).
 *  - "+=" marks outputs that are added to; all others are overwritten.
 *  - NaN stays NaN: no fast-math.
 * The plain reference stands beside each fast kernel (reference.c) and is what the double build uses. */
#pragma once
#include "base/real.h"
#include "base/rng.h"
#include "base/status.h"

/* How a convolution is computed. AUTO is what conv_algorithm says; WINOGRAD where it is no way is DIRECT. */
typedef enum ebbk_algorithm { EBBK_AUTO, EBBK_DIRECT, EBBK_WINOGRAD } ebbk_algorithm;
typedef enum ebbk_product { EBBK_FORWARD, EBBK_GRAD_DATA, EBBK_GRAD_WEIGHT } ebbk_product;

/* Convolution (cross-correlation) in 1-D to 3-D; unused dimensions are 1 with kernel 1, stride 1, padding 0.
 * y[n,q,co] = b[co] + sum over taps k, channels ci of w[k,ci,co] x[n, q stride + k - pad, ci], zero outside. */
typedef struct ebbk_conv {
  int n;               /* samples                                                   */
  int in[3], ci;       /* input D H W and channels                                  */
  int out[3], co;      /* output D H W and channels, floor((in + 2 pad - k)/s) + 1  */
  int kernel[3], stride[3], pad[3];
  ebbk_algorithm algorithm; /* for tests and benchmarks */
} ebbk_conv;

/* Pooling windows; same letters. Padding never wins a maximum and does not count in a mean. */
typedef ebbk_conv ebbk_pool; /* ci == co == channels */

/* A tensor as a kernel reads it, so that what stands before a convolution costs no pass of its own: v = x, or the value of
 * x on the stream; then, if `scale` is given, act(v scale + shift), act(z) = z > 0 ? z : slope z (slope 1 is the identity,
 * 0 ReLU). Zeros around an image are zeros of the result. */
typedef struct ebbk_input {
  const void     *x;              /* ebb_real, or ebb_fixed if `stream` */
  int             stride;
  bool            stream;
  bool            per_instance;   /* scale and shift are (instances, c), samples being instances; else (c) */
  const ebb_real *scale, *shift;
  ebb_real        slope;
} ebbk_input;

/* ... and as it writes it: over y, added to y, or onto the stream as fixed_add and fixed_subtract do. */
typedef enum ebbk_write { EBBK_SET, EBBK_ADD, EBBK_STREAM_ADD, EBBK_STREAM_SUBTRACT } ebbk_write;

typedef struct ebbk_range ebbk_range;

typedef struct ebbk_output {
  void       *y;
  int         stride;
  ebbk_write  how;
  ebbk_range *range;              /* of STREAM_ADD; added to, may be NULL */
  ebb_real   *mean, *var;         /* NULL, or, of conv_forward by SET or STREAM_ADD: moments of the new y, (instances, c) */
  bool        per_instance;       /* of the moments: instances are samples, or else there is one        */
} ebbk_output;

static inline ebbk_input ebbk_read(const ebb_real *x, int stride)
{
  return (ebbk_input){.x = x, .stride = stride};
}

static inline ebbk_output ebbk_over(ebb_real *y, int stride)
{
  return (ebbk_output){.y = y, .stride = stride};
}

/* A convolution's whole backward, y = conv(x), and what can be taken along in the same pass over memory. */
typedef struct ebbk_conv_back {
  ebbk_input      x;
  const ebb_real *w, *b;           /* b: NULL or, of use for y only, the bias                                     */
  const ebb_real *dy;
  int             dys;
  ebb_real       *dw;              /* +=                                                                          */
  ebbk_output     dx;              /* SET or ADD; its memory may be NULL: not wanted; SET may lie over x          */
  ebbk_output     y;               /* its memory NULL, or: the results once more                                  */
  const ebb_real *mean;            /* NULL, or: of affine_act_sums, whose dy is dx (SET, not over x), instances   */
  ebb_real       *sum_dz, *sum_dzx; /* being samples if x says so, or else one                                     */
} ebbk_conv_back;

/* Squeeze (pixel-unshuffle): patches of `stride` sites become sites of c prod(stride) channels. Channel `ch` of the patch's
 * site k, last dimension fastest, becomes channel ch prod(stride) + k, as in PyTorch and iUNets; or, in checkerboard order,
 * channel rank(k) c + ch, where the two diagonals of each 2x2 plane follow each other: (0, 3, 1, 2). */
typedef struct ebbk_squeeze {
  int  n, in[3], c;    /* D H W before; the strides divide them                     */
  int  stride[3];
  bool checkerboard;
} ebbk_squeeze;

/* Orthogonal mixing of channels in `groups` of k neighbours, y = M x, as a product of reflections and signs,
 *   M = H_0 H_1 ... H_{k-2} diag(sign),   H_i = I - beta_i v_i v_i^T,  v_i = (0 .. 0, 1, a_{i,i+1} ..),  beta_i = 2 / v_i^T v_i,
 * with v^T v <= 2 (Householder's sign). On integers two reflections at a time are three shears and a turn, q being the rounding to
 * the grid, z the channels i and i + 1, i even, and x those behind:
 *   z += q(U x);  x += q(L z);  z = S z;  z -= q(U x),
 *   U x = (s - a t, t), s and t the sums of a_{i,j} x_j and a_{i+1,j} x_j, a = a_{i,i+1};
 *   L z = -(a_i beta_i (z_i + e z_{i+1}) + a_{i+1} beta_{i+1} z_{i+1});
 *   S: z_i += q(e z_{i+1});  z_{i+1} += q(f z_i);  z_i -= q(a z_{i+1});  z = -z,
 * where e = a - beta_{i+1} c, f = beta_i c, c = v_i^T v_{i+1}: the product's compact form I - V T V^T (Schreiber, Van Loan
 * 1989) cut into shears, each of which is undone bit for bit. For an even k the last reflection, which has no second, is
 *   z_i += q(a z_{i+1});  z_{i+1} -= q(a beta z_i);  z_i = -z_i;  z_i -= q(a z_{i+1}). */
enum { EBBK_MIX_MOST = 1024 };
typedef struct ebbk_mixing {
  int             groups, k; /* k <= EBBK_MIX_MOST                                      */
  int             matrices; /* groups, or 1 for all of them                             */
  const ebb_real *m;        /* (matrices, k, k)                                         */
  const ebb_real *a;        /* (matrices, k, k): row i of v_i; only what is right of i is read */
  const ebb_real *beta;     /* (matrices, k)                                            */
  const ebb_real *turn;     /* (matrices, k): e and f of each pair, one behind the other */
  const ebb_real *sign;     /* (matrices, k): 1 or -1                                   */
} ebbk_mixing;

static inline size_t ebbk_matrix_of(const ebbk_mixing *g, int group)
{
  return g->matrices > 1 ? (size_t)group : 0;
}

/* Adam and its kin, in PyTorch's form; see train/optim.h. */
typedef struct ebbk_adam {
  double   lr, beta1, beta2, epsilon, decay;
  bool     decoupled;  /* AdamW */
  bool     largest;    /* Adamax: v is a decaying maximum */
  uint64_t step;       /* from 1 */
} ebbk_adam;

/* Losses of segmentation: n samples of `sites` rows, each with a label. p = softmax(x), or of each channel for itself
 * 1 / (1 + e^-x); t is 1 in the label's channel and 0 elsewhere, or what `soft` says. A single channel stands for label 1. */
typedef struct ebbk_segment {
  int           n, c;
  size_t        sites;
  bool          sigmoid;
  double        smoothing; /* of softmax's cross-entropy                                */
  const double *weights;   /* (c) of softmax's cross-entropy; NULL: all 1               */
  int           soft_stride;
  const ebb_real *soft;    /* (rows, c) t of rows whose label is not negative; NULL: labels are hard */
} ebbk_segment;

typedef struct ebbk_overlap { double both, p, t; } ebbk_overlap; /* sums over a sample's rows of p t, p and t */
typedef struct ebbk_slope { double both, p; } ebbk_slope;        /* derivatives of a loss by the first two    */

static inline int ebbk_segment_channel(const ebbk_segment *g, int label)
{
  return g->c == 1 ? label - 1 : label;
}

static inline double ebbk_segment_weight(const ebbk_segment *g, int channel)
{
  return g->weights ? g->weights[channel] : 1;
}

/* What left the range of the stream, or was not a number, in one call. */
struct ebbk_range {
  uint64_t count;      /* values beyond the range                                   */
  double   worst;      /* the largest magnitude seen among them (NaN counts as inf) */
};

typedef struct ebbk_table {
  const char *isa;     /* "reference", "baseline", "avx2", "avx512"                 */

  /* ---- convolution: x (rows = n in, ci), y (rows = n out, co), w (Kd, Kh, Kw, ci, co), b (co) or NULL.
   *      scratch: conv_scratch(g, threads) bytes, 64-byte aligned. --------------------------------------- */
  size_t (*conv_scratch)(const ebbk_conv *g, int threads);
  /* DIRECT or WINOGRAD: the way of one of the three products, by a rule that was measured; see conv.c */
  ebbk_algorithm (*conv_algorithm)(const ebbk_conv *g, ebbk_product what);
  void (*conv_forward)(ebbk_output y, ebbk_input x, const ebb_real *w, const ebb_real *b, const ebbk_conv *g, void *scratch);
  void (*conv_grad_data)(ebbk_output dx /* SET or ADD */, const ebb_real *dy, int dys, const ebb_real *w, const ebbk_conv *g,
                         void *scratch);
  void (*conv_grad_weight)(ebb_real *dw /* += */, ebbk_input x, const ebb_real *dy, int dys, const ebbk_conv *g,
                           void *scratch);
  /* y as conv_forward, then dw as conv_grad_weight, then dx as conv_grad_data, with their bits, and the sums */
  void (*conv_backward)(const ebbk_conv_back *k, const ebbk_conv *g, void *scratch);

  /* ---- matrices: c (m, n) = a (m, k) b (k, n) [+ c if add]; ta, tb: the operand is stored transposed ------- */
  void (*gemm)(ebb_real *c, int cs, const ebb_real *a, int as, bool ta, const ebb_real *b, int bs, bool tb, int m,
               int n, int k, bool add);
  /* sum[c] += sum over rows of x */
  void (*column_sums)(ebb_real *sum /* += */, const ebb_real *x, int xs, size_t rows, int c);

  /* ---- normalisation. `instances` groups of `sites` consecutive rows each: 1 for batch norm, N for instance and
   *      group norm. Every array of statistics is (instances, c). -------------------------------------------- */
  /* mean and biased variance of each channel; over fixed chunks, in double */
  void (*moments)(ebb_real *mean, ebb_real *var, ebbk_input x /* scale is not looked at */, size_t instances, size_t sites,
                  int c);
  /* y = act(x scale + shift) as ebbk_input says; y may lie over x where both are real */
  void (*affine_act)(ebbk_output y, ebbk_input x, size_t instances, size_t sites, int c);
  /* with dz = dy act'(x scale + shift): sum_dz = sum of dz, sum_dzx = sum of dz (x - mean); sums in double */
  void (*affine_act_sums)(ebb_real *sum_dz, ebb_real *sum_dzx, ebbk_input x, const ebb_real *dy, int dys,
                          const ebb_real *mean, size_t instances, size_t sites, int c);
  /* dx = a dz + b (x - mean) + e, dz as above, a b e (instances, c); SET or ADD. z: its memory NULL, or: affine_act's result is
   * taken from it (STREAM_SUBTRACT) in the same pass */
  void (*affine_act_grad)(ebbk_output dx, ebbk_output z, ebbk_input x, const ebb_real *dy, int dys, const ebb_real *a,
                          const ebb_real *b, const ebb_real *e, const ebb_real *mean, size_t instances, size_t sites, int c);

  /* ---- element-wise -------------------------------------------------------------------------------------- */
  void (*fill)(ebb_real *y, int ys, ebb_real value, size_t rows, int c);
  void (*copy)(ebb_real *y, int ys, const ebb_real *x, int xs, size_t rows, int c);
  void (*add)(ebb_real *y /* += */, int ys, const ebb_real *x, int xs, size_t rows, int c);
  void (*leaky)(ebb_real *y, int ys, const ebb_real *x, int xs, ebb_real slope, size_t rows, int c);
  void (*leaky_grad)(ebb_real *dx, int dxs, const ebb_real *x, int xs, const ebb_real *dy, int dys, ebb_real slope,
                     size_t rows, int c);
  /* y = f(x), dx = dy f'(x): any function of one value, for layers that need no kernel of their own */
  void (*map)(ebb_real *y, int ys, const ebb_real *x, int xs, double (*f)(double), size_t rows, int c);
  void (*map_grad)(ebb_real *dx, int dxs, const ebb_real *x, int xs, const ebb_real *dy, int dys,
                   double (*derivative)(double), size_t rows, int c);
  /* y = x / (1 - rate) where kept, else 0. Element i = row c + channel is dropped if the (i mod 4)-th 32-bit number
   * of ebb_rng_bits(g, i / 4) is below rate 2^32: the mask is the same at every call. */
  void (*dropout)(ebb_real *y, int ys, const ebb_real *x, int xs, double rate, ebb_rng g, size_t rows, int c);

  /* ---- pooling; max_grad finds the first maximum of each window again ------------------------------------ */
  void (*pool_mean)(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_pool *g);
  void (*pool_mean_grad)(ebb_real *dx, int dxs, const ebb_real *dy, int dys, const ebbk_pool *g);
  void (*pool_max)(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_pool *g);
  void (*pool_max_grad)(ebb_real *dx, int dxs, const ebb_real *x, int xs, const ebb_real *dy, int dys,
                        const ebbk_pool *g); /* dx != x */
  /* Linear interpolation from g->in to g->out = g->in g->stride, stride 1 or 2 along each axis, and its adjoint. */
  void (*upsample)(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_pool *g);
  void (*upsample_grad)(ebb_real *dx, int dxs, const ebb_real *dy, int dys, const ebbk_pool *g);

  /* ---- loss: returns the sum over rows of the cross-entropy of softmax(x) against the target that has
   *      1 - smoothing + smoothing/c at `label` and smoothing/c elsewhere; dx = weight (softmax(x) - target).
   *      Rows with label < 0 are left out (dx = 0). Sums in double. ------------------------------------------ */
  double (*softmax_xent)(ebb_real *dx, int dxs, const ebb_real *x, int xs, const int32_t *label, double smoothing,
                         double weight, size_t rows, int c);

  /* ---- loss of segmentation, in two passes; scratch: segment_scratch(g) bytes. Rows with label < 0 are left out (p = 0,
   *      dx = 0). Sums in double. --------------------------------------------------------------------------- */
  size_t (*segment_scratch)(const ebbk_segment *g);
  /* p, sums (n, c); returns the sum over rows of the cross-entropy: -sum_j q_j log p_j against q_j = w_j (t_j (1 - smoothing)
   * + smoothing/c), or, of sigmoids, -sum_j t_j log p_j + (1 - t_j) log(1 - p_j) */
  double (*segment_sums)(ebb_real *p, int ps, ebbk_overlap *sums, const ebb_real *x, int xs, const int32_t *label,
                         const ebbk_segment *g, void *scratch);
  /* dx, over p: the gradient of weight (what segment_sums returns) + a loss whose slopes (n, c) by the sums are given */
  void (*segment_grad)(ebb_real *dx, int dxs, const int32_t *label, const ebbk_slope *slope, double weight,
                       const ebbk_segment *g, void *scratch);

  /* ---- stream: fixed point, value = integer 2^-EBB_FIXED_BITS. Values are rounded to nearest even and clamped to
   *      the range before conversion, additions wrap: subtract undoes add whatever the values. `range` (may be
   *      NULL) is added to. -------------------------------------------------------------------------------- */
  void (*fixed_from_real)(ebb_fixed *y, int ys, const ebb_real *x, int xs, size_t rows, int c, ebbk_range *range);
  void (*real_from_fixed)(ebb_real *y, int ys, const ebb_fixed *x, int xs, size_t rows, int c);
  void (*fixed_add)(ebb_fixed *y /* += */, int ys, const ebb_real *x, int xs, size_t rows, int c, ebbk_range *range);
  void (*fixed_subtract)(ebb_fixed *y /* -= */, int ys, const ebb_real *x, int xs, size_t rows, int c);

  /* ---- orthogonal mixing (reversible layers): of x on the stream in place, and back; values that leave the range are
   *      noted and may not come back. Gradient: dm (matrices, k, k) += sum over rows of dy x^T, dx = M^T dy, dx over dy;
   *      scratch: mix_scratch(g, threads) bytes. ------------------------------------------------------------------- */
  void (*mix)(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range);
  void (*unmix)(ebb_fixed *x, int xs, const ebbk_mixing *g, size_t rows, ebbk_range *range);
  size_t (*mix_scratch)(const ebbk_mixing *g, int threads);
  void (*mix_grad)(ebb_real *dm /* += */, ebb_real *dx, int dxs, const ebb_fixed *x, int xs, const ebbk_mixing *g,
                   size_t rows, void *scratch);
  /* squeeze of x (dense; reals or stream) in place, and back; scratch: squeeze_scratch(g, threads) bytes */
  size_t (*squeeze_scratch)(const ebbk_squeeze *g, int threads);
  void (*squeeze)(void *x, const ebbk_squeeze *g, bool undo, void *scratch);
  /* the last `count` of x's c channels go to the front, in place */
  void (*rotate)(void *x, int xs, int count, size_t rows, int c);

  /* ---- optimiser, over n consecutive values ----------------------------------------------------------------- */
  /* PyTorch's SGD: g += decay w; m = momentum m + g (m = g if first; m may lie over g); w -= lr (nesterov ? g + momentum m
   * : m) */
  void (*sgd)(ebb_real *w, ebb_real *m, const ebb_real *g, size_t n, double lr, double momentum, double decay,
              bool nesterov, bool first);
  void (*adam)(ebb_real *w, ebb_real *m, ebb_real *v, const ebb_real *g, size_t n, const ebbk_adam *a);
  double (*sum_squares)(const ebb_real *x, size_t n);
  void (*scale)(ebb_real *x, ebb_real factor, size_t n);
} ebbk_table;

/* The table in use: the reference until ebbk_start has chosen. */
extern const ebbk_table *ebbk;

/* c (m, n) += factor a (m, k) b (k, n) in double, for the small matrices that parameters make; the same for every table. */
void ebbk_gemm_add(double *c, int cs, const double *a, int as, const double *b, int bs, int m, int n, int k, double factor);

/* ---- normalizing flows; the same for every table --------------------------------------------------------------- */
enum { EBBK_PARAMS_MOST = 96, EBBK_PARTS = 16 };

/* y = f(x; p) of single values, p of `params` values each. */
typedef struct ebbk_bijection ebbk_bijection;
struct ebbk_bijection {
  int    params;                  /* at most EBBK_PARAMS_MOST */
  int    bins;                    /* of splines, on [-bound, bound]; dither: of levels 0 .. bound - 1 */
  double bound;
  double (*forward)(const ebbk_bijection *f, double x, const double *p, double *log_slope); /* y, and log f'(x) */
  double (*inverse)(const ebbk_bijection *f, double y, const double *p);                    /* x */
  /* of a loss of y and log f'(x), by which it has derivatives dy and dl: dx, and dp */
  double (*gradient)(const ebbk_bijection *f, double *dp, double x, const double *p, double dy, double dl);
};

/* Which sites are transformed: all, or those of one colour of a chessboard; of the first, d = h = w = 0, the colour is white. */
typedef enum ebbk_colour { EBBK_ALL, EBBK_WHITE, EBBK_BLACK } ebbk_colour;
typedef struct ebbk_board {
  int         n, size[3], c;      /* D H W */
  ebbk_colour colour;
} ebbk_board;

/* x = f(x; p) in place; parameter k of channel j of a site is p[k c + j]. logdet (n) += the sum of log f', NULL: not wanted;
 * parts: (n, EBBK_PARTS). */
void ebbk_biject(ebb_real *x, int xs, double *logdet, const ebb_real *p, int ps, const ebbk_bijection *f, const ebbk_board *b,
                 double *parts);
void ebbk_unbiject(ebb_real *y, int ys, const ebb_real *p, int ps, const ebbk_bijection *f, const ebbk_board *b);
/* dy to dx and p to dp, in place; dlogdet: the derivative of the loss by log|det|. dp is 0 where nothing is transformed. */
void ebbk_biject_grad(ebb_real *dx, int dxs, ebb_real *p, int ps, const ebb_real *x, int xs, const ebbk_bijection *f,
                      const ebbk_board *b, double dlogdet);
/* y = x, but 0 where b transforms; y may lie over x */
void ebbk_mask(ebb_real *y, int ys, const ebb_real *x, int xs, const ebbk_board *b);

/* Channels in another order, in place, of reals or stream: y[j] = x[order[j]], and back; the same for every table. scratch:
 * permute_scratch(c, threads) bytes */
size_t ebbk_permute_scratch(int c, int threads);
void   ebbk_permute(void *x, int xs, const int *order, bool undo, size_t rows, int c, void *scratch);

/* A convolution's window, odd in each dimension, on an image that it is padded for. */
typedef struct ebbk_border { int n, size[3], kernel[3], c; } ebbk_border;

/* y[site] += the sum of w (taps, c) over taps outside of the image; dw[tap] += the sum of dy over sites whose tap is outside */
void ebbk_border_add(ebb_real *y, int ys, const ebb_real *w, const ebbk_border *g);
void ebbk_border_grad(ebb_real *dw, const ebb_real *dy, int dys, const ebbk_border *g);

/* Inverse (c, c) of w (c, c), and log|det w|: -infinity, and no inverse, where a pivot is below EBBK_SINGULAR times the largest.
 * work: EBBK_INVERT_WORK(c) doubles. */
#define EBBK_SINGULAR 1e-10
#define EBBK_INVERT_WORK(c) ((size_t)(c) * (size_t)(c) + (size_t)(c))
double ebbk_invert(double *inverse, const double *w, int c, double *work);

/* Chooses the fastest table this processor runs, or the one that EBB_ISA names (EBB_CONFIG if it does not exist or
 * the processor has not got it; the message lists what there is). The double build always has the reference. */
ebb_status ebbk_start(void);

/* The tables of this build that this processor runs, the reference first; returns their number (at most 4). */
size_t ebbk_tables(const ebbk_table *tables[4]);
