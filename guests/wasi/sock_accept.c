#include "check.h"

static u32 n;

CHECK(no_sockets) {
    u32 file = must_open("file", 0, READ);
    SAY("stdin", sock_accept(STDIN, 0, P(&n)));
    SAY("stdout", sock_accept(STDOUT, 0, P(&n)));
    SAY("directory", sock_accept(WORK, 0, P(&n)));
    SAY("file", sock_accept(file, NONBLOCK, P(&n)));
    SAY("not open", sock_accept(77, 0, P(&n)));
    SAY("no descriptor", sock_accept(0xffffffff, 0, P(&n)));
}

CHECK(flags) {
    SAY("all", sock_accept(STDIN, 31, P(&n)));
}

BAD(unknown, sock_accept(STDIN, 32, P(&n)))
BAD(too_large, sock_accept(STDIN, 0x10000, P(&n)))
BAD(unknown_not_open, sock_accept(77, 64, P(&n)))
BAD(outside, sock_accept(STDIN, 0, 0xffffffff))
