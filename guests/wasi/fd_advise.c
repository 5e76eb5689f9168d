#include "check.h"

CHECK(every_advice) {
    u32 fd = must_open("file", 0, READ);
    for (u32 advice = 0; advice < 6; advice++) SAY("advise", fd_advise(fd, 0, 4, advice));
}

CHECK(ranges) {
    u32 fd = must_open("file", 0, READ | WRITE);
    SAY("nothing", fd_advise(fd, 0, 0, 3));
    SAY("beyond the end", fd_advise(fd, 100, 100, 3));
    SAY("longest", fd_advise(fd, 0, 0x7fffffffffffffff, 0));
    SAY("too long", fd_advise(fd, 0, 0x8000000000000000, 0));
    SAY("all bits", fd_advise(fd, ~0ull, ~0ull, 0));
    SAY("far", fd_advise(fd, 0x7fffffffffffffff, 1, 0));
    SAY("sum too large", fd_advise(fd, 0x7fffffffffffffff, 0x7fffffffffffffff, 0));
}

CHECK(not_files) {
    SAY("stdin", fd_advise(STDIN, 0, 0, 0));
    SAY("stdout", fd_advise(STDOUT, 0, 0, 0));
    SAY("directory", fd_advise(WORK, 0, 0, 0));
    SAY("not open", fd_advise(77, 0, 0, 0));
}

BAD(unknown, fd_advise(must_open("file", 0, READ), 0, 4, 6))
BAD(too_large, fd_advise(must_open("file", 0, READ), 0, 4, 0x100))
BAD(not_open_unknown, fd_advise(77, 0, 0, 9))
