/* Our own quicksort, then libc's qsort (calls back through the table); scale = elements. */
#include "kernel.h"
static void sort(uint32_t *a, int low, int high) {
  while (low < high) {
    uint32_t pivot = a[low + (high - low) / 2];
    int i = low, j = high;
    while (i <= j) {
      while (a[i] < pivot) i++;
      while (a[j] > pivot) j--;
      if (i <= j) {
        uint32_t t = a[i];
        a[i++] = a[j];
        a[j--] = t;
      }
    }
    sort(a, low, j);
    low = i;
  }
}
static int downwards(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? 1 : x > y ? -1 : 0;
}
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 10000);
  uint32_t *a = want(sizeof(uint32_t) * n);
  for (int i = 0; i < n; i++) a[i] = (uint32_t)(next_random() >> 20);
  sort(a, 0, n - 1);
  for (int i = 0; i < n; i++) fold(a[i]);
  for (int i = 0; i < n; i++) a[i] ^= 0x55555555u * (i & 1);
  qsort(a, n, sizeof *a, downwards);
  for (int i = 0; i < n; i++) fold(a[i]);
  return report("quicksort", n);
}
