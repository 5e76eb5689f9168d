#include "check.h"

static u32 n;
static char buf[16];

CHECK(over_an_open_one) {
    u32 a = must_open("file", 0, READ), b = must_open("dir/nested/file", 0, READ);
    seek(a, 4, SET);
    SAY("renumber", fd_renumber(a, b));
    SAY("the old number", read_fd(a, buf, 2, &n));
    SAY("the new one", read_fd(b, buf, 2, &n)), SAYS("it", buf, n);
    SAYN("next", must_open("file", 0, READ));
    SAYN("next", must_open("file", 0, READ));
}

CHECK(to_itself) {
    u32 a = must_open("file", 0, READ);
    SAY("renumber", fd_renumber(a, a));
    SAY("read", read_fd(a, buf, 2, &n)), SAYS("it", buf, n);
    SAY("a stream", fd_renumber(STDIN, STDIN));
}

CHECK(not_open) {
    u32 a = must_open("file", 0, READ);
    SAY("from", fd_renumber(77, a));
    SAY("to", fd_renumber(a, 77));
    SAY("both", fd_renumber(77, 77));
    SAY("to all bits", fd_renumber(a, 0xffffffff));
    SAY("still there", read_fd(a, buf, 2, &n));
}

CHECK(to_a_closed_number) {
    u32 a = must_open("file", 0, READ), b = must_open("file", 0, READ);
    MUST(fd_close(b));
    SAY("renumber", fd_renumber(a, b));
}

CHECK(stdout_into_a_file) {
    u32 log = must_open("log", CREAT, WRITE);
    PUT("before\n");
    u32 e = fd_renumber(log, STDOUT);
    SAY("renumber", e);
    PUT("into the file\n");
    SAYN("position", tell(STDOUT));
}

CHECK(streams_swapped) {
    SAY("stdout is stderr now", fd_renumber(STDERR, STDOUT));
    PUT("to stderr\n");
    SAY("no stderr", write_fd(STDERR, "x", 1, &n));
}

CHECK(stdin_into_a_file) {
    u32 fd = must_open("file", 0, READ);
    SAY("renumber", fd_renumber(fd, STDIN));
    SAY("read", read_fd(STDIN, buf, 3, &n)), SAYS("it", buf, n);
    SAY("read", read_fd(STDIN, buf, 3, &n)), SAYS("it", buf, n);
}

CHECK(file_to_the_number_of_stdin_after) {
    u32 fd = must_open("file", 0, READ);
    SAY("renumber", fd_renumber(STDIN, fd));
    SAY("read", read_fd(fd, buf, 3, &n)), SAYN("bytes", n);
    SAY("seek", fd_seek(fd, 0, CUR, P(buf)));
}

CHECK(preopens) {
    struct { u32 tag, len; } s;
    u32 fd;
    SAY("other to work", fd_renumber(OTHER, WORK));
    SAY("prestat", fd_prestat_get(WORK, P(&s))), SAYN("length", s.len);
    SAY("open", open_at(WORK, "inside", 0, READ, 0, &fd)), SAYN("number", fd);
    SAY("open", open_at(WORK, "file", 0, READ, 0, &fd));
    SAY("file to preopen", fd_renumber(must_open("inside", 0, READ), HERE));
    SAY("prestat", fd_prestat_get(HERE, P(&s)));
}

CHECK(flags_go_with_it) {
    u32 a, b = must_open("file", 0, READ);
    MUST(open_at(WORK, "file", 0, WRITE, APPEND | NONBLOCK, &a));
    MUST(fd_renumber(a, b));
    fdstat s;
    MUST(fd_fdstat_get(b, P(&s)));
    SAYN("flags", s.flags), SAYN("rights", s.base);
    must_write(b, "end");
    say_contents(WORK, "file");
}

CHECK(directory_being_read_goes_with_it) {
    static u8 list[64];
    u32 a = must_open("dir", 0, READ), b = must_open("file", 0, READ);
    MUST(fd_readdir(a, P(list), 24 + 1 + 24 + 2, 0, P(&n)));
    SAYN("used", n);
    MUST(fd_renumber(a, b));
    SAY("go on", fd_readdir(b, P(list), 64, 2, P(&n))), SAYN("used", n), SAYS("name", list + 24, n - 24);
}
