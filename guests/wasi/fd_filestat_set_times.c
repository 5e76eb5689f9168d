#include "check.h"

static filestat s;

static void say(u32 fd) {
    MUST(fd_filestat_get(fd, P(&s)));
    SAYN("atime", s.atim), SAYN("mtime", s.mtim);
}

CHECK(given) {
    u32 fd = must_open("file", 0, READ | WRITE);
    SAY("both", fd_filestat_set_times(fd, 1000000001, 2000000002, ATIM | MTIM)), say(fd);
    SAY("atime", fd_filestat_set_times(fd, 3000000003, 77, ATIM)), say(fd);
    SAY("mtime", fd_filestat_set_times(fd, 77, 4000000004, MTIM)), say(fd);
    SAY("none", fd_filestat_set_times(fd, 77, 77, 0)), say(fd);
    SAY("zero", fd_filestat_set_times(fd, 0, 0, ATIM | MTIM)), say(fd);
    SAY("years away", fd_filestat_set_times(fd, 4102444800123456789, 4102444800123456789, ATIM | MTIM)), say(fd);
}

CHECK(now) {
    u32 fd = must_open("file", 0, READ | WRITE);
    u64 now;
    MUST(fd_filestat_set_times(fd, 5, 5, ATIM | MTIM));
    SAY("mtime", fd_filestat_set_times(fd, 77, 77, MTIM_NOW));
    MUST(fd_filestat_get(fd, P(&s)));
    MUST(clock_time_get(0, 0, P(&now)));
    SAYN("atime", s.atim);
    SAYN("mtime is recent", s.mtim > now - 100000000000 && s.mtim < now + 10000000000);
    SAY("atime", fd_filestat_set_times(fd, 77, 6, ATIM_NOW | MTIM));
    MUST(fd_filestat_get(fd, P(&s)));
    SAYN("atime is recent", s.atim > now - 100000000000 && s.atim < now + 10000000000);
    SAYN("mtime", s.mtim);
}

CHECK(contradictions) {
    u32 fd = must_open("file", 0, READ | WRITE);
    for (u32 flags = 0; flags < 16; flags++) SAY("set", fd_filestat_set_times(fd, 5, 5, flags));
    SAY("not open", fd_filestat_set_times(77, 5, 5, 3));
}

BAD(unknown, fd_filestat_set_times(must_open("file", 0, READ), 5, 5, 16))
BAD(too_large, fd_filestat_set_times(must_open("file", 0, READ), 5, 5, 0x10000))
BAD(not_open_unknown, fd_filestat_set_times(77, 5, 5, 16))

CHECK(latest) {
    u32 fd = must_open("file", 0, WRITE);
    // What the file system keeps of it differs.
    SAY("all bits", fd_filestat_set_times(fd, ~0ull, ~0ull, ATIM | MTIM));
}

CHECK(not_for_writing) {
    u32 fd = must_open("file", 0, READ);
    SAY("set", fd_filestat_set_times(fd, 7, 7, ATIM | MTIM)), say(fd);
}

CHECK(directories) {
    u32 fd;
    MUST(open_at(WORK, "dir", DIRECTORY, READ, 0, &fd));
    SAY("directory", fd_filestat_set_times(fd, 8, 9, ATIM | MTIM)), say(fd);
    SAY("preopen", fd_filestat_set_times(OTHER, 10, 11, ATIM | MTIM)), say(OTHER);
}

CHECK(streams) {
    for (u32 fd = 0; fd < 3; fd++) SAY("set", fd_filestat_set_times(fd, 5, 5, ATIM | MTIM));
}
