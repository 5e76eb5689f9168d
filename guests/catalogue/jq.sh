. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm jq "$VERSION" 3ba940b97571c866923f0409678033d33b5a98758dfc174fad8397ed908bc4d9)
mkdir src && cp "$src"/src/*.[ch] src/
echo '#define JQ_VERSION "1.6"' > src/version.h
# builtin.inc: the library in jq's own language as one C string
sed -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/^/"/' -e 's/$/\\n"/' "$src/src/builtin.jq" > src/builtin.inc
echo "struct passwd { char *pw_dir; }; static inline struct passwd *getpwnam(const char *n) { return 0; }
  static inline struct passwd *getpwuid(int id) { return 0; }" > pwd.h
cc $EMULATED $NONE -D_GNU_SOURCE -DNDEBUG -DIEEE_8087 -DHAVE_MEMMEM -DHAVE_TIMEGM -DHAVE_GMTIME_R -DHAVE_FLOOR -DHAVE_SQRT -DHAVE_POW -DHAVE_LOG -DHAVE_EXP -DHAVE_SIN -DHAVE_COS -I. -Isrc \
  src/{builtin,bytecode,compile,execute,jv,jv_alloc,jv_aux,jv_dtoa,jv_file,jv_parse,jv_print,jv_unicode,linker,locfile,util,lexer,parser,jq_test,main}.c
