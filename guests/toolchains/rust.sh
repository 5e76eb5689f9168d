# rust.sh: rustc, its standard library for wasm32-wasip1 (it brings a C library of its own) and for this machine (build scripts
# and procedural macros run here), and lld, from Debian sid, unpacked into $CACHE/rust and run with sid's own C library. The
# system's cargo drives them. 280 MB to download, 600 MB unpacked, as much again for what is built.
# Sourced; afterwards `driver NAME` builds one of catalogue/rust/src/bin, whose dependencies catalogue/rust/Cargo.lock pins, and
# `published CRATE COMMAND` the command of that crate at $VERSION as it is, with the Cargo.lock that it was published with.
. "$GUESTS/toolchains/debian.sh"
R=$CACHE/rust
(
  flock 8
  if [ "$(cat "$R/ok" 2>/dev/null)" != v1 ]; then
    rm -rf "$R"
    version=$(APT_CONFIG=$(state sid) apt-cache show rustc/sid | awk '/^Version:/{print $2; exit}')
    std=libstd-rust-$(cut -d. -f1,2 <<< "$version")
    llvm=$(APT_CONFIG=$(state sid) apt-cache show "$std/sid" | sed -n 's/^Depends:.*libllvm\([0-9]*\).*/\1/p' | head -1)
    debs sid "$R" rustc libstd-rust-dev libstd-rust-dev-wasm32 "$std" "libllvm$llvm" "lld-$llvm" libc6 libgcc-s1 libstdc++6 \
      libedit2 libffi8 libxml2-16 libz3-4 libzstd1 zlib1g libtinfo6 libbsd0 libmd0
    rm -rf "$R"/usr/lib/rustlib/wasm32-{unknown-unknown,wasip2} "$R/usr/bin/rustdoc" "$R/usr/share/doc"
    LIBS=$R/usr/lib/x86_64-linux-gnu:$R/usr/lib/llvm-$llvm/lib LD=$R/usr/lib64/ld-linux-x86-64.so.2
    printf '#!/bin/sh\nexec %s\n' \
      "$LD --argv0 $R/usr/bin/rustc --library-path $LIBS $R/usr/bin/rustc --sysroot $R/usr \"\$@\"" > "$R/rustc"
    printf '#!/bin/sh\nexec %s\n' \
      "$LD --argv0 wasm-ld --library-path $LIBS $R/usr/lib/llvm-$llvm/bin/lld \"\$@\"" > "$R/wasm-ld"
    chmod +x "$R/rustc" "$R/wasm-ld"
    echo v1 > "$R/ok"
  fi
) 8> "$CACHE/rust.lock"
wasi_cargo() {
  local command=$1; shift
  env -u RUSTFLAGS -u CARGO_ENCODED_RUSTFLAGS RUSTC="$R/rustc" CARGO_TARGET_WASM32_WASIP1_LINKER="$R/wasm-ld" \
    CARGO_TARGET_DIR="$R/target" CARGO_BUILD_JOBS="${CARGO_BUILD_JOBS:-2}" CARGO_INCREMENTAL=0 \
    nice cargo "$command" --quiet --locked --target wasm32-wasip1 "$@"
}
driver() {
  wasi_cargo build --release --manifest-path "$GUESTS/catalogue/rust/Cargo.toml" --bin "$1"
  cp "$R/target/wasm32-wasip1/release/$1.wasm" "$OUT"
}
published() { # CRATE COMMAND [CARGO ARGUMENTS]
  local crate=$1 command=$2; shift 2
  wasi_cargo install --root installed --no-track --version "=$VERSION" "$crate" "$@"
  cp "installed/bin/$command.wasm" "$OUT"
}
