/* PolyBench trmm: B = alpha A' B, A lower triangular with ones on its diagonal; scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*a)[n] = want(sizeof(double) * n * n), (*b)[n] = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      a[i][j] = i == j ? 1 : (double)((i + j) % n) / n;
      b[i][j] = (double)((n + i - j) % n) / n;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      for (int k = i + 1; k < n; k++) b[i][j] += a[k][i] * b[k][j];
      b[i][j] *= 1.5;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(b[i][j]);
  return report("trmm", n);
}
