. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm libzstd "$VERSION" 8cf4bbb65e77ec348d052c8d6230eba66d435bddf64c8b5be2fcb16880c19953)
cc $EMULATED $NONE -DZSTD_DISABLE_ASM -DZSTD_NOBENCH -DZSTD_NODICT -DZSTD_NOTRACE -DBACKTRACE_ENABLE=0 -DPLATFORM_POSIX_VERSION=0 \
  "$src"/lib/{common,compress,decompress}/*.c "$src"/programs/{zstdcli,util,timefn,fileio,fileio_asyncio}.c
