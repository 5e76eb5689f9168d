#include "check.h"

static void say(u32 fd) {
    fdstat s;
    MUST(fd_fdstat_get(fd, P(&s)));
    SAYN("rights", s.base);
}

CHECK(the_same) {
    u32 fd = must_open("file", 0, READ | WRITE);
    fdstat s;
    MUST(fd_fdstat_get(fd, P(&s)));
    SAY("set", fd_fdstat_set_rights(fd, s.base, s.inheriting));
    MUST(fd_fdstat_get(WORK, P(&s)));
    SAY("set", fd_fdstat_set_rights(WORK, s.base, s.inheriting));
}

CHECK(fewer) {
    u32 fd = must_open("file", 0, READ | WRITE), n;
    char c[4];
    SAY("only reading", fd_fdstat_set_rights(fd, READ, READ)), say(fd);
    SAY("write", write_fd(fd, "x", 1, &n));
    SAY("none", fd_fdstat_set_rights(fd, 0, 0)), say(fd);
    SAY("read", read_fd(fd, c, 4, &n));
    SAY("seek", fd_seek(fd, 0, SET, P(arguments)));
}

CHECK(more) {
    u32 fd = must_open("file", 0, READ), n;
    SAY("writing", fd_fdstat_set_rights(fd, READ | WRITE, 0)), say(fd);
    SAY("write", write_fd(fd, "x", 1, &n));
}

BAD(unknown, fd_fdstat_set_rights(WORK, 1ull << 30, 0))
BAD(unknown_inheriting, fd_fdstat_set_rights(WORK, 0, 1ull << 63))
BAD(unknown_not_open, fd_fdstat_set_rights(77, 1ull << 30, 0))

CHECK(others) {
    for (u32 fd = 0; fd < 7; fd++) SAY("set", fd_fdstat_set_rights(fd, 0, 0));
    SAY("not open", fd_fdstat_set_rights(0xffffffff, 0, 0));
}

CHECK(without_a_right) {
    // Rights are reported and only reading and writing are asked for: see docs/wasi.md.
    u32 fd = must_open("file", 0, READ), n;
    SAY("write without the right to", write_fd(fd, "x", 1, &n));
    SAY("cut without the right to", fd_filestat_set_size(fd, 3));
    SAY("pwrite", fd_pwrite(fd, P(arguments), 0, 0, P(&n)));
    u32 out = must_open("file", 0, WRITE);
    char c;
    SAY("read without the right to", read_fd(out, &c, 1, &n));
    SAY("cut", fd_filestat_set_size(out, 3));
    SAY("listing without the right to", fd_readdir(out, P(arguments), 100, 0, P(&n)));
    u32 dir;
    MUST(path_open(WORK, 0, PATH("dir"), DIRECTORY, 0, 0, 0, P(&dir)));
    SAY("create without the right to", path_create_directory(dir, PATH("made")));
    SAY("list without the right to", fd_readdir(dir, P(arguments), 100, 0, P(&n)));
    SAY("open without the right to", open_at(dir, "nested/file", 0, READ, 0, &out));
}
