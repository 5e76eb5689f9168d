/* PolyBench syrk: C = alpha A A' + beta C, the lower half; scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*a)[n] = want(sizeof(double) * n * n), (*c)[n] = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) a[i][j] = (double)((i * j + 1) % n) / n, c[i][j] = (double)((i * j + 2) % n) / n;
  for (int i = 0; i < n; i++) {
    for (int j = 0; j <= i; j++) c[i][j] *= 1.2;
    for (int k = 0; k < n; k++)
      for (int j = 0; j <= i; j++) c[i][j] += 1.5 * a[i][k] * a[j][k];
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) fold_double(c[i][j]);
  return report("syrk", n);
}
