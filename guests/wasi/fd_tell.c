#include "check.h"

static u64 at;

CHECK(position) {
    u32 fd = must_open("file", 0, READ | WRITE), n;
    char c[4];
    SAYN("at first", tell(fd));
    MUST(read_fd(fd, c, 3, &n)), SAYN("after reading", tell(fd));
    must_write(fd, "ab"), SAYN("after writing", tell(fd));
    seek(fd, 100, SET), SAYN("after seeking", tell(fd));
    MUST(fd_filestat_set_size(fd, 2)), SAYN("after cutting", tell(fd));
}

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) SAY("tell", fd_tell(fd, P(&at)));
    SAY("directory", fd_tell(must_open("dir", 0, READ), P(&at)));
    SAY("not open", fd_tell(77, P(&at)));
}

BAD(outside, fd_tell(must_open("file", 0, READ), memory_end() - 7))
BAD(misaligned, fd_tell(must_open("file", 0, READ), P(&at) + 1))
BAD(stream_outside, fd_tell(STDIN, 0xffffffff))
