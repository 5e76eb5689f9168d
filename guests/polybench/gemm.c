/* PolyBench gemm: C = alpha A B + beta C; scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 64);
  double *a = want(sizeof(double) * n * n), *b = want(sizeof(double) * n * n), *c = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      c[i * n + j] = (double)((i * j + 1) % n) / n;
      a[i * n + j] = (double)(i * (j + 1) % n) / n;
      b[i * n + j] = (double)(i * (j + 2) % n) / n;
    }
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < n; j++) c[i * n + j] *= 1.2;
    for (int k = 0; k < n; k++)
      for (int j = 0; j < n; j++) c[i * n + j] += 1.5 * a[i * n + k] * b[k * n + j];
  }
  for (int i = 0; i < n * n; i++) fold_double(c[i]);
  return report("gemm", n);
}
