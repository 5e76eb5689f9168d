/* PolyBench gramschmidt: A = Q R; scale = matrix order. */
#include "../kernels/kernel.h"
#include <math.h>
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*a)[n] = want(sizeof(double) * n * n), (*q)[n] = want(sizeof(double) * n * n), (*r)[n] = want(sizeof(double) * n * n);
  memset(r, 0, sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) a[i][j] = (double)(i * j % n) / n * 10 + (i == j ? 100 : 10);
  for (int k = 0; k < n; k++) {
    double norm = 0;
    for (int i = 0; i < n; i++) norm += a[i][k] * a[i][k];
    r[k][k] = sqrt(norm);
    for (int i = 0; i < n; i++) q[i][k] = a[i][k] / r[k][k];
    for (int j = k + 1; j < n; j++) {
      for (int i = 0; i < n; i++) r[k][j] += q[i][k] * a[i][j];
      for (int i = 0; i < n; i++) a[i][j] -= q[i][k] * r[k][j];
    }
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(q[i][j]), fold_double(r[i][j]);
  return report("gramschmidt", n);
}
