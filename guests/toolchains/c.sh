# c.sh: sourced by the scripts of C and C++ programs in catalogue/; $CC is clang for wasm32-wasip1.
. "$GUESTS/toolchains/debian.sh"

# Flags for setjmp/longjmp through the new exception handling, in front of the sources
SJLJ="-mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh=false -lsetjmp"
# ... and for what wasi-libc only has when asked: signals that never come, process clocks, getpid, mmap of files
EMULATED="-D_WASI_EMULATED_SIGNAL -D_WASI_EMULATED_PROCESS_CLOCKS -D_WASI_EMULATED_GETPID -D_WASI_EMULATED_MMAN
  -lwasi-emulated-signal -lwasi-emulated-process-clocks -lwasi-emulated-getpid -lwasi-emulated-mman"
# Of calls that WASI has no idea of: owners, modes, processes. Programs use them after the work is done.
NONE="-include $GUESTS/toolchains/missing.h"

# Compiles and links as $CC does, at -O2 and without the old programs' warnings; writes $OUT.
cc() { nice $CC -O2 -w -Wno-implicit-function-declaration "$@" -o "$OUT"; }
