#include "check.h"

static u8 buf[4096], big[70000];
static u32 n;
static iovec v[64];

CHECK(positions) {
    u32 fd = must_open("file", 0, WRITE);
    SAY("three", write_fd(fd, "abc", 3, &n)), SAYN("bytes", n), SAYN("position", tell(fd));
    SAY("over the end", write_fd(fd, "0123456789", 10, &n)), SAYN("bytes", n), SAYN("position", tell(fd));
    seek(fd, 20, SET);
    SAY("beyond the end", write_fd(fd, "x", 1, &n)), SAYN("position", tell(fd));
    say_contents(WORK, "file");
}

CHECK(several_buffers) {
    u32 fd = must_open("new", CREAT, WRITE);
    for (u32 i = 0; i < 4; i++) buf[i] = 'a' + i, v[i] = (iovec){P(buf + i), 1};
    SAY("four of one", fd_write(fd, P(v), 4, P(&n))), SAYN("bytes", n);
    v[0].len = 0;
    SAY("an empty one first", fd_write(fd, P(v), 4, P(&n))), SAYN("bytes", n);
    say_contents(WORK, "new");
}

CHECK(nothing) {
    u32 fd = must_open("file", 0, WRITE);
    n = 77;
    SAY("no buffers", fd_write(fd, P(v), 0, P(&n))), SAYN("bytes", n);
    SAY("no buffers, outside", fd_write(fd, 0xffffffff, 0, P(&n))), SAYN("bytes", n);
    SAY("an empty buffer", write_fd(fd, buf, 0, &n)), SAYN("bytes", n);
    SAY("an empty buffer outside", write_fd(fd, (void *)0xffffffff, 0, &n)), SAYN("bytes", n);
    SAY("to stdout", write_fd(STDOUT, buf, 0, &n)), SAYN("bytes", n);
    SAY("to stderr", write_fd(STDERR, (void *)0xffffffff, 0, &n)), SAYN("bytes", n);
    seek(fd, 50, SET);
    SAY("nothing beyond the end", write_fd(fd, buf, 0, &n));
    say_path(WORK, 0, "file");
}

CHECK(streams) {
    SAY("stdout", write_fd(STDOUT, "to stdout\n", 10, &n)), SAYN("bytes", n);
    SAY("stderr", write_fd(STDERR, "to stderr\n", 10, &n)), SAYN("bytes", n);
    v[0] = (iovec){P("one"), 3}, v[1] = (iovec){P("two\n"), 4};
    SAY("two buffers", fd_write(STDERR, P(v), 2, P(&n))), SAYN("bytes", n);
}

CHECK(large) {
    u32 fd = must_open("large", CREAT, WRITE);
    for (u32 i = 0; i < sizeof big; i++) big[i] = 'a' + i % 26;
    SAY("70000 at once", write_fd(fd, big, sizeof big, &n)), SAYN("bytes", n), SAYN("position", tell(fd));
    SAY("to stdout", write_fd(STDOUT, big, sizeof big, &n)), SAYN("bytes", n);
}

CHECK(append) {
    u32 fd;
    MUST(open_at(WORK, "file", 0, READ | WRITE, APPEND, &fd));
    SAYN("position", tell(fd));
    must_write(fd, "ab"), SAYN("position", tell(fd));
    seek(fd, 0, SET);
    SAY("read", read_fd(fd, buf, 2, &n)), SAYS("it", buf, n);
    must_write(fd, "cd"), SAYN("position", tell(fd));
    must_write(must_open("file", 0, WRITE), "XY");
    seek(fd, 1, SET);
    SAY("nothing", write_fd(fd, buf, 0, &n)), SAYN("position", tell(fd));
    must_write(fd, "ef"), SAYN("position", tell(fd));
    say_contents(WORK, "file");
}

CHECK(two_descriptors) {
    u32 a = must_open("file", 0, WRITE), b = must_open("file", 0, WRITE);
    must_write(a, "aaa"), must_write(b, "bb"), must_write(a, "a");
    SAYN("first", tell(a)), SAYN("second", tell(b));
    say_contents(WORK, "file");
}

CHECK(as_far_as_it_goes) {
    u32 fd = must_open("file", 0, WRITE);
    seek(fd, 0x7fffffffffffffff, SET);
    SAY("at the last position", write_fd(fd, "x", 1, &n));
    seek(fd, 0x4000000000000000, SET);
    SAY("very far", write_fd(fd, "x", 1, &n));
    say_path(WORK, 0, "file");
}

CHECK(not_writable) {
    SAY("stdin", write_fd(STDIN, "x", 1, &n));
    SAY("directory", write_fd(WORK, "x", 1, &n));
    SAY("for reading only", write_fd(must_open("file", 0, READ), "x", 1, &n));
    SAY("nothing, for reading only", write_fd(must_open("file", 0, READ), "x", 0, &n));
    SAY("not open", write_fd(77, "x", 1, &n)), SAYN("bytes", n);
    say_contents(WORK, "file");
}

static u32 write_from(u32 address, u32 len) { return write_fd(must_open("new", CREAT, WRITE), (void *)address, len, &n); }
static iovec one;
static u32 file(void) {
    one = (iovec){P("text"), 4};
    return must_open("new", CREAT, WRITE);
}
BAD(buffer_past_the_end, write_from(memory_end() - 3, 4))
BAD(buffer_outside, write_from(0xfffffff0, 4))
BAD(buffer_wraps, write_from(P(buf), 0xffffffff))
BAD(buffer_of_a_hundred_megabytes, write_from(P(buf), 100 << 20))
BAD(buffers_outside, fd_write(file(), memory_end() - 4, 1, P(&n)))
BAD(buffers_misaligned, fd_write(file(), P(&one) + 2, 1, P(&n)))
BAD(too_many_buffers, fd_write(file(), P(&one), 0x20000000, P(&n)))
BAD(all_too_many_buffers, fd_write(file(), P(&one), 0xffffffff, P(&n)))
BAD(result_outside, fd_write(file(), P(&one), 1, memory_end()))
BAD(result_misaligned, fd_write(file(), P(&one), 1, P(&n) + 1))
BAD(stdout_buffer_outside, write_fd(STDOUT, (void *)memory_end(), 4, &n))
BAD(stdout_result_outside, fd_write(STDOUT, (file(), P(&one)), 1, memory_end()))
BAD(not_open_result_outside, fd_write(77, P(&one), 1, memory_end()))
BAD(not_open_buffer_outside, write_fd(77, (void *)memory_end(), 4, &n))
BAD(second_buffer_outside, (v[0] = (iovec){P("text"), 4}, v[1] = (iovec){memory_end(), 4}, fd_write(file(), P(v), 2, P(&n))))
