. "$GUESTS/toolchains/cxx.sh"
src=$(orig bookworm lzip "$VERSION" d269d8e204579cb7047d6187bce741acb484a27e24cf24f20cf017c48574147c)
cxx $EMULATED $NONE -DPROGVERSION="\"$VERSION\"" "$src"/{arg_parser,decoder,encoder,encoder_base,fast_encoder,list,lzip_index,main}.cc
