/* SIMD values live over loops and calls: a dot product, a shuffle hash and saturating pixels; scale = rounds. -msimd128 */
#include "kernel.h"
#include <wasm_simd128.h>
#define N 4096
static float x[N], y[N];
static uint8_t pixels[N];

__attribute__((noinline)) static v128_t stir(v128_t v, int depth) {
  if (depth == 0) return wasm_i32x4_add(v, wasm_i32x4_splat(0x9e3779b9));
  v128_t turned = wasm_i8x16_shuffle(v, v, 5, 6, 7, 4, 9, 10, 11, 8, 13, 14, 15, 12, 1, 2, 3, 0);
  v128_t inner = stir(wasm_v128_xor(turned, wasm_i32x4_splat(depth)), depth - 1);
  return wasm_i32x4_mul(wasm_v128_xor(inner, v), wasm_i32x4_const(0x85ebca6b, 0xc2b2ae35, 0x27d4eb2f, 0x165667b1));
}

int main(int argc, char **argv) {
  int rounds = scale_of(argc, argv, 50);
  for (int i = 0; i < N; i++) x[i] = (float)(i % 31) / 8, y[i] = (float)(i % 17) / 4, pixels[i] = (uint8_t)(i * 7);
  v128_t hash = wasm_i32x4_make(1, 2, 3, 4);
  for (int r = 0; r < rounds; r++) {
    v128_t sum = wasm_f32x4_splat(0);
    for (int i = 0; i < N; i += 4) sum = wasm_f32x4_add(sum, wasm_f32x4_mul(wasm_v128_load(x + i), wasm_v128_load(y + i)));
    v128_t level = wasm_i8x16_splat((int8_t)r);
    for (int i = 0; i < N; i += 16) {
      v128_t p = wasm_v128_load(pixels + i);
      p = wasm_v128_bitselect(wasm_u8x16_add_sat(p, level), wasm_u8x16_sub_sat(p, level), wasm_u8x16_gt(p, wasm_i8x16_splat(100)));
      wasm_v128_store(pixels + i, wasm_u8x16_avgr(p, wasm_i8x16_splat((int8_t)(i + r))));
      hash = wasm_v128_xor(stir(hash, 3), p);
    }
    hash = wasm_i32x4_add(hash, sum);
    x[r % N] += 0.25f;
  }
  fold((uint64_t)wasm_i64x2_extract_lane(hash, 0));
  fold((uint64_t)wasm_i64x2_extract_lane(hash, 1));
  for (int i = 0; i < N; i++) fold(pixels[i]);
  return report("simd", rounds);
}
