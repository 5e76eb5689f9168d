# Sourced by cjpeg.sh and djpeg.sh, which say what MAIN is.
. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm libjpeg-turbo "$VERSION" 254f3642b04e309fee775123133c6464181addc150499561020312ec61c1bf7c)
echo '#define JPEG_LIB_VERSION 62
#define LIBJPEG_TURBO_VERSION 2.1.5
#define LIBJPEG_TURBO_VERSION_NUMBER 2001005
#define C_ARITH_CODING_SUPPORTED 1
#define D_ARITH_CODING_SUPPORTED 1
#define MEM_SRCDST_SUPPORTED 1
#define BITS_IN_JSAMPLE 8' > jconfig.h
echo '#define BUILD "guest"
#define INLINE inline
#define THREAD_LOCAL
#define PACKAGE_NAME "libjpeg-turbo"
#define VERSION "2.1.5"
#define SIZEOF_SIZE_T 4
#define HAVE_BUILTIN_CTZL 1
#define FALLTHROUGH' > jconfigint.h
sed 's/@COPYRIGHT_YEAR@/2023/' "$src/jversion.h.in" > jversion.h
cc $SJLJ -DPPM_SUPPORTED -DGIF_SUPPORTED -DBMP_SUPPORTED -DTARGA_SUPPORTED -I. -I"$src" \
  "$src"/{jaricom,jcapimin,jcapistd,jcarith,jccoefct,jccolor,jcdctmgr,jchuff,jcicc,jcinit,jcmainct,jcmarker,jcmaster,jcomapi,jcparam}.c \
  "$src"/{jcphuff,jcprepct,jcsample,jctrans,jdapimin,jdapistd,jdarith,jdatadst,jdatasrc,jdcoefct,jdcolor,jddctmgr,jdhuff,jdicc,jdinput}.c \
  "$src"/{jdmainct,jdmarker,jdmaster,jdmerge,jdphuff,jdpostct,jdsample,jdtrans,jerror,jfdctflt,jfdctfst,jfdctint,jidctflt,jidctfst}.c \
  "$src"/{jidctint,jidctred,jmemmgr,jmemnobs,jquant1,jquant2,jsimd_none,jutils}.c "${MAIN[@]/#/$src/}"
