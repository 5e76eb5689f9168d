#!/bin/bash
# setup.sh PREFIX ARCH...: what it takes to build Dormouse for other processors and run it here, on Debian bookworm amd64 as
# root, from Debian's packages alone. ARCH is Debian's name: i386, s390x, arm64, armhf.
#   Installed: bookworm's cross compilers (for linking) and qemu-user.
#   Unpacked into PREFIX: rustc of $SUITE with the standard library of every ARCH. A compiler and its library must match
#   exactly, so the system's compiler cannot be used; cargo can.
# Result: PREFIX/env, a KEY=VALUE a line, with which cargo builds and runs for `--target T`; PREFIX/versions; PREFIX/ok
set -euo pipefail
P=${1:?usage: setup.sh PREFIX ARCH...}; shift
SUITE=${SUITE:-forky}
export ARCHES="$*"
ID="v1 $SUITE $ARCHES"
mkdir -p "$P"; P=$(cd "$P" && pwd)
CACHE=$P
. "$(dirname "${BASH_SOURCE[0]}")/../guests/toolchains/debian.sh"
[ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 hosts are supported"

declare -A GNU=([i386]=i686-linux-gnu [s390x]=s390x-linux-gnu [arm64]=aarch64-linux-gnu [armhf]=arm-linux-gnueabihf)
declare -A TARGET=([i386]=i686-unknown-linux-gnu [s390x]=s390x-unknown-linux-gnu [arm64]=aarch64-unknown-linux-gnu
  [armhf]=armv7-unknown-linux-gnueabihf)
declare -A QEMU=([i386]= [s390x]=qemu-s390x-static [arm64]=qemu-aarch64-static [armhf]=qemu-arm-static) # i386: this kernel runs it

# 1. cross compilers and emulators
want=(); for arch in $ARCHES; do want+=("gcc-${GNU[$arch]:-}" "libc6-dev-$arch-cross"); [ -z "${QEMU[$arch]}" ] || want+=(qemu-user-static); done
missing=$({ dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' "${want[@]}" 2>/dev/null || true; } | sed -n 's/^ii *//p' | sort -u |
  comm -13 - <(printf '%s\n' "${want[@]}" | sort -u))
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || die "it must be root, to install cross compilers and qemu-user"
  export DEBIAN_FRONTEND=noninteractive
  retry apt-get update -qq >&2
  retry apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

[ "$(cat "$P/ok" 2>/dev/null)" = "$ID" ] && { echo "already set up: $P"; exit 0; }
rm -f "$P/ok"

# 2. the compiler with what it runs on, and the standard libraries, all of one version
version=$(show "$SUITE" rustc:amd64 | sed -n 's/^Version: //p' | sort -V | tail -1)
runtime=$(show "$SUITE" "libstd-rust-dev:amd64=$version" | sed -n 's/^Depends: *\(libstd-rust-[0-9.]*\) .*/\1/p' | sort -u)
rm -rf "$P/root"
closure "$SUITE" "$P/root" "$runtime:amd64=$version"
std=(); for arch in $ARCHES; do std+=("libstd-rust-dev:$arch=$version"); done
debs "$SUITE" "$P/root" "rustc:amd64=$version" "libstd-rust-dev:amd64=$version" "${std[@]}"
mv "$P/root/versions" "$P/versions"
mkdir -p "$P/bin"
for tool in rustc rustdoc; do # run with the suite's own C library
  printf '#!/bin/sh\nexec %s\n' "$P/root/usr/lib64/ld-linux-x86-64.so.2 --argv0 $tool --library-path \
$P/root/usr/lib/x86_64-linux-gnu $P/root/usr/bin/$tool \"\$@\"" > "$P/bin/$tool"
  chmod +x "$P/bin/$tool"
done

# 3. how cargo gets at them
{
  echo "RUSTC=$P/bin/rustc"
  echo "RUSTDOC=$P/bin/rustdoc"
  for arch in $ARCHES; do
    upper=$(tr a-z- A-Z_ <<< "${TARGET[$arch]}") lower=${TARGET[$arch]//-/_}
    flags='-Ctarget-feature=+crt-static -Clink-arg=-Wl,--no-warnings' runner=${QEMU[$arch]}
    if [ "$arch" = armhf ]; then
      # Statically linked with more than 16 MB of code, memcpy's ifunc is linked wrongly (binutils 2.40): it crashes at the start.
      flags=-Clink-arg=-Wl,--no-warnings runner="$runner -L /usr/${GNU[$arch]}"
    fi
    echo "CARGO_TARGET_${upper}_LINKER=${GNU[$arch]}-gcc"
    echo "CC_$lower=${GNU[$arch]}-gcc"
    echo "AR_$lower=${GNU[$arch]}-ar"
    echo "CARGO_TARGET_${upper}_RUSTFLAGS=$flags"
    [ -z "$runner" ] || echo "CARGO_TARGET_${upper}_RUNNER=$runner"
  done
} > "$P/env"

# 4. smoke test: each target can be built for, and run
T=$(mktemp -d); trap 'rm -rf "$T"' EXIT
echo 'fn main() { println!("{} {} {}", std::env::consts::ARCH, u16::from_ne_bytes([1, 0]), usize::BITS) }' > "$T/smoke.rs"
for arch in $ARCHES; do
  upper=$(tr a-z- A-Z_ <<< "${TARGET[$arch]}")
  flags=$(sed -n "s/^CARGO_TARGET_${upper}_RUSTFLAGS=//p" "$P/env") runner=$(sed -n "s/^CARGO_TARGET_${upper}_RUNNER=//p" "$P/env")
  "$P/bin/rustc" -O --target "${TARGET[$arch]}" -C linker="${GNU[$arch]}-gcc" $flags "$T/smoke.rs" -o "$T/smoke"
  $runner "$T/smoke"
done
printf %s "$ID" > "$P/ok"
