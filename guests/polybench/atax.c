/* PolyBench atax: y = A' (A x); scale = matrix order, and how often (x becomes y / n each time). */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double(*a)[n] = want(sizeof(double) * n * n), *x = want(sizeof(double) * n), *y = want(sizeof(double) * n);
  for (int i = 0; i < n; i++) {
    x[i] = 1 + (double)i / n;
    for (int j = 0; j < n; j++) a[i][j] = (double)((i + j) % n) / (5.0 * n);
  }
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < n; i++) y[i] = 0;
    for (int i = 0; i < n; i++) {
      double s = 0;
      for (int j = 0; j < n; j++) s += a[i][j] * x[j];
      for (int j = 0; j < n; j++) y[j] += a[i][j] * s;
    }
    for (int i = 0; i < n; i++) x[i] = y[i] / n;
  }
  for (int i = 0; i < n; i++) fold_double(y[i]);
  return report("atax", n);
}
