/* PolyBench mvt: x1 += A y1, x2 += A' y2; scale = matrix order, and how often. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double(*a)[n] = want(sizeof(double) * n * n), (*v)[n] = want(sizeof(double) * 4 * n);
  double *x1 = v[0], *x2 = v[1], *y1 = v[2], *y2 = v[3];
  for (int i = 0; i < n; i++) {
    x1[i] = (double)(i % n) / n, x2[i] = (double)((i + 1) % n) / n;
    y1[i] = (double)((i + 3) % n) / n, y2[i] = (double)((i + 4) % n) / n;
    for (int j = 0; j < n; j++) a[i][j] = (double)(i * j % n) / n;
  }
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) x1[i] += a[i][j] * y1[j];
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) x2[i] += a[j][i] * y2[j];
  }
  for (int i = 0; i < n; i++) fold_double(x1[i]), fold_double(x2[i]);
  return report("mvt", n);
}
