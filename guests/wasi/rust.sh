# rust.sh: sourced with bash; $SOURCE, a program of this folder, to $OUT. Only rustc and the standard library are needed.
. "$GUESTS/toolchains/rust.sh"
"$R/rustc" --target wasm32-wasip1 --edition 2024 -O -C strip=debuginfo -C linker="$R/wasm-ld" "$SOURCE" -o "$OUT"
