/* PolyBench jacobi-1d: a three-point stencil between two arrays; scale = time steps on 2000 points. */
#include "../kernels/kernel.h"
#define N 2000
static double a[N], b[N];
int main(int argc, char **argv) {
  int steps = scale_of(argc, argv, 100);
  for (int i = 0; i < N; i++) a[i] = (i + 2.0) / N, b[i] = (i + 3.0) / N;
  for (int t = 0; t < steps; t++) {
    for (int i = 1; i < N - 1; i++) b[i] = 0.33333 * (a[i - 1] + a[i] + a[i + 1]);
    for (int i = 1; i < N - 1; i++) a[i] = 0.33333 * (b[i - 1] + b[i] + b[i + 1]);
  }
  for (int i = 0; i < N; i++) fold_double(a[i]);
  return report("jacobi-1d", steps);
}
