//@stdin first line\nsecond line\nthe rest, without an end
#include "check.h"

static u8 buf[4096], big[70000];
static u32 n;
static iovec v[64];

CHECK(positions) {
    u32 fd = must_open("file", 0, READ);
    SAY("three", read_fd(fd, buf, 3, &n)), SAYS("it", buf, n), SAYN("position", tell(fd));
    SAY("more than there is", read_fd(fd, buf, 4096, &n)), SAYS("it", buf, n), SAYN("position", tell(fd));
    SAY("at the end", read_fd(fd, buf, 4096, &n)), SAYN("bytes", n);
    seek(fd, 1000, SET);
    SAY("beyond the end", read_fd(fd, buf, 10, &n)), SAYN("bytes", n), SAYN("position", tell(fd));
}

CHECK(several_buffers) {
    u32 fd = must_open("file", 0, READ);
    for (u32 i = 0; i < 4; i++) v[i] = (iovec){P(buf + 10 * i), 2};
    SAY("four of two", fd_read(fd, P(v), 4, P(&n))), SAYN("bytes", n), SAYN("position", tell(fd));
    v[0].len = 0, v[1].len = 0;
    SAY("two empty ones first", fd_read(fd, P(v), 4, P(&n))), SAYN("bytes", n), SAYS("it", buf + 20, n);
}

CHECK(nothing_to_fill) {
    u32 fd = must_open("file", 0, READ);
    n = 77;
    SAY("no buffers", fd_read(fd, P(v), 0, P(&n))), SAYN("bytes", n);
    SAY("no buffers, outside", fd_read(fd, 0xffffffff, 0, P(&n))), SAYN("bytes", n);
    v[0] = (iovec){P(buf), 0};
    SAY("an empty buffer", fd_read(fd, P(v), 1, P(&n))), SAYN("bytes", n);
    v[0] = (iovec){0xffffffff, 0};
    SAY("an empty buffer outside", fd_read(fd, P(v), 1, P(&n))), SAYN("bytes", n);
    SAYN("position", tell(fd));
}

CHECK(nothing_to_fill_from_stdin) {
    n = 77;
    v[0] = (iovec){P(buf), 0};
    SAY("no buffers", fd_read(STDIN, P(v), 0, P(&n))), SAYN("bytes", n);
    SAY("an empty buffer", fd_read(STDIN, P(v), 1, P(&n))), SAYN("bytes", n);
    SAY("then some", read_fd(STDIN, buf, 5, &n)), SAYS("it", buf, n);
}

CHECK(stdin) {
    u32 total = 0;
    SAY("five", read_fd(STDIN, buf, 5, &n)), SAYS("it", buf, n);
    do {
        MUST(read_fd(STDIN, buf + total, 7, &n));
        total += n;
    } while (n);
    SAYS("rest", buf, total);
    SAY("after the end", read_fd(STDIN, buf, 7, &n)), SAYN("bytes", n);
}

CHECK(large) {
    u32 fd = must_open("large", CREAT, READ | WRITE);
    for (u32 i = 0; i < sizeof big; i++) big[i] = i;
    u32 left = sizeof big;
    while (left) MUST(write_fd(fd, big, left, &n)), left -= n;
    seek(fd, 0, SET);
    SAY("70000 at once", read_fd(fd, big, sizeof big, &n)), SAYN("bytes", n);
}

CHECK(many_buffers) {
    u32 fd = must_open("file", 0, READ);
    u32 count = (memory_end() - P(v)) / sizeof *v;
    v[0] = (iovec){P(buf), 2};
    SAY("all of memory is buffers", fd_read(fd, P(v), count, P(&n))), SAYN("bytes", n);
    SAY("more than memory has", fd_read(fd, P(v), 100000, P(&n))), SAYN("bytes", n);
}

CHECK(not_readable) {
    SAY("stdout", read_fd(STDOUT, buf, 1, &n));
    SAY("directory", read_fd(WORK, buf, 1, &n));
    SAY("opened directory", read_fd(must_open("dir", 0, READ), buf, 1, &n));
    SAY("for writing only", read_fd(must_open("file", 0, WRITE), buf, 1, &n));
    SAY("nothing, for writing only", read_fd(must_open("file", 0, WRITE), buf, 0, &n));
    SAY("not open", read_fd(77, buf, 1, &n)), SAYN("bytes", n);
}

CHECK(unaligned_buffer) {
    u32 fd = must_open("file", 0, READ);
    SAY("read", read_fd(fd, buf + 1, 3, &n)), SAYS("it", buf + 1, 3);
}

static u32 read_at(u32 address, u32 len) { return read_fd(must_open("file", 0, READ), (void *)address, len, &n); }
static iovec one;
static u32 file(void) {
    one = (iovec){P(buf), 4};
    return must_open("file", 0, READ);
}
BAD(buffer_past_the_end, read_at(memory_end() - 3, 4))
BAD(buffer_outside, read_at(0xfffffff0, 4))
BAD(buffer_wraps, read_at(P(buf), 0xffffffff))
BAD(buffer_of_two_gigabytes, read_at(P(buf), 0x80000000))
BAD(buffers_outside, fd_read(file(), memory_end() - 4, 1, P(&n)))
BAD(buffers_far_outside, fd_read(file(), 0xfffffff8, 1, P(&n)))
BAD(buffers_misaligned, fd_read(file(), P(&one) + 2, 1, P(&n)))
BAD(too_many_buffers, fd_read(file(), P(&one), 0x20000000, P(&n)))
BAD(all_too_many_buffers, fd_read(file(), P(&one), 0xffffffff, P(&n)))
BAD(result_outside, fd_read(file(), P(&one), 1, memory_end()))
BAD(result_misaligned, fd_read(file(), P(&one), 1, P(&n) + 1))
BAD(not_open_result_outside, fd_read(77, P(&one), 1, memory_end()))
BAD(not_open_buffers_outside, fd_read(77, 0xffffffff, 1, P(&n)))
BAD(stdin_buffer_outside, read_fd(STDIN, (void *)memory_end(), 4, &n))
BAD(empty_buffers_up_to_the_end, fd_read(file(), memory_end() - 8, 2, P(&n)))
