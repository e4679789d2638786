/* build.h -- from a configuration to a model, with data or without.
 * Owns: the shape of a sample and the number of classes. Must not know: training. */
#pragma once
#include "config.h"
#include "verb.h"

/* A configuration, its first word, with overrides; of networks that take the file's values as they are, data.mean and data.std say so. */
ebb_status ebb_build_load(ebb_config *c, ebb_words words);

/* The beginning and end of a verb whose first word is a configuration: loads it, sets the threads, calls `work`. */
int ebb_build_with_config(const ebb_flags *flags, ebb_words words,
                          int (*work)(const ebb_flags *flags, ebb_config *c, ebb_words words));

/* The same where the first word is a checkpoint. */
int ebb_build_with_checkpoint(const ebb_flags *flags, ebb_words words,
                              int (*work)(const ebb_flags *flags, ebb_config *c, ebb_words words));

/* One set of the configuration's data; where it stands in a file of its own, only that is opened. EBB_CONFIG: there is none. */
ebb_status ebb_build_open_set(ebb_data **data, const ebb_config *c, ebb_split split);

/* The configuration in a checkpoint, with overrides. */
ebb_status ebb_build_from_checkpoint(ebb_config *c, const char *path, char *const *overrides, int count);

/* What a network is built for: one sample, classes, and the bytes that the sources of batches take in a training. */
typedef struct ebb_input {
  ebb_shape shape;
  int       classes;
  size_t    batches;   /* 0: there are no data yet */
} ebb_input;

/* From the data where data.train or data.val are there, else from data.shape and data.classes (10 if not given). */
ebb_status ebb_build_input(ebb_input *in, const ebb_config *c);

/* Of a flow of levels, how many there are (its option grey_levels); else 0. */
int ebb_build_levels(const ebb_config *c);

/* The network of the configuration. */
ebb_status ebb_build_model(ebb_model *m, const ebb_config *c, ebb_shape shape, int classes);

/* Says on standard error if the network pads its input to sizes that its strides divide. */
void ebb_build_note_padding(const ebb_model *m);

/* `shape` with `n` samples. */
ebb_shape ebb_build_batch(ebb_shape shape, int n);

/* EBB_CONFIG if the network has fewer outputs than the data has classes; one output tells two classes apart. */
ebb_status ebb_build_fits(const ebb_model *m, const ebb_data *data);
