/* PolyBench fdtd-2d: an electromagnetic field in time steps; scale = steps on 200 x 240. */
#include "../kernels/kernel.h"
#define NX 200
#define NY 240
static double ex[NX][NY], ey[NX][NY], hz[NX][NY];
int main(int argc, char **argv) {
  int steps = scale_of(argc, argv, 4);
  for (int i = 0; i < NX; i++)
    for (int j = 0; j < NY; j++) {
      ex[i][j] = (double)i * (j + 1) / NX;
      ey[i][j] = (double)i * (j + 2) / NY;
      hz[i][j] = (double)i * (j + 3) / NX;
    }
  for (int t = 0; t < steps; t++) {
    for (int j = 0; j < NY; j++) ey[0][j] = t;
    for (int i = 1; i < NX; i++)
      for (int j = 0; j < NY; j++) ey[i][j] -= 0.5 * (hz[i][j] - hz[i - 1][j]);
    for (int i = 0; i < NX; i++)
      for (int j = 1; j < NY; j++) ex[i][j] -= 0.5 * (hz[i][j] - hz[i][j - 1]);
    for (int i = 0; i < NX - 1; i++)
      for (int j = 0; j < NY - 1; j++) hz[i][j] -= 0.7 * (ex[i][j + 1] - ex[i][j] + ey[i + 1][j] - ey[i][j]);
  }
  for (int i = 0; i < NX; i++)
    for (int j = 0; j < NY; j++) fold_double(hz[i][j]);
  return report("fdtd-2d", steps);
}
