. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm bzip2 "$VERSION" ab5a03176ee106d3f0fa90e381da478ddae405918153cca248e682cd0c4a2269)
cc $EMULATED $NONE "$src"/{blocksort,bzip2,bzlib,compress,crctable,decompress,huffman,randtable}.c
