/* stop.c -- see stop.h. Only calls that are safe in a signal handler. */
#define _POSIX_C_SOURCE 200809L
#include "stop.h"

#include <string.h>
#include <unistd.h>

volatile sig_atomic_t ebb_stop;

static void on_signal(int number)
{
  static const char text[] = "\nebb: stopping after this step; once more stops at once and loses the steps since the last checkpoint\n";
  if (ebb_stop) _exit(128 + number);
  ebb_stop = number;
  ssize_t written = write(STDERR_FILENO, text, sizeof text - 1);
  (void)written;
}

void ebb_stop_listen(void)
{
  struct sigaction action;
  memset(&action, 0, sizeof action);
  action.sa_handler = on_signal;
  action.sa_flags = SA_RESTART;
  sigaction(SIGINT, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
}

int ebb_stop_code(void)
{
  return ebb_stop ? 128 + ebb_stop : 0;
}
