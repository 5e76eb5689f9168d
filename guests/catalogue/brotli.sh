. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm brotli "$VERSION" f9e8d81d0405ba66d181529af42a3354f838c939095ff99930da6aa9cdf6fe46)
cc $EMULATED $NONE -I"$src/c/include" "$src"/c/{common,dec,enc}/*.c "$src/c/tools/brotli.c"
