#!/bin/bash
# toolchain.sh PREFIX: clang + wasm-ld + wasi-libc (with libsetjmp) from Debian's rolling suite, on Debian bookworm amd64 as
# root, without touching the system: a private apt state with an empty dpkg status, the mirror taken from the system's own apt
# sources, the packages only unpacked (dpkg-deb -x), and run with that suite's own ld.so.
#   SUITE=sid   LLVM=21 (others are tried when it is gone)   MIRROR=... (overrides what apt's sources say)
# Result: PREFIX/bin/wasm-clang (wasm32-wasip1 C compiler and linker driver), PREFIX/versions (what was unpacked), PREFIX/ok
set -euo pipefail
P=${1:?usage: toolchain.sh PREFIX}; SUITE=${SUITE:-sid}; LLVM=${LLVM:-"21 22 20"}
ID="v3 $SUITE $LLVM"
mkdir -p "$P"; P=$(cd "$P" && pwd)
[ -e "$P/ok" ] && [ "$(cat "$P/ok")" = "$ID" ] && [ -x "$P/bin/wasm-clang" ] && { echo "already set up: $P"; exit 0; }
rm -f "$P/ok"
CACHE=$P
. "$(dirname "${BASH_SOURCE[0]}")/toolchains/debian.sh"
[ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 hosts are supported"

# 1. the newest clang that has its wasm32 runtime
have=$(known "$SUITE")
V=; for v in $LLVM; do
  ok=1; for p in clang-$v lld-$v libclang-rt-$v-dev-wasm32; do grep -qx "$p" <<<"$have" || ok=0; done
  [ $ok = 1 ] && { V=$v; break; }
done
[ -n "$V" ] || die "$SUITE has none of clang $LLVM with its wasm32 runtime"

# 2. what clang and lld need at run time, less what only a native compiler needs (gcc, headers, objc): the closure of their
#    libraries, and the rest by name
rm -rf "$P/root" "$P/bin"; mkdir -p "$P/root" "$P/bin"
closure "$SUITE" "$P/root" "libclang-cpp$V" "lld-$V"
debs "$SUITE" "$P/root" "clang-$V" "libclang-common-$V-dev" "libclang-rt-$V-dev-wasm32" wasi-libc
mv "$P/root/versions" "$P/versions"

# 3. wrappers: run the suite's tools with the suite's own C library
R=$P/root; LD=; for f in "$R"/usr/lib64 "$R"/lib64 "$R"/usr/lib/x86_64-linux-gnu; do
  [ -z "$LD" ] && [ -e "$f/ld-linux-x86-64.so.2" ] && LD=$f/ld-linux-x86-64.so.2
done
L=$R/usr/lib/x86_64-linux-gnu:$R/usr/lib/llvm-$V/lib:$R/lib/x86_64-linux-gnu
cat > "$P/bin/wasm-ld" <<W
#!/bin/sh
exec $LD --argv0 wasm-ld --library-path $L $R/usr/lib/llvm-$V/bin/lld -flavor wasm "\$@"
W
RES=$R/usr/lib/llvm-$V/lib/clang/$V
# clang starts itself again for each compilation (-cc1); -no-canonical-prefixes makes it do so through this wrapper
cat > "$P/bin/wasm-clang" <<W
#!/bin/sh
run() { exec $LD --argv0 $P/bin/wasm-clang --library-path $L $R/usr/lib/llvm-$V/bin/clang "\$@"; }
case "\$1" in -cc1*) run "\$@";; esac
run -no-canonical-prefixes --target=wasm32-wasi -resource-dir $RES --sysroot $R/usr "\$@"
W
ln -s wasm-ld "$P/bin/wasm-ld-$V"   # the name Debian's clang looks for, beside itself
chmod +x "$P/bin/"*
rm -rf "$P/apt"

# 4. smoke test: setjmp through the new exception handling links
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
cat > "$T/s.c" <<'C'
#include <setjmp.h>
#include <stdio.h>
static jmp_buf b;
int main(void){ if (setjmp(b) == 0) longjmp(b, 1); puts("ok"); return 0; }
C
"$P/bin/wasm-clang" -O2 -mllvm -wasm-enable-sjlj -mllvm -wasm-use-legacy-eh=false "$T/s.c" -lsetjmp -o "$T/s.wasm"
cat "$P/versions"
printf %s "$ID" > "$P/ok"
