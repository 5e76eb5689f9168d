# cxx.sh: sourced by the scripts of C++ programs; afterwards `cxx` compiles C++20 with exceptions of the new kind (try_table).
# Debian's libc++ for wasm32 is built without exceptions, so libc++, libc++abi and the unwinder are built here by $CC from the
# sources that PyPI's ziglang carries: a minute or two, into $CACHE/cxx.
. "$GUESTS/toolchains/c.sh"
. "$GUESTS/toolchains/zig.sh"
LIBCXX=$ZIG/ziglang/lib
CXXFLAGS="-x c++ -std=c++20 -fwasm-exceptions -mllvm -wasm-use-legacy-eh=false -w -nostdinc++
  -include $CACHE/cxx/__config_site -isystem $LIBCXX/libcxx/include -isystem $LIBCXX/libcxxabi/include"
(
  flock 8
  [ "$(cat "$CACHE/cxx/ok" 2>/dev/null)" != "v1 $ZIG_VERSION" ] || exit 0
  rm -rf "$CACHE/cxx" && mkdir -p "$CACHE/cxx" && cd "$CACHE/cxx"
  cat > __config_site <<'C'
#define _LIBCPP_ABI_VERSION 1
#define _LIBCPP_ABI_NAMESPACE __1
#define _LIBCPP_HAS_THREADS 0
#define _LIBCPP_HAS_MONOTONIC_CLOCK 1
#define _LIBCPP_HAS_TERMINAL 0
#define _LIBCPP_HAS_MUSL_LIBC 1
#define _LIBCPP_HAS_THREAD_API_PTHREAD 0
#define _LIBCPP_HAS_THREAD_API_EXTERNAL 0
#define _LIBCPP_HAS_THREAD_API_WIN32 0
#define _LIBCPP_HAS_THREAD_API_C11 0
#define _LIBCPP_HAS_VENDOR_AVAILABILITY_ANNOTATIONS 0
#define _LIBCPP_HAS_FILESYSTEM 1
#define _LIBCPP_HAS_RANDOM_DEVICE 1
#define _LIBCPP_HAS_LOCALIZATION 1
#define _LIBCPP_HAS_UNICODE 1
#define _LIBCPP_HAS_WIDE_CHARACTERS 1
#define _LIBCPP_HAS_TIME_ZONE_DATABASE 0
#define _LIBCPP_PSTL_BACKEND_SERIAL
#define _LIBCPP_HARDENING_MODE_DEFAULT 2
#define _LIBCPP_LIBC_NEWLIB 0
C
  compile() { # FILES: each on its own, two at a time
    printf '%s\n' "$@" | xargs -P2 -I{} sh -c 'nice '"$CC"' -O2 -c '"$FLAGS"' "$1" -o "$(basename "$1").o"' _ {}
  }
  x=$LIBCXX/libcxx/src a=$LIBCXX/libcxxabi/src
  DEFINES="-D_LIBCPP_BUILDING_LIBRARY -DLIBCXX_BUILDING_LIBCXXABI -D_LIBCXXABI_BUILDING_LIBRARY -D_LIBCXXABI_HAS_NO_THREADS
    -DLIBCXXABI_NON_DEMANGLING_TERMINATE -D_LIBCPP_ENABLE_CXX17_REMOVED_UNEXPECTED_FUNCTIONS -D__WASM_EXCEPTIONS__ -DLIBC_NAMESPACE=__llvm_libc_common_utils"
  FLAGS=$(echo "$CXXFLAGS -std=c++23 $DEFINES -I$x -I$LIBCXX/libcxx/libc -I$a -I$LIBCXX/libunwind/include" | tr '\n' ' ')
  compile "$x"/{algorithm,any,bind,call_once,charconv,chrono,error_category,exception,expected,functional,hash,ios,ios.instantiations,iostream}.cpp \
    "$x"/{fstream,locale,memory,memory_resource,new,new_handler,new_helpers,optional,ostream,print,random,regex,stdexcept,string,strstream}.cpp \
    "$x"/{system_error,typeinfo,valarray,variant,vector,verbose_abort,ryu/d2fixed,ryu/d2s,ryu/f2s}.cpp \
    "$a"/{abort_message,cxa_aux_runtime,cxa_default_handlers,cxa_demangle,cxa_exception,cxa_exception_storage,cxa_guard}.cpp \
    "$a"/{cxa_handlers,cxa_personality,cxa_vector,cxa_virtual,fallback_malloc,private_typeinfo,stdlib_exception}.cpp \
    "$a"/{stdlib_stdexcept,stdlib_typeinfo}.cpp
  FLAGS="-fwasm-exceptions -mllvm -wasm-use-legacy-eh=false -D__WASM_EXCEPTIONS__ -D_LIBUNWIND_HAS_NO_THREADS -D_LIBUNWIND_HIDE_SYMBOLS -DNDEBUG -I$LIBCXX/libunwind/include"
  compile "$LIBCXX/libunwind/src/Unwind-wasm.c"
  zig ar rcs libcxx.a ./*.o
  rm ./*.o
  echo "v1 $ZIG_VERSION" > ok
) 8> "$CACHE/cxx.lock"
# The sources after the flags; what is to be linked is put behind them.
cxx() { nice $CC -O2 $CXXFLAGS "$@" -x none "$CACHE/cxx/libcxx.a" -o "$OUT"; }
