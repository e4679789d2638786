/* print.h -- small things that verbs print alike. */
#pragma once
#include <jansson.h>

#include "base/view.h"

/* Prints a document to standard output and gives it back; returns the exit code. NULL: the document could not be made. */
int ebb_print_json(json_t *document);

/* "13.1 MiB", in a buffer of the caller. */
#define EBB_BYTES_TEXT 32
char *ebb_print_bytes(char text[EBB_BYTES_TEXT], size_t bytes);

/* [32, 32, 3]: as data.shape has it, spatial sizes and then channels. */
json_t *ebb_json_shape(ebb_shape s);

/* A number; null where it is none. */
json_t *ebb_json_number(double v);
