/* PolyBench jacobi-2d: a five-point stencil between two arrays; scale = time steps on a 250 x 250 grid. */
#include "../kernels/kernel.h"
#define N 250
static double a[N][N], b[N][N];
int main(int argc, char **argv) {
  int steps = scale_of(argc, argv, 20);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) {
      a[i][j] = ((double)i * (j + 2) + 2) / N;
      b[i][j] = ((double)i * (j + 3) + 3) / N;
    }
  for (int t = 0; t < steps; t++) {
    for (int i = 1; i < N - 1; i++)
      for (int j = 1; j < N - 1; j++) b[i][j] = 0.2 * (a[i][j] + a[i][j - 1] + a[i][j + 1] + a[i + 1][j] + a[i - 1][j]);
    for (int i = 1; i < N - 1; i++)
      for (int j = 1; j < N - 1; j++) a[i][j] = 0.2 * (b[i][j] + b[i][j - 1] + b[i][j + 1] + b[i + 1][j] + b[i - 1][j]);
  }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) fold_double(a[i][j]);
  return report("jacobi-2d", steps);
}
