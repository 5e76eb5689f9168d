#include "check.h"

static u32 n;
static iovec v[8];

static u32 pwrite(u32 fd, const char *from, u64 offset) {
    v[0] = (iovec){P(from), length(from)};
    n = 0xdead;
    return fd_pwrite(fd, P(v), 1, offset, P(&n));
}

CHECK(offsets) {
    u32 fd = must_open("file", 0, WRITE);
    SAY("beginning", pwrite(fd, "abc", 0)), SAYN("bytes", n);
    SAY("odd", pwrite(fd, "de", 5));
    SAY("over the end", pwrite(fd, "fgh", 9));
    SAY("beyond the end", pwrite(fd, "i", 15));
    SAYN("position", tell(fd));
    say_contents(WORK, "file");
}

CHECK(append_ignores_the_offset) {
    u32 fd;
    MUST(open_at(WORK, "file", 0, READ | WRITE, APPEND, &fd));
    SAY("beginning", pwrite(fd, "abc", 0)), SAYN("bytes", n), SAYN("position", tell(fd));
    say_contents(WORK, "file");
    MUST(fd_fdstat_set_flags(fd, 0));
    SAY("beginning", pwrite(fd, "abc", 0)), SAYN("position", tell(fd));
    say_contents(WORK, "file");
}

CHECK(wild_offsets) {
    u32 fd = must_open("file", 0, WRITE);
    SAY("last", pwrite(fd, "x", 0x7fffffffffffffff));
    SAY("negative", pwrite(fd, "x", 0x8000000000000000));
    SAY("all bits", pwrite(fd, "x", ~0ull));
    say_contents(WORK, "file");
}

CHECK(nothing) {
    u32 fd = must_open("file", 0, WRITE);
    SAY("no buffers", fd_pwrite(fd, P(v), 0, 100, P(&n))), SAYN("bytes", n);
    SAY("an empty buffer", pwrite(fd, "", 100)), SAYN("bytes", n);
    say_path(WORK, 0, "file");
}

CHECK(not_writable) {
    SAY("stdin", pwrite(STDIN, "x", 0));
    SAY("stdout", pwrite(STDOUT, "x", 0));
    SAY("stderr", pwrite(STDERR, "x", 0));
    SAY("directory", pwrite(WORK, "x", 0));
    SAY("for reading only", pwrite(must_open("file", 0, READ), "x", 0));
    SAY("not open", pwrite(77, "x", 0));
}

static u32 file(void) { return v[0] = (iovec){P("text"), 4}, must_open("new", CREAT, WRITE); }
static u32 from(u32 address, u32 len) { return file(), v[0] = (iovec){address, len}, P(v); }
BAD(buffer_past_the_end, fd_pwrite(file(), from(memory_end() - 3, 4), 1, 0, P(&n)))
BAD(buffers_outside, fd_pwrite(file(), memory_end() - 4, 1, 0, P(&n)))
BAD(buffers_misaligned, fd_pwrite(file(), P(v) + 2, 1, 0, P(&n)))
BAD(result_outside, fd_pwrite(file(), P(v), 1, 0, memory_end()))
BAD(result_misaligned, fd_pwrite(file(), P(v), 1, 0, P(&n) + 2))
BAD(stdout_buffer_outside, fd_pwrite(STDOUT, from(memory_end(), 4), 1, 0, P(&n)))
