/* PolyBench gesummv: y = alpha A x + beta B x; scale = matrix order, and how often (x becomes y / |y| each time). */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double(*a)[n] = want(sizeof(double) * n * n), (*b)[n] = want(sizeof(double) * n * n);
  double *x = want(sizeof(double) * n), *y = want(sizeof(double) * n);
  for (int i = 0; i < n; i++) {
    x[i] = (double)(i % n) / n;
    for (int j = 0; j < n; j++) a[i][j] = (double)((i * j + 1) % n) / n, b[i][j] = (double)((i * j + 2) % n) / n;
  }
  for (int t = 0; t < times; t++) {
    double largest = 1;
    for (int i = 0; i < n; i++) {
      double p = 0, q = 0;
      for (int j = 0; j < n; j++) {
        p += a[i][j] * x[j];
        q += b[i][j] * x[j];
      }
      y[i] = 1.5 * p + 1.2 * q;
      if (y[i] > largest) largest = y[i];
    }
    for (int i = 0; i < n; i++) x[i] = y[i] / largest;
  }
  for (int i = 0; i < n; i++) fold_double(y[i]);
  return report("gesummv", n);
}
