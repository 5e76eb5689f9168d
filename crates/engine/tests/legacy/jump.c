// setjmp and longjmp as C programs use them: errors out of deep recursion, retries, a jump out of a
// handler, jump buffers that are nested; each with values that live across.
#include <setjmp.h>
#include <stdio.h>

static jmp_buf outer, inner;
static unsigned seed = 1;

static unsigned next(void) {
  seed = seed * 1103515245u + 12345u;
  return seed >> 16 & 0x7fff;
}

static int dig(int depth, int fail) {
  volatile int here = depth * 3;
  if (depth == 0) {
    if (fail) longjmp(fail & 1 ? inner : outer, fail);
    return 1;
  }
  int below = dig(depth - 1, fail);
  return below + here % 7;
}

static int attempt(int n) {
  volatile int tries = 0;
  int why = setjmp(inner);
  tries++;
  if (why && tries < 4) printf(" retry %d after %d", tries, why);
  if (tries < 4) return dig(10 + n, (int)next() % 4) + 1000 * tries;
  return -1;
}

int main(void) {
  for (volatile int round = 0; round < 25; round++) {
    int why = setjmp(outer);
    if (why) {
      printf(" out of it: %d\n", why);
      continue;
    }
    printf("%d:", round);
    printf(" %d\n", attempt(round));
  }
  return (int)(seed & 63);
}
