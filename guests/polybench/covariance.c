/* PolyBench covariance: the covariance matrix of n series of n values; scale = n. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*data)[n] = want(sizeof(double) * n * n), (*cov)[n] = want(sizeof(double) * n * n);
  double *mean = want(sizeof(double) * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) data[i][j] = (double)(i * j % (n + 5)) / n;
  for (int j = 0; j < n; j++) {
    mean[j] = 0;
    for (int i = 0; i < n; i++) mean[j] += data[i][j];
    mean[j] /= n;
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) data[i][j] -= mean[j];
  for (int i = 0; i < n; i++)
    for (int j = i; j < n; j++) {
      double s = 0;
      for (int k = 0; k < n; k++) s += data[k][i] * data[k][j];
      cov[i][j] = cov[j][i] = s / (n - 1.0);
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(cov[i][j]);
  return report("covariance", n);
}
