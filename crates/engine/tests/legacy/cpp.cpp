// C++ exceptions as compilers emit them: destructors run while an exception passes (catch_all, calls,
// rethrow), catch (...), throwing again from a handler, exceptions thrown and caught within a handler,
// and loops and recursion in all of these. The runtime is just what catch (...) needs.
typedef decltype(sizeof 0) size_t;
extern "C" {
int printf(const char*, ...);
void* malloc(size_t);
void free(void*);
char int_info __asm__("_ZTIi");
int __gxx_wasm_personality_v0(...) { return 0; }
void* __cxa_allocate_exception(size_t n) { return malloc(n); }
void __cxa_free_exception(void* p) { free(p); }
[[noreturn]] void __cxa_throw(void* p, void*, void (*)(void*)) { __builtin_wasm_throw(0, p); }
static void* caught[16];
static int depth;
void* __cxa_begin_catch(void* p) { return caught[depth++] = p; }
void __cxa_end_catch() { depth--; }
[[noreturn]] void __cxa_rethrow() { __builtin_wasm_throw(0, caught[depth - 1]); }
[[noreturn]] void ended() __asm__("_ZSt9terminatev");
void ended() { __builtin_trap(); }
}

static unsigned hash = 17;

static unsigned work(unsigned n) {
  unsigned x = n;
  for (volatile unsigned i = 0; i < n; i++) x = x * 31 + i;
  return x;
}

struct Guard {
  int id;
  explicit Guard(int id) : id(id) { hash = hash * 33 + id; }
  ~Guard() {
    hash = hash * 31 + work(id % 5);
    printf(" ~%d", id);
  }
};

__attribute__((noinline)) static int value() { return *static_cast<int*>(caught[depth - 1]); }

__attribute__((noinline)) static int down(int n, int fail) {
  Guard g(n);
  if (n == fail) throw n;
  int below = n > 0 ? down(n - 1, fail) : 0;
  return below + (int)(work(n % 4) & 3);
}

__attribute__((noinline)) static int again(int n, int fail) {
  Guard g(100 + n);
  try {
    Guard h(200 + n);
    return down(n, fail);
  } catch (...) {
    int v = value();
    printf(" caught %d", v);
    if (v & 1) throw;
    try {
      Guard i(300 + v);
      if (v % 3 == 2) throw v * 10;
    } catch (...) {
      int w = value();
      printf(" inner %d", w);
      if (w % 4 == 0) throw;
    }
    return v;
  }
}

int main() {
  for (int n = 0; n < 14; n++) {
    printf("%d:", n);
    try {
      Guard g(400);
      for (int i = 0; i < 2; i++) printf(" = %d", again(n % 7, (n * 5 + i) % 9));
    } catch (...) {
      printf(" lost %d", value());
    }
    printf(" #%u\n", hash & 0xffff);
  }
  return (int)(hash & 31);
}
