#include "check.h"

CHECK(no_sockets) {
    u32 file = must_open("file", 0, READ);
    for (u32 fd = 0; fd < 7; fd++) SAY("shutdown", sock_shutdown(fd, 1));
    SAY("file", sock_shutdown(file, 2));
    SAY("not open", sock_shutdown(77, 3));
}

CHECK(how) {
    for (u32 how = 0; how < 4; how++) SAY("shutdown", sock_shutdown(STDIN, how));
}

BAD(unknown, sock_shutdown(STDIN, 4))
BAD(too_large, sock_shutdown(STDIN, 0x101))
BAD(unknown_not_open, sock_shutdown(77, 4))
