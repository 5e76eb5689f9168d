. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm glpk "$VERSION" 4a1013eebb50f728fc601bdd833b0b2870333c3b3e5a816eeba921d95bec6f15)
echo '#define HAVE_SYS_TIME_H 1
#define HAVE_GETTIMEOFDAY 1
#define TLS' > config.h
mapfile -t files < <(find "$src/src" -name '*.c' ! -path '*/proxy/main.c' | sort)
mapfile -t includes < <(find "$src/src" -type d -printf '-I%p\n')
cc $SJLJ $EMULATED $NONE -DHAVE_CONFIG_H -I. "${includes[@]}" "${files[@]}" "$GUESTS/catalogue/glpk.c"
