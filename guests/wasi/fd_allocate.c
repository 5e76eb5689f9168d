#include "check.h"

CHECK(file) {
    u32 fd = must_open("file", 0, READ | WRITE);
    SAY("beyond the end", fd_allocate(fd, 10, 10));
    SAY("within", fd_allocate(fd, 0, 5));
    SAY("nothing", fd_allocate(fd, 0, 0));
    SAY("too much", fd_allocate(fd, ~0ull, ~0ull));
    filestat s;
    MUST(fd_filestat_get(fd, P(&s)));
    SAYN("size", s.size);
}

CHECK(not_for_writing) { SAY("allocate", fd_allocate(must_open("file", 0, READ), 0, 100)); }

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) SAY("allocate", fd_allocate(fd, 0, 1));
    SAY("not open", fd_allocate(0xffffffff, 0, 1));
}
