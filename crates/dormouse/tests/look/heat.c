/* A program to look into: it takes a checkpoint of its own, in its fourth step.
 *
 * heat-O0.wasm and heat-O2.wasm are made of it, and are kept so that what is seen in them is the same everywhere:
 *     clang --target=wasm32-wasi -nostdlib -g -O0 -fdebug-compilation-dir=. -Wl,--entry=_start heat.c -o heat-O0.wasm
 */
enum phase { COLD, WARM, HOT };
struct cell { int x, y; double heat; };

__attribute__((import_module("dormouse"), import_name("checkpoint"))) int checkpoint(void);

static double grid[64];
static unsigned steps;
static int taken;
/* What the compiler does not know. */
static volatile int rounds = 6, most = 8;

__attribute__((noinline)) static double relax(const double *at, int width) {
  double sum = 0;
  for (int i = 0; i < width; i++) sum += at[i];
  if (steps == 3) taken = checkpoint();
  return sum / width;
}

static unsigned length(const char *of) {
  unsigned n = 0;
  while (of[n]) n++;
  return n;
}

static inline double step(struct cell *hottest, const char *label, enum phase phase) {
  char note[16] = "fifteen letters";
  short counts[3] = {1, -2, 3};
  hottest->heat = relax(grid + counts[0], most);
  steps++;
  return hottest->heat + length(label) + note[0] + phase;
}

static struct cell hottest = {7, -9, 0.25};
volatile double result;

void _start(void) {
  unsigned char flag = 'A';
  float part = 1.5f;
  double total = 0;
  for (int i = 0; i < rounds; i++) {
    grid[i] = i;
    total += step(&hottest, "the label", WARM) * part;
  }
  result = total + flag + taken;
}
