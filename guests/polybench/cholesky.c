/* PolyBench cholesky: A = L L^T; scale = matrix order. */
#include "../kernels/kernel.h"
#include <math.h>
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double *a = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) a[i * n + j] = i == j ? n + 1.0 : 1.0 / (1 + (i > j ? i + 2 * j : j + 2 * i));
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < i; j++) {
      double s = a[i * n + j];
      for (int k = 0; k < j; k++) s -= a[i * n + k] * a[j * n + k];
      a[i * n + j] = s / a[j * n + j];
    }
    double s = a[i * n + i];
    for (int k = 0; k < i; k++) s -= a[i * n + k] * a[i * n + k];
    a[i * n + i] = sqrt(s);
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j <= i; j++) fold_double(a[i * n + j]);
  return report("cholesky", n);
}
