/* check_maps.h -- ebb_data_check for sets whose labels are maps. */
#pragma once
#include "datasets/datasets.h"

ebb_status ebb_data_check_maps(json_t **report, FILE *text, const char *path, const ebb_data_options *options, int batch);
