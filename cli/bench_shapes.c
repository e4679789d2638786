/* bench_shapes.c -- the convolutions that are measured: those of the networks here, and those where the choice between
 * direct sums and Winograd's algorithm could turn: few channels, channels that fill no vector, small images. */
#include "bench_conv.h"

/* clang-format off */
#define FLAT(n, size, ci, co, k, s) \
  {n, {1, size, size}, ci, {1, (size) / (s), (size) / (s)}, co, {1, k, k}, {1, s, s}, {0, (k) / 2, (k) / 2}, EBBK_AUTO}
#define SOLID(size, ci, co) \
  {1, {size, size, size}, ci, {size, size, size}, co, {3, 3, 3}, {1, 1, 1}, {1, 1, 1}, EBBK_AUTO}
#define LINE(n, size, c) {n, {1, 1, size}, c, {1, 1, size}, c, {1, 1, 3}, {1, 1, 1}, {0, 0, 1}, EBBK_AUTO}

const ebb_bench_shape ebb_bench_shapes[] = {
  {"3->16 32^2 N100",     FLAT(100, 32, 3, 16, 3, 1)},
  {"3->32 32^2 N100",     FLAT(100, 32, 3, 32, 3, 1)},
  {"3->64 32^2 N100",     FLAT(100, 32, 3, 64, 3, 1)},
  {"64->3 32^2 N100",     FLAT(100, 32, 64, 3, 3, 1)},
  {"8 ch 32^2 N100",      FLAT(100, 32, 8, 8, 3, 1)},
  {"12 ch 32^2 N100",     FLAT(100, 32, 12, 12, 3, 1)},
  {"16 ch 32^2 N100",     FLAT(100, 32, 16, 16, 3, 1)},
  {"20 ch 32^2 N100",     FLAT(100, 32, 20, 20, 3, 1)},
  {"24 ch 32^2 N100",     FLAT(100, 32, 24, 24, 3, 1)},
  {"32 ch 32^2 N100",     FLAT(100, 32, 32, 32, 3, 1)},
  {"48 ch 32^2 N100",     FLAT(100, 32, 48, 48, 3, 1)},
  {"96 ch 32^2 N32",      FLAT(32, 32, 96, 96, 3, 1)},
  {"64 ch 16^2 N100",     FLAT(100, 16, 64, 64, 3, 1)},
  {"256 ch 16^2 N32",     FLAT(32, 16, 256, 256, 3, 1)},
  {"32 ch 12^2 N100",     FLAT(100, 12, 32, 32, 3, 1)},
  {"64 ch 12^2 N100",     FLAT(100, 12, 64, 64, 3, 1)},
  {"32 ch 8^2 N100",      FLAT(100, 8, 32, 32, 3, 1)},
  {"128 ch 8^2 N100",     FLAT(100, 8, 128, 128, 3, 1)},
  {"32 ch 7^2 N100",      FLAT(100, 7, 32, 32, 3, 1)},
  {"64 ch 7^2 N100",      FLAT(100, 7, 64, 64, 3, 1)},
  {"32 ch 6^2 N100",      FLAT(100, 6, 32, 32, 3, 1)},
  {"64 ch 6^2 N100",      FLAT(100, 6, 64, 64, 3, 1)},
  {"32 ch 5^2 N100",      FLAT(100, 5, 32, 32, 3, 1)},
  {"64 ch 5^2 N100",      FLAT(100, 5, 64, 64, 3, 1)},
  {"32 ch 4^2 N100",      FLAT(100, 4, 32, 32, 3, 1)},
  {"64 ch 4^2 N100",      FLAT(100, 4, 64, 64, 3, 1)},
  {"32->64 s2 32^2 N100", FLAT(100, 32, 32, 64, 3, 2)},
  {"1x1 64 ch 16^2 N100", FLAT(100, 16, 64, 64, 1, 1)},
  {"1-D 32 ch 1024 N32",  LINE(32, 1024, 32)},
  {"3-D 1->32 64^3",      SOLID(64, 1, 32)},
  {"3-D 16 ch 64^3",      SOLID(64, 16, 16)},
  {"3-D 32 ch 64^3",      SOLID(64, 32, 32)},
  {"3-D 8 ch 32^3",       SOLID(32, 8, 8)},
  {"3-D 64 ch 32^3",      SOLID(32, 64, 64)},
  {"3-D 16 ch 12^3",      SOLID(12, 16, 16)},
  {"3-D 128 ch 12^3",     SOLID(12, 128, 128)},
  {.name = NULL},
};
/* clang-format on */
