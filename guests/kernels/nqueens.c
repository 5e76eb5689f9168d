/* Queens that do not attack one another, counted by backtracking over bit sets; scale = board size. */
#include "kernel.h"
static uint64_t count(uint32_t all, uint32_t columns, uint32_t left, uint32_t right) {
  if (columns == all) return 1;
  uint64_t found = 0;
  for (uint32_t free = all & ~(columns | left | right); free;) {
    uint32_t queen = free & -free;
    free ^= queen;
    found += count(all, columns | queen, (left | queen) << 1, (right | queen) >> 1);
  }
  return found;
}
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 8);
  uint64_t found = count((1u << n) - 1, 0, 0, 0);
  printf("%llu\n", (unsigned long long)found);
  fold(found);
  return report("nqueens", n);
}
