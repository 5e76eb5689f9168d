. "$GUESTS/toolchains/go.sh"
wasi_go build -o "$OUT" "$GUESTS/catalogue/go/lua.go"
