. "$GUESTS/toolchains/cxx.sh"
cxx "$GUESTS/catalogue/stl.cc"
