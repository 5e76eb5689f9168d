/* PolyBench 3mm: G = (A B) (C D); scale = matrix order. */
#include "../kernels/kernel.h"
static void multiply(int n, double c[n][n], double a[n][n], double b[n][n]) {
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      c[i][j] = 0;
      for (int k = 0; k < n; k++) c[i][j] += a[i][k] * b[k][j];
    }
}
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*m[7])[n];
  for (int i = 0; i < 7; i++) m[i] = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      m[0][i][j] = (double)((i * j + 1) % n) / (5 * n);
      m[1][i][j] = (double)((i * (j + 1) + 2) % n) / (5 * n);
      m[2][i][j] = (double)(i * (j + 3) % n) / (5 * n);
      m[3][i][j] = (double)((i * (j + 2) + 2) % n) / (5 * n);
    }
  multiply(n, m[4], m[0], m[1]);
  multiply(n, m[5], m[2], m[3]);
  multiply(n, m[6], m[4], m[5]);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(m[6][i][j]);
  return report("3mm", n);
}
