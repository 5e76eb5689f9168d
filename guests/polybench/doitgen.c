/* PolyBench doitgen: each row of a cube times a matrix; scale = the cube's edge. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 24);
  double(*a)[n][n] = want(sizeof(double) * n * n * n), (*c)[n] = want(sizeof(double) * n * n), *sum = want(sizeof(double) * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      c[i][j] = (double)(i * j % n) / n;
      for (int k = 0; k < n; k++) a[i][j][k] = (double)((i * j + k) % n) / n;
    }
  for (int r = 0; r < n; r++)
    for (int q = 0; q < n; q++) {
      for (int p = 0; p < n; p++) {
        sum[p] = 0;
        for (int s = 0; s < n; s++) sum[p] += a[r][q][s] * c[s][p];
      }
      for (int p = 0; p < n; p++) a[r][q][p] = sum[p];
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++)
      for (int k = 0; k < n; k++) fold_double(a[i][j][k]);
  return report("doitgen", n);
}
