. "$GUESTS/toolchains/zig.sh"
zig build-exe -target wasm32-wasi -O ReleaseSafe -femit-bin="$OUT" "$GUESTS/catalogue/raytrace.zig"
