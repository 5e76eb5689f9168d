/* PolyBench ludcmp: LU decomposition, then both substitutions; scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*a)[n] = want(sizeof(double) * n * n), *b = want(sizeof(double) * n);
  double *x = want(sizeof(double) * n), *y = want(sizeof(double) * n);
  for (int i = 0; i < n; i++) {
    b[i] = (i + 1.0) / n / 2 + 4;
    for (int j = 0; j < n; j++) a[i][j] = i == j ? n + 1.0 : (double)((i + 2 * j) % n) / n;
  }
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < i; j++) {
      double w = a[i][j];
      for (int k = 0; k < j; k++) w -= a[i][k] * a[k][j];
      a[i][j] = w / a[j][j];
    }
    for (int j = i; j < n; j++) {
      double w = a[i][j];
      for (int k = 0; k < i; k++) w -= a[i][k] * a[k][j];
      a[i][j] = w;
    }
  }
  for (int i = 0; i < n; i++) {
    double w = b[i];
    for (int j = 0; j < i; j++) w -= a[i][j] * y[j];
    y[i] = w;
  }
  for (int i = n - 1; i >= 0; i--) {
    double w = y[i];
    for (int j = i + 1; j < n; j++) w -= a[i][j] * x[j];
    x[i] = w / a[i][i];
  }
  for (int i = 0; i < n; i++) fold_double(x[i]);
  return report("ludcmp", n);
}
