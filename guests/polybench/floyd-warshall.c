/* PolyBench floyd-warshall: all shortest paths; scale = vertices. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  int *p = want(sizeof(int) * n * n);
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) {
      p[i * n + j] = i * j % 7 + 1;
      if ((i + j) % 13 == 0 || (i + j) % 7 == 0 || (i + j) % 11 == 0) p[i * n + j] = 999;
    }
  for (int k = 0; k < n; k++)
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) {
        int through = p[i * n + k] + p[k * n + j];
        if (through < p[i * n + j]) p[i * n + j] = through;
      }
  for (int i = 0; i < n * n; i++) fold(p[i]);
  return report("floyd-warshall", n);
}
