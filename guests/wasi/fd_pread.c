#include "check.h"

static u8 buf[4096], big[100000];
static u32 n;
static iovec v[8];

static u32 pread(u32 fd, void *to, u32 len, u64 offset) {
    v[0] = (iovec){P(to), len};
    n = 0xdead;
    return fd_pread(fd, P(v), 1, offset, P(&n));
}

CHECK(offsets) {
    u32 fd = must_open("file", 0, READ);
    u64 offsets[] = {0, 1, 5, 9, 10, 11, 1000000};
    for (u32 i = 0; i < LEN(offsets); i++) SAY("pread", pread(fd, buf, 3, offsets[i])), SAYS("it", buf, n);
    SAYN("position", tell(fd));
}

CHECK(wild_offsets) {
    u32 fd = must_open("file", 0, READ);
    SAY("last", pread(fd, buf, 3, 0x7fffffffffffffff)), SAYN("bytes", n);
    SAY("negative", pread(fd, buf, 3, 0x8000000000000000)), SAYN("bytes", n);
    SAY("all bits", pread(fd, buf, 3, ~0ull)), SAYN("bytes", n);
}

CHECK(several_buffers) {
    u32 fd = must_open("file", 0, READ);
    for (u32 i = 0; i < 4; i++) v[i] = (iovec){P(buf + 10 * i), i};
    SAY("the first is empty", fd_pread(fd, P(v), 4, 2, P(&n))), SAYN("bytes", n), SAYS("it", buf + 10, n);
}

CHECK(nothing_at_the_end) {
    u32 fd = must_open("empty", 0, READ);
    SAY("no buffers", fd_pread(fd, P(v), 0, 0, P(&n)));
    SAY("an empty buffer", pread(fd, buf, 0, 0));
    SAY("one byte", pread(fd, buf, 1, 0)), SAYN("bytes", n);
}

CHECK(nothing) {
    u32 fd = must_open("file", 0, READ);
    n = 77;
    SAY("no buffers", fd_pread(fd, P(v), 0, 0, P(&n))), SAYN("bytes", n);
    SAY("an empty buffer", pread(fd, buf, 0, 0)), SAYN("bytes", n);
}

CHECK(large) {
    u32 fd = must_open("large", CREAT, READ | WRITE);
    MUST(fd_filestat_set_size(fd, 200000));
    SAY("at once", pread(fd, big, sizeof big, 3)), SAYN("bytes", n);
}

CHECK(not_readable) {
    SAY("stdin", pread(STDIN, buf, 1, 0));
    SAY("stdout", pread(STDOUT, buf, 1, 0));
    SAY("directory", pread(WORK, buf, 1, 0));
    SAY("for writing only", pread(must_open("file", 0, WRITE), buf, 1, 0));
    SAY("not open", pread(77, buf, 1, 0));
}

CHECK(while_appending) {
    u32 fd;
    MUST(open_at(WORK, "file", 0, READ | WRITE, APPEND, &fd));
    SAY("pread", pread(fd, buf, 3, 4)), SAYS("it", buf, n);
}

static u32 file(void) { return v[0] = (iovec){P(buf), 4}, must_open("file", 0, READ); }
BAD(buffer_past_the_end, pread(file(), (void *)(memory_end() - 3), 4, 0))
BAD(buffer_outside_at_the_end, pread(file(), (void *)memory_end(), 4, 100))
BAD(buffer_partly_filled_outside, pread(file(), (void *)(memory_end() - 10), 20, 0))
BAD(buffers_outside, fd_pread(file(), memory_end() - 4, 1, 0, P(&n)))
BAD(buffers_misaligned, fd_pread(file(), P(v) + 2, 1, 0, P(&n)))
BAD(result_outside, fd_pread(file(), P(v), 1, 0, memory_end()))
BAD(result_misaligned, fd_pread(file(), P(v), 1, 0, P(&n) + 2))
BAD(too_many_buffers, fd_pread(file(), P(v), 0x20000000, 0, P(&n)))
BAD(stdin_buffers_outside, fd_pread(STDIN, 0xffffffff, 1, 0, P(&n)))
