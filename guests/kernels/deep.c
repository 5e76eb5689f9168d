/* Deep recursion: scale = frames, gone down and up twice; each frame keeps values that are needed after the call, and every
 * fourth one also a buffer on the C stack in linear memory. */
#include "kernel.h"
static uint64_t down(uint32_t depth, uint64_t a, double d);
__attribute__((noinline)) static uint64_t with_buffer(uint32_t depth, uint64_t a, double d) {
  volatile uint32_t buffer[6];
  for (int i = 0; i < 6; i++) buffer[i] = depth * (i + 1) ^ (uint32_t)a;
  uint64_t r = down(depth, a + buffer[2], d);
  for (int i = 0; i < 6; i++) r = r * 31 + buffer[i];
  return r;
}
__attribute__((noinline)) static uint64_t down(uint32_t depth, uint64_t a, double d) {
  if (depth == 0) return a;
  uint64_t b = a * 6364136223846793005ull + depth;
  uint64_t r = (depth & 3) == 0 ? with_buffer(depth - 1, b, d * 0.5 + depth) : down(depth - 1, b, d + 1.0);
  return r ^ (b >> 7) ^ (uint64_t)(d * 16.0);
}
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 1000);
  for (int i = 0; i < 2; i++) fold(down((uint32_t)n, (uint64_t)i, 0.25));
  return report("deep", n);
}
