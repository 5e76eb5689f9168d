# zig.sh: sourced; Zig from PyPI (ziglang, pinned), where `cargo xtask setup --zig` keeps it, too: 85 MB to download, 380 MB
# unpacked. Afterwards `zig` is the compiler. cxx.sh takes the sources of libc++ out of it.
. "$GUESTS/toolchains/debian.sh"
ZIG_VERSION=0.15.2
ZIG=$(realpath -m "$CACHE/../pypi/ziglang-$ZIG_VERSION")
(
  flock 8
  [ -e "$ZIG" ] || {
    retry python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --no-compile \
      --only-binary :all: --target "$ZIG.part" "ziglang==$ZIG_VERSION" >&2
    mv "$ZIG.part" "$ZIG"
  }
  chmod +x "$ZIG/ziglang/zig"
) 8> "$CACHE/zig.lock"
zig() {
  ZIG_GLOBAL_CACHE_DIR=$CACHE/zig ZIG_LOCAL_CACHE_DIR=$PWD/zig-build nice "$ZIG/ziglang/zig" "$@"
}
