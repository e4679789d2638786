/* verb_sample.c -- `ebb sample`: new samples of a normalizing flow, as a file and a picture. */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/file.h"
#include "build.h"
#include "datasets/write.h"
#include "gallery.h"
#include "print.h"
#include "sampler.h"

typedef struct session {
  const ebb_flags *flags;
  ebb_config      *config;
  const char      *checkpoint, *file, *picture; /* picture: "" if there is none */
  ebb_sampler      sampler;
  float           *samples;  /* (count, values) */
} session;

/* ---- the file ------------------------------------------------------------------------------------------------------ */
/* Samples that are whole numbers from 0 on, such as grey levels: the largest; else -1. */
static double whole_numbers(const session *s)
{
  double most = 0;
  size_t all = (size_t)s->sampler.count * s->sampler.values;
  for (size_t i = 0; i < all; i++) {
    double v = (double)s->samples[i];
    if (v < 0 || v > UINT16_MAX || v != floor(v)) return -1;
    most = fmax(most, v);
  }
  return most;
}

/* N, the spatial sizes, channels where there are several or nothing else. */
static int axes_of(uint64_t dims[5], const ebb_sampler *s)
{
  ebb_shape x = s->shape;
  const int sizes[3] = {x.d, x.h, x.w};
  int       rank = 0;
  dims[rank++] = (uint64_t)s->count;
  for (int i = 3 - x.rank; i < 3 && ebb_sites(x) > 1; i++) dims[rank++] = (uint64_t)sizes[i];
  if (x.c > 1 || rank == 1) dims[rank++] = (uint64_t)x.c;
  return rank;
}

/* Over themselves, each as `bytes` bytes. */
static void pack(session *s, int bytes)
{
  size_t all = (size_t)s->sampler.count * s->sampler.values;
  for (size_t i = 0; i < all; i++) {
    float v = s->samples[i];
    if (bytes == 1) ((uint8_t *)s->samples)[i] = (uint8_t)v;
    else ((uint16_t *)s->samples)[i] = (uint16_t)v;
  }
}

static ebb_status write_samples(session *s, double most)
{
  const ebb_sample_options *o = &s->config->sample;
  ebb_write     *w;
  uint64_t       dims[5];
  const char    *inputs[] = {s->checkpoint};
  ebb_write_type type = most < 0 ? (ebb_write_type){EBB_WRITE_FLOAT, 4, false} : (ebb_write_type){EBB_WRITE_UNSIGNED, most > UINT8_MAX ? 2 : 1, false};
  double         temperature = o->temperature, seed = (double)o->seed;
  EBB_TRY(ebb_write_open(&w, s->file, inputs, 1));
  ebb_status status = ebb_write_dataset(w, "/samples", type, axes_of(dims, &s->sampler), dims);
  if (most >= 0) pack(s, type.bytes);
  if (status == EBB_OK) status = ebb_write_rows(w, s->samples, (uint64_t)s->sampler.count);
  if (status == EBB_OK && o->between.count == 0) status = ebb_write_numbers(w, "temperature", &temperature, 1);
  if (status == EBB_OK && o->between.count == 0) status = ebb_write_numbers(w, "seed", &seed, 1);
  if (status == EBB_OK) status = ebb_write_commit(w);
  ebb_write_close(w);
  return status;
}

/* ---- the picture --------------------------------------------------------------------------------------------------- */
static bool is_image(ebb_shape s)
{
  return s.rank == 2 && ebb_sites(s) > 1 && (s.c == 1 || s.c == 3);
}

/* White is the largest number of as many bits. */
static double white_of(double most)
{
  double white = 1;
  while (white < most) white = 2 * white + 1;
  return white;
}

static ebb_status draw(session *s, double most)
{
  ebb_shape x = s->sampler.shape;
  float     highest = 0;
  for (size_t i = 0; most < 0 && i < (size_t)s->sampler.count * s->sampler.values; i++) highest = fmaxf(highest, s->samples[i]);
  return ebb_gallery_write(s->picture, s->samples, s->sampler.count, x.h, x.w, x.c, most < 0 ? (double)highest : white_of(most), s->sampler.columns);
}

/* ---- the verb ------------------------------------------------------------------------------------------------------ */
static ebb_status choose_names(session *s)
{
  ebb_config *c = s->config;
  const char *name = c->sample.between.count ? "between" : "samples";
  s->file = ebb_pool_text(&c->pool, "%s/%s.h5", c->sample.folder, name);
  s->picture = is_image(s->sampler.shape) ? ebb_pool_text(&c->pool, "%s/%s.png", c->sample.folder, name) : "";
  if (access(s->file, F_OK) != 0 || s->flags->force) return EBB_OK;
  return ebb_fail(EBB_CANTCREAT, "%s: expected no file, found one\nhint: --force replaces it, sample.folder=FOLDER goes elsewhere", s->file);
}

static ebb_status work(session *s)
{
  ebb_config *c = s->config;
  EBB_TRY(ebb_sampler_open(&s->sampler, c, s->checkpoint));
  EBB_TRY(choose_names(s));
  s->samples = ebb_pool_take(&c->pool, (size_t)s->sampler.count * s->sampler.values * sizeof *s->samples);
  EBB_TRY(ebb_sampler_run(&s->sampler, s->samples));
  double most = whole_numbers(s);
  EBB_TRY(ebb_folder_make(c->sample.folder));
  if (*s->picture) EBB_TRY(draw(s, most));
  return write_samples(s, most);
}

static int print_end(const session *s)
{
  const ebb_sampler *k = &s->sampler;
  if (s->flags->json)
    return ebb_print_json(json_pack("{s:s, s:s, s:i, s:f, s:I, s:o, s:I}", "file", s->file, "picture", s->picture, "samples", k->count, "temperature",
                                    s->config->sample.temperature, "seed", (json_int_t)s->config->sample.seed, "reconstruction_error",
                                    ebb_json_number(k->reconstruction), "planned_bytes", (json_int_t)k->trainer.plan.peak));
  if (isnan(k->reconstruction) && s->config->sample.between.count) puts("the samples between which it goes do not come back: not finite");
  else if (!isnan(k->reconstruction)) printf("largest reconstruction error of the samples between which it goes: %.3g\n", k->reconstruction);
  printf("wrote %s: %d samples\n", s->file, k->count);
  if (*s->picture) printf("wrote %s\n", s->picture);
  return EBB_OK;
}

static int with_checkpoint(const ebb_flags *flags, ebb_config *c, ebb_words words)
{
  session    s = {.flags = flags, .config = c, .checkpoint = words.at[0]};
  ebb_status status = work(&s);
  int        code = status == EBB_OK ? print_end(&s) : ebb_verb_failed(status);
  ebb_sampler_close(&s.sampler);
  return code;
}

static int run(const ebb_flags *flags, ebb_words words)
{
  return ebb_build_with_checkpoint(flags, words, with_checkpoint);
}

const ebb_verb ebb_verb_sample = {
  .name = "sample", .arguments = "CHECKPOINT.h5 [key=value ...]", .summary = "Draws new samples from a normalizing flow",
  .text = "Draws latent values, takes them backwards through the network, and writes sample.folder/samples.h5 with a dataset `samples` in the units of "
          "the training's data (whole numbers where it saw whole numbers), and of images samples.png. With sample.between=3,17 it goes from sample 3 "
          "of data.val to sample 17 in latent space instead (between.h5, between.png), and tells how exactly both come back. Where the training kept a "
          "moving mean of the weights (train.ema), that is used.",
  .flags = "json force", .sections = "sample run", .least = 1, .run = run,
};
