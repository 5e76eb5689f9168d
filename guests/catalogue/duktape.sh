. "$GUESTS/toolchains/c.sh"
src=$(orig bookworm duktape "$VERSION" 90f8d2fa8b5567c6899830ddef2c03f3c27960b11aca222fa17aa7ac613c2890)
cc $SJLJ $EMULATED -DDUK_CMDLINE_PRINTALERT_SUPPORT -I"$src"/{src,examples/cmdline,extras/print-alert} \
  "$src"/{src/duktape,examples/cmdline/duk_cmdline,extras/print-alert/duk_print_alert}.c
