/* course.h -- memory over the course of one training step, its timeline: how `ebb profile` shows what is kept and given back, and when.
 * Owns: watching the run region. Must not know: modes, pictures. */
#pragma once
#include <jansson.h>

#include "train/trainer.h"

/* One more step. *timeline: {"seconds": [...], "bytes": [...]}, from its beginning to its end in equal parts: when each ends, behind a 0 for the
 * beginning, and the most bytes taken in it; `others` are those that stay taken all the time. */
ebb_status ebb_course(json_t **timeline, ebb_trainer *t, ebb_source *source, size_t others);
