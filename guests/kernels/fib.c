/* Naive Fibonacci: nothing but calls; scale = n. */
#include "kernel.h"
__attribute__((noinline)) static uint32_t fib(uint32_t n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 24);
  fold(fib((uint32_t)n));
  return report("fib", n);
}
