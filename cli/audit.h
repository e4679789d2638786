/* audit.h -- are the gradients right, and are they the same bits under every mode?
 * Compiled twice: the float program compares modes, the double program also compares with differences of the loss. */
#pragma once
#include <jansson.h>

#include "config.h"

/* {"store": true, "reverse": ..., "checkpoint": ...}: gradients of weights and input as under store, by memcmp; of networks with a
 * log|det|, which are reversed but for rounding, "reverse" is the largest difference in parts of the largest gradient. */
ebb_status ebb_audit_modes(json_t **answer, const ebb_config *c, const ebb_model *m, ebb_shape x);

/* Analytic gradients by reversal against differences of the loss: "parameters" [{"name", "values", "tried",
 * "max_relative_error"}], "max_relative_error". `each` sees every row as it comes, or is NULL. */
ebb_status ebb_audit_gradients(json_t **answer, const ebb_config *c, const ebb_model *m, ebb_shape x, int entries,
                               void (*each)(const json_t *row));

#define EBB_AUDIT_TOLERANCE 1e-6
#define EBB_AUDIT_ROUNDING 1e-3 /* what such a difference may be */
