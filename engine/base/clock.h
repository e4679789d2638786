/* clock.h -- how long something takes. Owns: which clock that is. */
#pragma once

/* Seconds since some moment, by a clock that nobody sets. */
double ebb_seconds(void);
