/* Primes by sieve, with an outer loop that restarts; scale = thousands. */
#include "kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 100), top = n * 1000;
  uint8_t *composite = want((size_t)top + 1);
  for (int round = 0; round < 4; round++) {
    memset(composite, 0, (size_t)top + 1);
    int primes = 0;
    for (int i = 2; i <= top; i++) {
      if (composite[i]) continue;
      primes++;
      for (int64_t j = (int64_t)i * i; j <= top; j += i) composite[j] = 1;
    }
    fold((uint64_t)primes + (uint64_t)round);
  }
  return report("sieve", n);
}
