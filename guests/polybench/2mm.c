/* PolyBench 2mm: D = alpha A B C + beta D, with inner products (an accumulator in a register); scale = matrix order. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 64);
  double *a = want(sizeof(double) * n * n), *b = want(sizeof(double) * n * n), *c = want(sizeof(double) * n * n);
  double *d = want(sizeof(double) * n * n), *t = want(sizeof(double) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      a[i * n + j] = (double)((i * j + 1) % n) / n;
      b[i * n + j] = (double)(i * (j + 1) % n) / n;
      c[i * n + j] = (double)((i * (j + 3) + 1) % n) / n;
      d[i * n + j] = (double)(i * (j + 2) % n) / n;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double s = 0;
      for (int k = 0; k < n; k++) s += 1.5 * a[i * n + k] * b[k * n + j];
      t[i * n + j] = s;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      double s = d[i * n + j] * 1.2;
      for (int k = 0; k < n; k++) s += t[i * n + k] * c[k * n + j];
      d[i * n + j] = s;
    }
  for (int i = 0; i < n * n; i++) fold_double(d[i]);
  return report("2mm", n);
}
