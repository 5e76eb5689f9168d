/* PolyBench lu: LU decomposition without pivoting; scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double *a = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) a[i * n + j] = i == j ? n + 1.0 : 1.0 / (1 + i + 2 * j);
  for (int i = 0; i < n; i++) {
    for (int j = 0; j < i; j++) {
      double s = a[i * n + j];
      for (int k = 0; k < j; k++) s -= a[i * n + k] * a[k * n + j];
      a[i * n + j] = s / a[j * n + j];
    }
    for (int j = i; j < n; j++) {
      double s = a[i * n + j];
      for (int k = 0; k < i; k++) s -= a[i * n + k] * a[k * n + j];
      a[i * n + j] = s;
    }
  }
  for (int i = 0; i < n * n; i++) fold_double(a[i]);
  return report("lu", n);
}
