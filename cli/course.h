/* course.h -- memory over the course of one training step: how `ebb profile` shows what is kept and given back, and when.
 * Owns: watching the run region. Must not know: modes, pictures. */
#pragma once
#include <jansson.h>

#include "train/trainer.h"

/* One more step. *course: {"seconds": [...], "bytes": [...]}, from the step's beginning to its end in equal parts, with the most bytes taken in
 * each; `others` are those that stay taken all the time. */
ebb_status ebb_course(json_t **course, ebb_trainer *t, ebb_source *source, size_t others);
