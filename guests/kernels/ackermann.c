/* Ackermann(2, n) many times and Ackermann(3, small): recursion whose depth goes up and down; scale = n. */
#include "kernel.h"
__attribute__((noinline)) static uint32_t ack(uint32_t m, uint32_t n) {
  if (m == 0) return n + 1;
  uint32_t inner = n == 0 ? 1 : ack(m, n - 1);
  uint32_t r = ack(m - 1, inner);
  fold(r);
  return r;
}
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 5);
  for (uint32_t i = 0; i < 20; i++) fold(ack(2, (uint32_t)n * 8 + i));
  fold(ack(3, (uint32_t)n));
  return report("ackermann", n);
}
