#include "check.h"

static u8 buf[16];
static u32 n;
static iovec v;

CHECK(no_sockets) {
    v = (iovec){P(buf), sizeof buf};
    u32 file = must_open("file", 0, WRITE);
    SAY("stdout", sock_send(STDOUT, P(&v), 1, 0, P(&n)));
    SAY("directory", sock_send(WORK, P(&v), 1, 0, P(&n)));
    SAY("file", sock_send(file, P(&v), 1, 0, P(&n)));
    SAY("not open", sock_send(77, P(&v), 1, 0, P(&n)));
}

CHECK(send_flags) {
    SAY("one", sock_send(STDOUT, P(&v), 1, 1, P(&n)));
    SAY("all", sock_send(STDOUT, P(&v), 1, 0xffff, P(&n)));
    SAY("one, not open", sock_send(77, P(&v), 1, 1, P(&n)));
}

BAD(too_large, sock_send(STDOUT, P(&v), 1, 0x10000, P(&n)))
BAD(buffers_outside, sock_send(STDOUT, 0xffffffff, 1, 0, P(&n)))
BAD(result_outside, sock_send(STDOUT, P(&v), 1, 0, 0xffffffff))
