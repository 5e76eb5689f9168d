#include "check.h"

CHECK(sizes) {
    u32 fd = must_open("file", 0, READ | WRITE);
    u64 sizes[] = {10, 4, 0, 8};
    for (u32 i = 0; i < LEN(sizes); i++) {
        SAY("set", fd_filestat_set_size(fd, sizes[i]));
        say_contents(WORK, "file");
    }
}

CHECK(position_stays) {
    u32 fd = must_open("file", 0, READ | WRITE), n;
    char c[4];
    seek(fd, 8, SET);
    MUST(fd_filestat_set_size(fd, 2));
    SAYN("position", tell(fd));
    SAY("read", read_fd(fd, c, 4, &n)), SAYN("bytes", n);
    must_write(fd, "x");
    say_contents(WORK, "file");
}

CHECK(what_was_cut_off_is_gone) {
    u32 fd = must_open("file", 0, READ | WRITE);
    MUST(fd_filestat_set_size(fd, 3));
    MUST(fd_filestat_set_size(fd, 6));
    say_contents(WORK, "file");
}

CHECK(too_large) {
    u32 fd = must_open("file", 0, WRITE);
    SAY("all bits", fd_filestat_set_size(fd, ~0ull));
    SAY("negative", fd_filestat_set_size(fd, 0x8000000000000000));
    say_contents(WORK, "file");
}

CHECK(not_for_writing) {
    SAY("set", fd_filestat_set_size(must_open("file", 0, READ), 3));
    say_contents(WORK, "file");
}

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) SAY("set", fd_filestat_set_size(fd, 0));
    SAY("not open", fd_filestat_set_size(77, 0));
}

CHECK(another_descriptor_sees_it) {
    u32 a = must_open("file", 0, WRITE), b = must_open("file", 0, READ), n;
    char c[16];
    MUST(fd_filestat_set_size(a, 5));
    SAY("read", read_fd(b, c, 16, &n)), SAYN("bytes", n);
    MUST(fd_filestat_set_size(a, 7));
    SAY("read", read_fd(b, c, 16, &n)), SAYN("bytes", n);
}
