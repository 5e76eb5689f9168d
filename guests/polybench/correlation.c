/* PolyBench correlation: the correlation matrix of n series of n values; scale = n. */
#include "../kernels/kernel.h"
#include <math.h>
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  double(*data)[n] = want(sizeof(double) * n * n), (*corr)[n] = want(sizeof(double) * n * n);
  double *mean = want(sizeof(double) * n), *dev = want(sizeof(double) * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) data[i][j] = (double)(i * j % (n + 3)) / n + i;
  for (int j = 0; j < n; j++) {
    mean[j] = 0;
    for (int i = 0; i < n; i++) mean[j] += data[i][j];
    mean[j] /= n;
    dev[j] = 0;
    for (int i = 0; i < n; i++) dev[j] += (data[i][j] - mean[j]) * (data[i][j] - mean[j]);
    dev[j] = sqrt(dev[j] / n);
    if (dev[j] <= 0.1) dev[j] = 1;
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) data[i][j] = (data[i][j] - mean[j]) / (sqrt(n) * dev[j]);
  for (int i = 0; i < n; i++) {
    corr[i][i] = 1;
    for (int j = i + 1; j < n; j++) {
      corr[i][j] = 0;
      for (int k = 0; k < n; k++) corr[i][j] += data[k][i] * data[k][j];
      corr[j][i] = corr[i][j];
    }
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(corr[i][j]);
  return report("correlation", n);
}
