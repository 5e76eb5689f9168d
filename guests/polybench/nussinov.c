/* PolyBench nussinov: how RNA folds, by dynamic programming; scale = bases. */
#include "../kernels/kernel.h"
static int larger(int a, int b) { return a > b ? a : b; }
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60);
  int(*table)[n] = want(sizeof(int) * n * n);
  char *base = want(n);
  memset(table, 0, sizeof(int) * n * n);
  for (int i = 0; i < n; i++) base[i] = (i + 1) % 4;
  for (int i = n - 1; i >= 0; i--)
    for (int j = i + 1; j < n; j++) {
      int best = larger(table[i][j], table[i][j - 1]);
      best = larger(best, table[i + 1][j]);
      int pair = i < j - 1 && base[i] + base[j] == 3;
      best = larger(best, table[i + 1][j - 1] + pair);
      for (int k = i + 1; k < j; k++) best = larger(best, table[i][k] + table[k + 1][j]);
      table[i][j] = best;
    }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold(table[i][j]);
  return report("nussinov", n);
}
