/* PolyBench trisolv: L x = b; scale = matrix order, and how often (b becomes x). */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double(*l)[n] = want(sizeof(double) * n * n), *x = want(sizeof(double) * n), *b = want(sizeof(double) * n);
  for (int i = 0; i < n; i++) {
    b[i] = (double)i / n;
    for (int j = 0; j < n; j++) l[i][j] = j == i ? 1.5 : (double)((i + n - j + 1) % n) / n / n;
  }
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < n; i++) {
      x[i] = b[i];
      for (int j = 0; j < i; j++) x[i] -= l[i][j] * x[j];
      x[i] /= l[i][i];
    }
    for (int i = 0; i < n; i++) b[i] = x[i] + (double)i / n;
  }
  for (int i = 0; i < n; i++) fold_double(x[i]);
  return report("trisolv", n);
}
