/* PolyBench bicg: s = A' r and q = A p in one pass; scale = matrix order, and how often (p becomes s / n). */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  double(*a)[n] = want(sizeof(double) * n * n), (*v)[n] = want(sizeof(double) * 4 * n);
  double *s = v[0], *q = v[1], *p = v[2], *r = v[3];
  for (int i = 0; i < n; i++) {
    p[i] = r[i] = (double)(i % n) / n;
    for (int j = 0; j < n; j++) a[i][j] = (double)(i * (j + 1) % n) / n;
  }
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < n; i++) s[i] = 0;
    for (int i = 0; i < n; i++) {
      q[i] = 0;
      for (int j = 0; j < n; j++) {
        s[j] += r[i] * a[i][j];
        q[i] += a[i][j] * p[j];
      }
    }
    for (int i = 0; i < n; i++) p[i] = s[i] / n;
  }
  for (int i = 0; i < n; i++) fold_double(s[i]), fold_double(q[i]);
  return report("bicg", n);
}
