/* PolyBench adi: heat by alternating directions, a tridiagonal system for each column, then for each row; scale = time steps on 120 x 120. */
#include "../kernels/kernel.h"
#define N 120
static double u[N][N], v[N][N], p[N][N], q[N][N];
int main(int argc, char **argv) {
  int steps = scale_of(argc, argv, 4);
  const double d = 1.0 / N, dt = 1.0 / 100, mul1 = 2 * dt / (d * d), mul2 = dt / (d * d);
  const double a = -mul1 / 2, b = 1 + mul1, c = a, dd = -mul2 / 2, e = 1 + mul2, f = dd;
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) u[i][j] = (double)(i + N - j) / N;
  for (int t = 0; t < steps; t++) {
    for (int i = 1; i < N - 1; i++) {
      v[0][i] = 1, p[i][0] = 0, q[i][0] = v[0][i];
      for (int j = 1; j < N - 1; j++) {
        p[i][j] = -c / (a * p[i][j - 1] + b);
        q[i][j] = (-dd * u[j][i - 1] + (1 + 2 * dd) * u[j][i] - f * u[j][i + 1] - a * q[i][j - 1]) / (a * p[i][j - 1] + b);
      }
      v[N - 1][i] = 1;
      for (int j = N - 2; j >= 1; j--) v[j][i] = p[i][j] * v[j + 1][i] + q[i][j];
    }
    for (int i = 1; i < N - 1; i++) {
      u[i][0] = 1, p[i][0] = 0, q[i][0] = u[i][0];
      for (int j = 1; j < N - 1; j++) {
        p[i][j] = -f / (dd * p[i][j - 1] + e);
        q[i][j] = (-a * v[i - 1][j] + (1 + 2 * a) * v[i][j] - c * v[i + 1][j] - dd * q[i][j - 1]) / (dd * p[i][j - 1] + e);
      }
      u[i][N - 1] = 1;
      for (int j = N - 2; j >= 1; j--) u[i][j] = p[i][j] * u[i][j + 1] + q[i][j];
    }
  }
  for (int i = 0; i < N; i++)
    for (int j = 0; j < N; j++) fold_double(u[i][j]);
  return report("adi", steps);
}
