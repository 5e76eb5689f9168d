#include "check.h"

static struct { u32 tag, len; } s;

CHECK(all) {
    for (u32 fd = 0; fd < 8; fd++) {
        s.tag = s.len = 0x77777777;
        if (SAY("prestat", fd_prestat_get(fd, P(&s)))) continue;
        SAYN("tag", s.tag & 0xff), SAYN("length", s.len);
    }
    SAY("not open", fd_prestat_get(77, P(&s)));
}

CHECK(opened_is_none) {
    u32 fd;
    MUST(open_at(WORK, ".", DIRECTORY, READ, 0, &fd));
    SAY("directory", fd_prestat_get(fd, P(&s)));
    SAY("file", fd_prestat_get(must_open("file", 0, READ), P(&s)));
}

static void get(void) { MUST(fd_prestat_get(WORK, P(&s))); }
CHECK(gaps) { say_gaps(get, &s, sizeof s); }

BAD(outside, fd_prestat_get(WORK, memory_end() - 7))
BAD(far_outside, fd_prestat_get(WORK, 0xffffffff))
BAD(misaligned, fd_prestat_get(WORK, P(&s) + 2))
BAD(none_outside, fd_prestat_get(STDIN, 0xffffffff))
