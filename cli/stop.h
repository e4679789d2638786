/* stop.h -- SIGINT and SIGTERM: the first asks the run to stop after this step, the second ends the program at once. */
#pragma once
#include <signal.h>

/* The flag that the trainer looks at. */
extern volatile sig_atomic_t ebb_stop;

void ebb_stop_listen(void);

/* 130 or 143 if a signal came, else 0. */
int ebb_stop_code(void);
