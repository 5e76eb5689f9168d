/* PolyBench gemver: A += u1 v1' + u2 v2', x = beta A' y + z, w = alpha A x; scale = matrix order, and how often. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double(*a)[n] = want(sizeof(double) * n * n), (*v)[n] = want(sizeof(double) * 8 * n);
  double *u1 = v[0], *v1 = v[1], *u2 = v[2], *v2 = v[3], *w = v[4], *x = v[5], *y = v[6], *z = v[7];
  for (int i = 0; i < n; i++) {
    u1[i] = i, u2[i] = (i + 1.0) / n / 2, v1[i] = (i + 1.0) / n / 4, v2[i] = (i + 1.0) / n / 6;
    y[i] = (i + 1.0) / n / 8, z[i] = (i + 1.0) / n / 9;
    for (int j = 0; j < n; j++) a[i][j] = (double)(i * j % n) / n;
  }
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < n; i++) x[i] = w[i] = 0;
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) a[i][j] = 0.5 * a[i][j] + u1[i] * v1[j] + u2[i] * v2[j];
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) x[i] += 1.2 * a[j][i] * y[j];
    for (int i = 0; i < n; i++) x[i] += z[i];
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) w[i] += 1.5 * a[i][j] * x[j];
  }
  for (int i = 0; i < n; i++) fold_double(w[i]);
  return report("gemver", n);
}
