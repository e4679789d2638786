/* models.c -- the table of networks. See models.h. */
#define _POSIX_C_SOURCE 200809L
#include "models/models.h"

#include <string.h>

#include "models/networks.h"
#include "models/residual.h"

#define RESNET(name, about, preset) \
  {name, about, "He et al. 2016, Identity Mappings", residual_option_table, sizeof(residual_options), preset, EBB_NO_FLOW, resnet_build}
#define REVNET(name, about, preset) \
  {name, about, "Gomez et al. 2017", residual_option_table, sizeof(residual_options), preset, EBB_NO_FLOW, revnet_build}

const ebb_network ebb_networks[] = {
    REVNET("revnet-38", "reversible residual network, 38 layers", "units=3,3,3 widths=32,32,64,112"),
    REVNET("revnet-110", "reversible residual network, 110 layers", "units=9,9,9 widths=32,32,64,128"),
    REVNET("revnet-164", "reversible residual network, 164 layers, bottlenecks",
           "units=9,9,9 widths=32,128,256,512 bottleneck=true"),
    RESNET("resnet-32", "residual network, 32 layers: twin of revnet-38", "units=5,5,5 widths=16,16,32,64"),
    RESNET("resnet-110", "residual network, 110 layers: twin of revnet-110", "units=18,18,18 widths=16,16,32,64"),
    RESNET("resnet-164", "residual network, 164 layers, bottlenecks: twin of revnet-164",
           "units=18,18,18 widths=16,64,128,256 bottleneck=true"),
    {"iunet", "invertible U-Net with learned orthogonal resampling, 1-D to 3-D", "Etmann et al. 2020", iunet_option_table,
     sizeof(iunet_options), NULL, EBB_NO_FLOW, iunet_build},
    {"unet", "standard U-Net, twin of iunet", "Ronneberger et al. 2015", unet_option_table, sizeof(unet_options), NULL, EBB_NO_FLOW, unet_build},
    {"revunet", "partially reversible U-Net: couplings within levels, stored activations between them", "Bruegger et al. 2019", revunet_option_table,
     sizeof(revunet_options), NULL, EBB_NO_FLOW, revunet_build},
    {"realnvp", "normalizing flow for images: affine couplings, chessboard and channels, at several scales", "Dinh et al. 2017",
     realnvp_option_table, sizeof(realnvp_options), NULL, EBB_FLOW_OF_LEVELS, realnvp_build},
    {"glow", "normalizing flow for images: actnorm, invertible 1x1 convolution, coupling, at several scales", "Kingma and Dhariwal 2018",
     glow_option_table, sizeof(glow_options), NULL, EBB_FLOW_OF_LEVELS, glow_build},
    {"nice", "normalizing flow for images: additive couplings of all pixels, undone exactly", "Dinh et al. 2014", nice_option_table,
     sizeof(nice_options), NULL, EBB_FLOW_OF_LEVELS, nice_build},
    {"spline-flow", "normalizing flow for tables: couplings by rational-quadratic splines", "Durkan et al. 2019", spline_flow_option_table,
     sizeof(spline_flow_options), NULL, EBB_FLOW, spline_flow_build},
    {"realnvp-tabular", "normalizing flow for tables: affine couplings of halves of the columns", "Dinh et al. 2017",
     realnvp_tabular_option_table, sizeof(realnvp_tabular_options), NULL, EBB_FLOW, realnvp_tabular_build},
    {"stack", "couplings of one shape, for sweeps over depth", "", stack_option_table, sizeof(stack_options), NULL, EBB_NO_FLOW,
     stack_build},
    {0},
};

enum { NETWORKS = sizeof ebb_networks / sizeof *ebb_networks - 1 };

const ebb_network *ebb_network_find(const char *name)
{
  const char *names[NETWORKS];
  for (size_t i = 0; i < NETWORKS; i++) {
    if (strcmp(ebb_networks[i].name, name) == 0) return &ebb_networks[i];
    names[i] = ebb_networks[i].name;
  }
  const char *near = ebb_nearest(name, names, NETWORKS);
  ebb_fail(EBB_CONFIG, "model.name: expected a network, found '%s'\nhint: %s%s%s", name,
           near ? "did you mean " : "`ebb models` lists them", near ? near : "", near ? "?" : "");
  return NULL;
}

bool models_padding(ebb_shape in, int factor, int before[3], int after[3])
{
  int  size[3] = {in.d, in.h, in.w};
  bool any = false;
  for (int i = 0; i < 3; i++) {
    int missing = i < 3 - in.rank ? 0 : (factor - size[i] % factor) % factor;
    before[i] = missing / 2;
    after[i] = missing - before[i];
    any |= missing > 0;
  }
  return any;
}

ebb_status models_halves(ebb_shape in, int levels, int least)
{
  char text[EBB_SHAPE_TEXT];
  int  size[3] = {in.d, in.h, in.w}, factor = 1 << levels;
  for (int i = 3 - in.rank; i < 3; i++)
    if (size[i] % factor)
      return ebb_fail(EBB_CONFIG, "model.levels: expected sizes that are multiples of 2^%d = %d, found data of %s\nhint: %s", levels, factor,
                      ebb_shape_print(text, in), size[i] % (1 << least) ? "crop or pad the images to even sizes" : "a smaller model.levels");
  return EBB_OK;
}

static bool is_row(ebb_shape in)
{
  return in.d * in.h * in.w == 1;
}

ebb_status models_images(ebb_shape in)
{
  char text[EBB_SHAPE_TEXT];
  if (!is_row(in)) return EBB_OK;
  return ebb_fail(EBB_CONFIG, "model.name: expected a network for tables, found one for images and data of %s\nhint: spline-flow or realnvp-tabular",
                  ebb_shape_print(text, in));
}

ebb_status models_columns(ebb_shape in)
{
  char text[EBB_SHAPE_TEXT];
  if (!is_row(in))
    return ebb_fail(EBB_CONFIG, "model.name: expected a network for images, found one for tables and data of %s\nhint: glow, realnvp or nice",
                    ebb_shape_print(text, in));
  if (in.c >= 2) return EBB_OK;
  return ebb_fail(EBB_CONFIG, "model.name: expected a table of two columns or more for couplings, found one\nhint: the density of one column "
                              "is a histogram's work");
}

ebb_status ebb_network_options(const ebb_network *n, void *options, const char *words, ebb_pool *pool)
{
  ebb_options_default(options, n->options);
  EBB_TRY(ebb_options_set(options, n->options, "model", n->preset ? n->preset : "", pool));
  return ebb_options_set(options, n->options, "model", words, pool);
}

const char *ebb_network_training(const ebb_network *n)
{
  return n->flow == EBB_NO_FLOW ? "" : "optimizer=adam lr=0.001 skip=10";
}

bool ebb_network_conditional(const ebb_network *n, const void *options)
{
  for (const ebb_option *o = n->options; n->flow != EBB_NO_FLOW && o->key; o++)
    if (strcmp(o->key, "condition") == 0) return *(const int *)(const void *)((const char *)options + o->offset) != 0;
  return false;
}

ebb_status ebb_network_model(ebb_model *m, const ebb_network *network, const void *options, ebb_shape in, int classes)
{
  ebb_builder b;
  ebb_layer  *root;
  ebb_model_begin(m, &b, network->name, in);
  ebb_status status = network->build(&b, options, in, classes, &root);
  if (status == EBB_OK) status = ebb_model_end(m, &b, root);
  if (status != EBB_OK) ebb_model_destroy(m);
  return status;
}
