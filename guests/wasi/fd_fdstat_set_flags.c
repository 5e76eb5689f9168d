#include "check.h"

static void say(u32 fd) {
    fdstat s;
    MUST(fd_fdstat_get(fd, P(&s)));
    SAYN("flags", s.flags);
}

CHECK(every_flag) {
    u32 fd = must_open("file", 0, READ | WRITE);
    for (u32 flags = 0; flags < 32; flags++) SAY("set", fd_fdstat_set_flags(fd, flags)), say(fd);
}

CHECK(append) {
    u32 fd = must_open("file", 0, READ | WRITE);
    must_write(fd, "ab");
    SAY("append", fd_fdstat_set_flags(fd, APPEND));
    SAYN("position", tell(fd));
    must_write(fd, "end");
    SAYN("position", tell(fd));
    SAY("no longer", fd_fdstat_set_flags(fd, 0));
    seek(fd, 2, SET);
    must_write(fd, "c");
    SAYN("position", tell(fd));
    say_contents(WORK, "file");
}

CHECK(append_opened_so) {
    u32 fd;
    MUST(open_at(WORK, "file", 0, READ | WRITE, APPEND, &fd));
    say(fd);
    must_write(fd, "1");
    SAY("nonblock instead", fd_fdstat_set_flags(fd, NONBLOCK));
    say(fd);
    seek(fd, 0, SET);
    must_write(fd, "2");
    say_contents(WORK, "file");
}

CHECK(one_descriptor_of_two) {
    u32 a = must_open("file", 0, WRITE), b = must_open("file", 0, WRITE);
    MUST(fd_fdstat_set_flags(a, APPEND));
    must_write(b, "b");
    must_write(a, "a");
    say_contents(WORK, "file");
}

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) SAY("set", fd_fdstat_set_flags(fd, 0));
    SAY("append to a directory", fd_fdstat_set_flags(WORK, APPEND));
    SAY("not open", fd_fdstat_set_flags(77, NONBLOCK));
}

BAD(unknown, fd_fdstat_set_flags(must_open("file", 0, READ), 32))
BAD(too_large, fd_fdstat_set_flags(must_open("file", 0, READ), 0x10000))
BAD(unknown_not_open, fd_fdstat_set_flags(77, 32))
