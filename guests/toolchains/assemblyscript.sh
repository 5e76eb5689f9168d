# assemblyscript.sh: sourced; the AssemblyScript compiler and its WASI shim from npm, pinned: 105 MB unpacked into $CACHE/assemblyscript.
# Afterwards `wasi_asc` is the compiler.
. "$GUESTS/toolchains/debian.sh"
ASC_VERSION=0.28.2 SHIM_VERSION=0.1.0
(
  flock 8
  A=$CACHE/assemblyscript
  [ "$(cat "$A/ok" 2>/dev/null)" != "$ASC_VERSION $SHIM_VERSION" ] || exit 0
  rm -rf "$A" && mkdir -p "$A" && cd "$A" && echo '{ "private": true }' > package.json
  retry npm install --silent --ignore-scripts --no-audit --no-fund --save-exact \
    "assemblyscript@$ASC_VERSION" "@assemblyscript/wasi-shim@$SHIM_VERSION" >&2
  echo "$ASC_VERSION $SHIM_VERSION" > ok
) 8> "$CACHE/assemblyscript.lock"
# The program must lie in the current directory: its path is part of the module, and of no other.
wasi_asc() {
  ln -sfn "$CACHE/assemblyscript/node_modules" node_modules
  nice node node_modules/assemblyscript/bin/asc.js --config ./node_modules/@assemblyscript/wasi-shim/asconfig.json "$@"
}
