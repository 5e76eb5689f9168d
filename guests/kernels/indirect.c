/* Calls through function pointers of several types: a byte-code machine whose operations are in tables, and closures by
 * hand; scale = thousands of steps. */
#include "kernel.h"
typedef struct machine machine;
typedef void (*op)(machine *);
struct machine {
  uint64_t stack[64], steps, limit;
  int top, pc;
  const uint8_t *code;
};
typedef uint64_t (*binary)(uint64_t, uint64_t);
typedef double (*smooth)(double);

static uint64_t add(uint64_t a, uint64_t b) { return a + b; }
static uint64_t mul(uint64_t a, uint64_t b) { return a * (b | 1); }
static uint64_t xor_(uint64_t a, uint64_t b) { return a ^ (b << 13 | b >> 51); }
static uint64_t sub(uint64_t a, uint64_t b) { return a - b; }
static binary binaries[] = {add, mul, xor_, sub};
static double half(double d) { return d * 0.5; }
static double up(double d) { return d + 1.25; }
static double square(double d) { return d * d * 0.125; }
static smooth smooths[] = {half, up, square};

static void push(machine *m) { m->stack[m->top++ & 63] = m->steps * 0x9e3779b97f4a7c15ull; }
static void apply(machine *m) {
  uint64_t b = m->stack[--m->top & 63], a = m->stack[--m->top & 63];
  m->stack[m->top++ & 63] = binaries[m->steps & 3](a, b);
}
static void bend(machine *m) {
  uint64_t *at = &m->stack[(m->top - 1) & 63];
  double d = (double)(*at & 0xffff);
  for (int i = 0; i < 3; i++) d = smooths[(m->steps + i) % 3](d);
  *at += (uint64_t)d;
}
static void turn(machine *m) {
  if (m->stack[(m->top - 1) & 63] & 4) m->pc = (m->pc + 2) & 15;
}
static void again(machine *m) { m->pc = 0; }
static op ops[] = {push, apply, bend, turn, again};

/* the operation table itself is changed on the way */
__attribute__((noinline)) static void shuffle(void) {
  binary t = binaries[0];
  for (int i = 0; i < 3; i++) binaries[i] = binaries[i + 1];
  binaries[3] = t;
}

int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 100);
  static const uint8_t code[16] = {0, 0, 1, 2, 0, 1, 3, 0, 1, 2, 0, 0, 1, 1, 2, 4};
  machine m = {.limit = (uint64_t)n * 1000, .code = code, .top = 32};
  for (; m.steps < m.limit; m.steps++) {
    ops[m.code[m.pc++ & 15]](&m);
    if (m.steps % 5000 == 0) shuffle();
  }
  for (int i = 0; i < 64; i++) fold(m.stack[i]);
  return report("indirect", n);
}
