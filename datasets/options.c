/* options.c -- section data.* of a configuration.
 * Owns: keys, defaults and help of the data options. Must not know: what is done with them. */
#include "datasets/datasets.h"

#define AT(field) offsetof(ebb_data_options, field)

/* clang-format off */
const ebb_option ebb_data_option_table[] = {
  {"train",   EBB_OPTION_TEXT,  AT(train),   "", "",        "training set: FILE.h5, FILE.h5:GROUP or FILE.h5:DATASET; with label maps also FOLDER or 'scans/s*.h5', and a range behind it: scans[0:160]", NULL, 0, 0},
  {"val",     EBB_OPTION_TEXT,  AT(val),     "", "",        "validation set, likewise; empty: group val/ or test/ of the training file", NULL, 0, 0},
  {"raw",     EBB_OPTION_TEXT,  AT(raw),     "", "",        "dataset of images; empty: found by its name", NULL, 0, 0},
  {"label",   EBB_OPTION_TEXT,  AT(label),   "", "",        "dataset of labels; empty: found by its name", NULL, 0, 0},
  {"axes",    EBB_OPTION_TEXT,  AT(axes),    "", "",        "axes of the images, such as nhwc, nchw, nhw, ncw, ncdhw, or nc of a table; empty: found out", NULL, 0, 0},
  {"classes", EBB_OPTION_INT,   AT(classes), "0", "",       "number of classes; 0: the largest training label + 1", NULL, 0, 1000000},
  {"mean",    EBB_OPTION_REALS, AT(mean),    "", "",        "subtracted from each channel (of a table: column), in the file's units (0..255); empty: measured, of each volume with label maps", NULL, 0, 0},
  {"std",     EBB_OPTION_REALS, AT(std),     "", "",        "each channel is divided by it, in the file's units; empty: likewise", NULL, 0, 0},
  {"pad",     EBB_OPTION_INT,   AT(pad),     "0", "pixels", "augmentation: pad by this much, then crop at random to the old size", NULL, 0, 1024},
  {"flip",    EBB_OPTION_BOOL,  AT(flip),    "false", "",   "augmentation: mirror left and right with probability 1/2", NULL, 0, 0},
  {"window",  EBB_OPTION_SIZE,  AT(window),  "16MiB", "",   "compressed files are shuffled by chunks, then within windows of this many bytes", NULL, 4096, 1e12},
  {"patch",   EBB_OPTION_TEXT,  AT(patch),   "", "sites",   "label maps: size of the patches to train on, such as 32x64x64, or 64 for all; empty: the largest volume's", NULL, 0, 0},
  {"per_volume", EBB_OPTION_INT, AT(per_volume), "1", "patches", "label maps: patches of each volume in an epoch", NULL, 1, 100000},
  {"foreground", EBB_OPTION_REAL, AT(foreground), "0.33", "", "label maps: share of patches that are centred on a label other than 0", NULL, 0, 1},
  {"label_map", EBB_OPTION_TEXT, AT(label_map), "", "",     "label maps: value:class pairs such as 0:0,1:1,4:3 or 91-116:4, or one-hot; soft: probabilities, a channel for each class or one for class 1; empty: a value is its class", NULL, 0, 0},
  {"mirror",  EBB_OPTION_TEXT,  AT(augment.mirror), "", "", "label maps, augmentation: dimensions mirrored with probability 1/2, letters of dhw", NULL, 0, 0},
  {"turn",    EBB_OPTION_BOOL,  AT(augment.turn), "false", "", "label maps, augmentation: quarter turns in the plane of h and w", NULL, 0, 0},
  {"rotate",  EBB_OPTION_REAL,  AT(augment.rotate), "0", "degrees", "label maps, augmentation: rotation about every axis, up to this much", NULL, 0, 180},
  {"scale",   EBB_OPTION_REAL,  AT(augment.scale), "0", "", "label maps, augmentation: size, up to this share more or less", NULL, 0, 0.9},
  {"elastic", EBB_OPTION_REAL,  AT(augment.elastic), "0", "sites", "label maps, augmentation: smooth displacement, standard deviation", NULL, 0, 100},
  {"contrast", EBB_OPTION_REAL, AT(augment.contrast), "0", "", "label maps, augmentation: contrast, up to this share more or less", NULL, 0, 1},
  {"brightness", EBB_OPTION_REAL, AT(augment.brightness), "0", "", "label maps, augmentation: brightness, up to so many standard deviations", NULL, 0, 10},
  {"gamma",   EBB_OPTION_REAL,  AT(augment.gamma), "0", "", "label maps, augmentation: exponent e^g of the values in 0..1, g up to this", NULL, 0, 3},
  {"noise",   EBB_OPTION_REAL,  AT(augment.noise), "0", "", "label maps, augmentation: Gaussian noise, up to so many standard deviations", NULL, 0, 10},
  {"blur",    EBB_OPTION_REAL,  AT(augment.blur), "0", "sites", "label maps, augmentation: Gaussian blur, up to this standard deviation", NULL, 0, 3},
  {"holdout", EBB_OPTION_REAL,  AT(holdout), "0", "",       "label maps, without data.val: this share of the training samples is set aside for validation", NULL, 0, 0.9},
  {"group",   EBB_OPTION_TEXT,  AT(group), "", "",          "label maps: dataset of numbers, one a sample; samples of equal ones are held out together", NULL, 0, 0},
  {"shape",   EBB_OPTION_TEXT,  AT(shape),   "", "",        "one sample without data, such as 32x32x3 (spatial sizes, channels), or 1x7, a row of 7 columns, for plan, profile, audit", NULL, 0, 0},
  {NULL, EBB_OPTION_INT, 0, NULL, NULL, NULL, NULL, 0, 0},
};
/* clang-format on */
