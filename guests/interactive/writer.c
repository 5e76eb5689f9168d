/* Appends argv[2] lines to the file argv[1] with some computation before each, seeks back and changes the first, then reads
 * all back and prints a digest. The file is open all the while, so its offset is part of the program's state. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "log.txt";
  int lines = argc > 2 ? atoi(argv[2]) : 100;
  FILE *log = fopen(path, "w+");
  if (!log) {
    perror(path);
    return 1;
  }
  uint32_t x = 12345;
  for (int i = 0; i < lines; i++) {
    for (int k = 0; k < 20000; k++) x = x * 1664525u + 1013904223u, x ^= x >> 15;
    fprintf(log, "line %6d %08x\n", i, (unsigned)x);
    if (i % 7 == 0) fflush(log);
    if (i % 50 == 0) printf("wrote %d\n", i), fflush(stdout);
  }
  rewind(log);
  fprintf(log, "LINE");
  fflush(log);
  rewind(log);
  char line[64];
  uint64_t hash = 0xcbf29ce484222325ull;
  int count = 0;
  while (fgets(line, sizeof line, log)) {
    count++;
    for (const char *s = line; *s; s++) hash = (hash ^ (uint8_t)*s) * 0x100000001b3ull;
  }
  fclose(log);
  printf("%d lines %016llx\n", count, (unsigned long long)hash);
  return count == lines ? 0 : 1;
}
