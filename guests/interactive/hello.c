/* The smallest program: one line out, exit status from argv[1]. */
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv) {
  puts("hello, dormouse");
  return argc > 1 ? atoi(argv[1]) : 0;
}
