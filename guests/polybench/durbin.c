/* PolyBench durbin: a Toeplitz system by Levinson and Durbin's recursion; scale = order, and how often. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double *r = want(sizeof(double) * n), *y = want(sizeof(double) * n), *z = want(sizeof(double) * n);
  for (int i = 0; i < n; i++) r[i] = 1.0 / (i + 2);
  for (int t = 0; t < times; t++) {
    double alpha = -r[0], beta = 1;
    y[0] = -r[0];
    for (int k = 1; k < n; k++) {
      beta *= 1 - alpha * alpha;
      double s = 0;
      for (int i = 0; i < k; i++) s += r[k - i - 1] * y[i];
      alpha = -(r[k] + s) / beta;
      for (int i = 0; i < k; i++) z[i] = y[i] + alpha * y[k - i - 1];
      for (int i = 0; i < k; i++) y[i] = z[i];
      y[k] = alpha;
    }
    for (int i = 0; i < n; i += 7) fold_double(y[i]);
    r[0] -= 0.0001;
  }
  return report("durbin", n);
}
