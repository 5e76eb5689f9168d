. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm picosat "$VERSION" 15169b4f28ba8f628f353f6f75a100845cdef4a2244f101a02b6e5a26e46a754)
printf '#define PICOSAT_CC "clang"\n#define PICOSAT_CFLAGS ""\n#define PICOSAT_VERSION "%s"\n' "$VERSION" > config.h
mkdir sys && echo '#include <unistd.h>' > sys/unistd.h
cc $EMULATED $NONE -DNDEBUG -I. -I"$src" "$src"/{picosat,version,app,main}.c
