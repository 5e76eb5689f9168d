. "$GUESTS/toolchains/assemblyscript.sh"
cp "$GUESTS/catalogue/life.ts" .
wasi_asc life.ts -O2 --enable simd --runtime incremental -o "$OUT"
