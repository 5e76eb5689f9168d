/* PolyBench symm: C = alpha A B + beta C, A symmetric, of which only the lower half is read; scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*a)[n] = want(sizeof(double) * n * n), (*b)[n] = want(sizeof(double) * n * n), (*c)[n] = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      a[i][j] = (double)((i + j) % 100) / n;
      b[i][j] = (double)((n + i - j) % 100) / n;
      c[i][j] = (double)((i + j) % 100) / n;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double s = 0;
      for (int k = 0; k < i; k++) {
        c[k][j] += 1.5 * b[i][j] * a[i][k];
        s += b[k][j] * a[i][k];
      }
      c[i][j] = 1.2 * c[i][j] + 1.5 * b[i][j] * a[i][i] + 1.5 * s;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(c[i][j]);
  return report("symm", n);
}
