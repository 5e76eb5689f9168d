/* PolyBench seidel-2d: a nine-point stencil in place (a loop-carried dependence); scale = time steps on a 200 x 200 grid. */
#include "../kernels/kernel.h"
#define N 200
static double a[N][N];
int main(int argc, char **argv) {
  int steps = scale_of(argc, argv, 20);
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) a[i][j] = ((double)i * (j + 2) + 2) / N;
  for (int t = 0; t < steps; t++)
    for (int i = 1; i < N - 1; i++)
      for (int j = 1; j < N - 1; j++)
        a[i][j] = (a[i - 1][j - 1] + a[i - 1][j] + a[i - 1][j + 1] + a[i][j - 1] + a[i][j] + a[i][j + 1] + a[i + 1][j - 1] +
                   a[i + 1][j] + a[i + 1][j + 1]) / 9.0;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) fold_double(a[i][j]);
  return report("seidel-2d", steps);
}
