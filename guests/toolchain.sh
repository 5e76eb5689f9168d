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
[ "$(dpkg --print-architecture)" = amd64 ] || { echo "toolchain.sh: only amd64 hosts are supported" >&2; exit 1; }
retry() { local i; for i in 1 2 3 4; do "$@" && return 0; echo "retry $i: $*" >&2; sleep $((i*5)); done; return 1; }

# 1. the mirror: the first Debian (not third-party) one in the system's apt sources
MIRROR=${MIRROR:-$(awk '/^URIs:/{print $2; exit}' /etc/apt/sources.list.d/debian.sources 2>/dev/null || true)}
MIRROR=${MIRROR:-$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .* main.*/\2/p' /etc/apt/sources.list 2>/dev/null | head -1)}
[ -n "$MIRROR" ] || { echo "toolchain.sh: no Debian mirror in apt's sources; set MIRROR" >&2; exit 1; }

# 2. private apt state
A=$P/apt; rm -rf "$A"; mkdir -p "$A"/{state/lists/partial,cache/archives/partial,empty}; : > "$A/state/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] $MIRROR $SUITE main" > "$A/sources.list"
cat > "$A/apt.conf" <<C
Dir::State "$A/state/";
Dir::State::status "$A/state/status";
Dir::Cache "$A/cache/";
Dir::Etc::sourcelist "$A/sources.list";
Dir::Etc::sourceparts "$A/empty/";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "$A/empty/";
APT::Architecture "amd64";
APT::Architectures { "amd64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::By-Hash "force";
Acquire::Retries "3";
C
xapt() { APT_CONFIG=$A/apt.conf retry "$@"; }
xapt apt-get update -qq
have=$(APT_CONFIG=$A/apt.conf apt-cache pkgnames)
V=; for v in $LLVM; do
  ok=1; for p in clang-$v lld-$v libclang-rt-$v-dev-wasm32; do grep -qx "$p" <<<"$have" || ok=0; done
  [ $ok = 1 ] && { V=$v; break; }
done
[ -n "$V" ] || { echo "toolchain.sh: $SUITE has none of clang $LLVM with its wasm32 runtime" >&2; exit 1; }

# 3. what clang and lld need at run time, less what only a native compiler needs (gcc, headers, objc)
#    apt resolves the closure; the headers and the wasm libraries are named on top
xapt apt-get install -qq -y --download-only "libclang-cpp$V" "libllvm$V" "libstdc++6" zlib1g libzstd1 libxml2-16 libedit2 >/dev/null 2>&1 ||
  xapt apt-get install -qq -y --download-only "libclang-cpp$V" "lld-$V" >/dev/null
( cd "$A/cache/archives" && xapt apt-get download -qq "clang-$V" "lld-$V" "libclang-common-$V-dev" "libclang-rt-$V-dev-wasm32" wasi-libc )
rm -rf "$P/root" "$P/bin"; mkdir -p "$P/root" "$P/bin"
for d in "$A"/cache/archives/*.deb; do dpkg-deb -x "$d" "$P/root"; dpkg-deb -W "$d"; done | sort > "$P/versions"
rm -rf "$P/root"/usr/share/{doc,man,locale,lintian,info}

# 4. wrappers: run the suite's tools with the suite's own C library
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
rm -rf "$A"

# 5. smoke test: setjmp through the new exception handling links
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
