#include "check.h"

static u8 buf[16];
static u32 n, flags;
static iovec v;

CHECK(no_sockets) {
    v = (iovec){P(buf), sizeof buf};
    u32 file = must_open("file", 0, READ);
    SAY("stdin", sock_recv(STDIN, P(&v), 1, 0, P(&n), P(&flags)));
    SAY("directory", sock_recv(WORK, P(&v), 1, 0, P(&n), P(&flags)));
    SAY("file", sock_recv(file, P(&v), 1, 0, P(&n), P(&flags)));
    SAY("not open", sock_recv(77, P(&v), 1, 0, P(&n), P(&flags)));
}

CHECK(receive_flags) {
    SAY("all", sock_recv(STDIN, P(&v), 1, 3, P(&n), P(&flags)));
}

BAD(unknown, sock_recv(STDIN, P(&v), 1, 4, P(&n), P(&flags)))
BAD(too_large, sock_recv(STDIN, P(&v), 1, 0x10000, P(&n), P(&flags)))
BAD(unknown_not_open, sock_recv(77, P(&v), 1, 4, P(&n), P(&flags)))
BAD(buffers_outside, sock_recv(STDIN, 0xffffffff, 1, 0, P(&n), P(&flags)))
BAD(results_outside, sock_recv(STDIN, P(&v), 1, 0, 0xffffffff, 0xffffffff))
