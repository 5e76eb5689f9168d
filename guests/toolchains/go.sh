# go.sh: Go from bookworm-backports (it runs on bookworm's C library as it is), and libraries in Go from bookworm, unpacked into
# $CACHE/go and $CACHE/golibs. 50 MB to download, 350 MB unpacked; what is compiled is kept in $CACHE/go/build.
# Sourced; afterwards `wasi_go` compiles for wasip1 and finds the libraries by their import paths.
. "$GUESTS/toolchains/debian.sh"
GO_VERSION=1.23 GO_LIBS="golang-github-cespare-xxhash-dev
  golang-github-yuin-goldmark-dev golang-github-yuin-gopher-lua-dev golang-github-klauspost-compress-dev"
(
  flock 8
  if [ ! -e "$CACHE/go/ok" ]; then
    rm -rf "$CACHE/go"
    debs bookworm-backports "$CACHE/go" golang-$GO_VERSION-go golang-$GO_VERSION-src
    rm -rf "$CACHE/go/usr/share/go-$GO_VERSION/test"
    touch "$CACHE/go/ok"
  fi
  if [ "$(cat "$CACHE/golibs/ok" 2>/dev/null)" != "$GO_LIBS" ]; then
    rm -rf "$CACHE/golibs"
    debs bookworm "$CACHE/golibs" $GO_LIBS
    echo "$GO_LIBS" > "$CACHE/golibs/ok"
  fi
) 8> "$CACHE/go.lock"
wasi_go() {
  env GOROOT="$CACHE/go/usr/lib/go-$GO_VERSION" GOPATH="$CACHE/golibs/usr/share/gocode" GO111MODULE=off GOTOOLCHAIN=local \
    GOPROXY=off GOFLAGS="-trimpath -buildvcs=false" GOCACHE="$CACHE/go/build" GOENV=off GOMAXPROCS=2 GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 \
    nice "$CACHE/go/usr/lib/go-$GO_VERSION/bin/go" "$@"
}
