/* spawn.h -- this program once more, in a fresh process that answers with one JSON document.
 * Owns: fork, exec and the pipe. */
#pragma once
#include <jansson.h>

#include "base/status.h"

/* Runs `program` (NULL: this executable) with arguments, which end with NULL; argv[0] is not among them. The child's
 * standard output must be one JSON document. The child's message, if it fails, has gone to standard error; its exit
 * code is then the status. */
ebb_status ebb_spawn_json(json_t **answer, const char *program, const char *const *arguments);

/* The executable `name` beside this one, or in $EBB_LIBEXEC; EBB_SOFTWARE if it is in neither. */
#define EBB_PROGRAM_PATH 4096
ebb_status ebb_spawn_find(char path[EBB_PROGRAM_PATH], const char *name);
