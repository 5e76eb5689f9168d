/* What all kernels share: the scale from argv[1], how often from argv[2], and a checksum that is printed at the end.
 * Every result is exact on every machine: integers wrap, doubles are folded in by their bits (Wasm's float arithmetic is
 * deterministic but for NaN payloads, and no kernel makes a NaN). */
#ifndef KERNEL_H
#define KERNEL_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t checksum = 0xcbf29ce484222325ull;

static inline void fold(uint64_t v) {
  checksum = (checksum ^ v) * 0x100000001b3ull;
  checksum ^= checksum >> 29;
}

static inline void fold_double(double d) {
  uint64_t v;
  memcpy(&v, &d, sizeof v);
  fold(v);
}

static inline int scale_of(int argc, char **argv, int otherwise) { return argc > 1 ? atoi(argv[1]) : otherwise; }

static inline int times_of(int argc, char **argv) { return argc > 2 ? atoi(argv[2]) : 1; }

static inline void *want(size_t bytes) {
  void *p = malloc(bytes ? bytes : 1);
  if (!p) {
    fputs("out of memory\n", stderr);
    exit(1);
  }
  return p;
}

static inline int report(const char *name, int scale) {
  printf("%s %d %016llx\n", name, scale, (unsigned long long)checksum);
  return 0;
}

/* xorshift64*, so that nothing depends on libc's rand */
static uint64_t seed = 88172645463325252ull;
static inline uint64_t next_random(void) {
  seed ^= seed >> 12;
  seed ^= seed << 25;
  seed ^= seed >> 27;
  return seed * 2685821657736338717ull;
}
#endif
