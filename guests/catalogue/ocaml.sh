# The bytecode interpreter of OCaml, as Debian has its source. It was never meant for WebAssembly, so what `configure` would find
# out about the target is written here, by hand.
. "$GUESTS/toolchains/c.sh"
cp -r "$(orig bookworm ocaml "$VERSION" 66a5353c5e7b33a8981446e857657aad45a3b82080ea5c67d4baa434eacfcf5f)" tree
cd tree/runtime
cat > caml/m.h <<'C'
#define SIZEOF_INT 4
#define SIZEOF_LONG 4
#define SIZEOF_PTR 4
#define SIZEOF_SHORT 2
#define SIZEOF_LONGLONG 8
#define ARCH_INT64_TYPE long long
#define ARCH_UINT64_TYPE unsigned long long
#define ARCH_INT64_PRINTF_FORMAT "ll"
#define PROFINFO_WIDTH 0
#define CAML_SAFE_STRING 1
#define FLAT_FLOAT_ARRAY 1
C
cat > caml/s.h <<'C'
#define OCAML_OS_TYPE "Unix"
#define HAS_C99_FLOAT_OPS 1
#define HAS_WORKING_FMA 1
#define HAS_WORKING_ROUND 1
#define HAS_STDINT_H 1
#define HAS_UNISTD 1
#define HAS_DIRENT 1
#define HAS_GETCWD 1
#define HAS_GETTIMEOFDAY 1
#define HAS_STRERROR 1
#define HAS_LOCALE_H 1
#define HAS_STRTOD_L 1
#define HAS_FFS 1
C
printf '#define OCAML_VERSION_STRING "%s"\n' "$VERSION" > caml/version.h
printf '#define OCAML_STDLIB_DIR "/usr/lib/ocaml"\n#define HOST "wasm32-wasi"\n' > build_config.h
touch ../Makefile.config ../Makefile.build_config
make -s UNIX_OR_WIN32=unix ROOTDIR=.. caml/opnames.h caml/jumptbl.h prims.c
mkdir sys
printf '#define WIFEXITED(s) 1\n#define WEXITSTATUS(s) (s)\n' > sys/wait.h
# Calls that WASI has no idea of; a program that makes one is told so by its result.
cat > none.c <<'C'
#include <errno.h>
int system(const char *command) { errno = ENOSYS; return -1; }
int execvp(const char *file, char *const *args) { errno = ENOSYS; return -1; }
int getppid(void) { return 1; }
int getuid(void) { return 0; }
int geteuid(void) { return 0; }
int getgid(void) { return 0; }
int getegid(void) { return 0; }
int caml_debugger_saved_instruction(int *at) { return 0; } // there is no debugger without sockets
C
# Headers of values lie before what a pointer points to, and are reached by wrapping round: -fwrapv-pointer.
cc -fwrapv-pointer $SJLJ $EMULATED -DCAML_NAME_SPACE -DCAMLDLLIMPORT= -I. -Wl,-z,stack-size=8388608 \
  interp.c misc.c stacks.c fix_code.c startup_aux.c startup_byt.c freelist.c major_gc.c minor_gc.c memory.c alloc.c roots_byt.c \
  globroots.c fail_byt.c signals.c signals_byt.c printexc.c backtrace_byt.c backtrace.c compare.c ints.c eventlog.c floats.c \
  str.c array.c io.c extern.c intern.c hash.c sys.c meta.c parsing.c gc_ctrl.c md5.c obj.c lexing.c callback.c debugger.c weak.c \
  compact.c finalise.c custom.c dynlink.c afl.c unix.c bigarray.c main.c memprof.c domain.c skiplist.c codefrag.c prims.c none.c -lm

# What it runs is made by Debian's own compiler, on this machine.
native=$CACHE/ocaml-native
(
  flock 8
  [ "$(cat "$native/ok" 2>/dev/null)" = "$VERSION" ] || { rm -rf "$native"; debs bookworm "$native" ocaml; echo "$VERSION" > "$native/ok"; }
) 8> "$native.lock"
cp "$GUESTS/catalogue/work.ml" .
OCAMLLIB=$native/usr/lib/ocaml "$native/usr/bin/ocamlc.opt" -o "$BESIDE/work.byte" work.ml
