#include "check.h"

static u64 at;
static u32 say(u32 fd, i64 offset, u32 whence) {
    at = 0xdead;
    u32 e = SAY("seek", fd_seek(fd, offset, whence, P(&at)));
    SAYN("answer", at);
    return e;
}

CHECK(whence) {
    u32 fd = must_open("file", 0, READ);
    say(fd, 4, SET), say(fd, 3, CUR), say(fd, -2, CUR), say(fd, 0, END), say(fd, -10, END), say(fd, 5, END);
    SAYN("position", tell(fd));
}

CHECK(before_the_beginning) {
    u32 fd = must_open("file", 0, READ);
    seek(fd, 3, SET);
    say(fd, -1, SET), say(fd, -4, CUR), say(fd, -11, END), say(fd, 0x8000000000000000, SET), say(fd, 0x8000000000000000, CUR);
    SAYN("position", tell(fd));
}

CHECK(far) {
    u32 fd = must_open("file", 0, READ), n;
    char c;
    say(fd, 0x7fffffffffffffff, SET), say(fd, 0x7fffffffffffffff, CUR), say(fd, 1, CUR), say(fd, 1, CUR);
    SAY("read", read_fd(fd, &c, 1, &n));
    SAYN("position", tell(fd));
}

CHECK(size_of_the_moment) {
    u32 fd = must_open("file", 0, READ | WRITE);
    say(fd, 0, END);
    must_write(fd, "more");
    seek(fd, 0, SET);
    say(fd, -1, END);
}

CHECK(append) {
    u32 fd;
    MUST(open_at(WORK, "file", 0, READ | WRITE, APPEND, &fd));
    say(fd, 0, CUR), say(fd, 2, SET), say(fd, 0, END);
}

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) say(fd, 0, CUR);
    say(must_open("dir", 0, READ), 0, SET), say(77, 0, SET);
}

BAD(unknown, fd_seek(must_open("file", 0, READ), 0, 3, P(&at)))
BAD(too_large, fd_seek(must_open("file", 0, READ), 0, 0x100, P(&at)))
BAD(unknown_not_open, fd_seek(77, 0, 9, P(&at)))
BAD(outside, fd_seek(must_open("file", 0, READ), 0, SET, memory_end() - 7))
BAD(misaligned, fd_seek(must_open("file", 0, READ), 0, SET, P(&at) + 4))
BAD(stream_outside, fd_seek(STDIN, 0, SET, 0xffffffff))
BAD(whence_outside, fd_seek(WORK, 0, 3, 0xffffffff))
