/* Answers each line of standard input with its number and a hash of all lines so far (so that lost or repeated input shows);
 * says goodbye at end of input. Blocks in fd_read between the lines. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>
int main(void) {
  char line[4096];
  uint64_t hash = 0xcbf29ce484222325ull;
  unsigned count = 0;
  puts("ready");
  fflush(stdout);
  while (fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    for (const char *s = line; *s; s++) hash = (hash ^ (uint8_t)*s) * 0x100000001b3ull;
    printf("%u %016llx %s\n", ++count, (unsigned long long)hash, line);
    fflush(stdout);
  }
  printf("goodbye after %u\n", count);
  return 0;
}
