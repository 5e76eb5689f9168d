#include "check.h"

static fdstat s;

static void say(u32 fd) {
    s.type = 77, s.flags = 777, s.base = s.inheriting = 7777;
    if (SAY("fdstat", fd_fdstat_get(fd, P(&s)))) return;
    SAYN("type", s.type);
    SAYN("flags", s.flags);
    SAYN("rights", s.base);
    SAYN("inheriting", s.inheriting);
}

CHECK(streams) { say(STDIN), say(STDOUT), say(STDERR); }
CHECK(preopens) { say(WORK), say(OTHER), say(HERE); }
static u32 get_from;
static void get(void) { MUST(fd_fdstat_get(get_from, P(&s))); }
CHECK(gaps) {
    say_gaps(get, &s, sizeof s), get_from = WORK, say_gaps(get, &s, sizeof s), get_from = must_open("file", 0, READ), say_gaps(get, &s, sizeof s);
}
CHECK(not_open) { say(77), say(0xffffffff); }

CHECK(files) {
    u64 rights[] = {0, READ, WRITE, READ | WRITE, ALL_RIGHTS, ALL_RIGHTS & ~READ, ALL_RIGHTS & ~WRITE, 1, 4, READ | 1 << 14};
    for (u32 i = 0; i < LEN(rights); i++) {
        SAYN("asked for", rights[i]);
        say(must_open("file", 0, rights[i]));
    }
}

CHECK(created) {
    say(must_open("made", CREAT, 0));
    say(must_open("cut", CREAT | TRUNC, READ));
    say(must_open("cut", TRUNC, WRITE));
}

CHECK(flags) {
    for (u32 flags = 0; flags < 32; flags++) {
        if (flags & (DSYNC | RSYNC | SYNC)) continue;
        u32 fd;
        MUST(open_at(WORK, "file", 0, READ | WRITE, flags, &fd));
        say(fd);
    }
}

CHECK(directories) {
    u32 fd;
    MUST(open_at(WORK, "dir", DIRECTORY, READ, 0, &fd)), say(fd);
    MUST(open_at(WORK, "dir", 0, 0, APPEND, &fd)), say(fd);
    MUST(open_at(WORK, ".", DIRECTORY, ALL_RIGHTS & ~WRITE, NONBLOCK, &fd)), say(fd);
}

CHECK(inheriting_is_not_kept) {
    u32 fd, inner;
    MUST(path_open(WORK, 0, PATH("dir"), DIRECTORY, 1 << 14, READ, 0, P(&fd))), say(fd);
    SAY("for writing", open_at(fd, "nested/file", 0, READ | WRITE, 0, &inner)), say(inner);
}

BAD(outside, fd_fdstat_get(WORK, memory_end() - 23))
BAD(far_outside, fd_fdstat_get(WORK, 0xffffffff))
BAD(misaligned_by_one, fd_fdstat_get(WORK, P(&s) + 1))
BAD(misaligned_by_four, fd_fdstat_get(WORK, P(&s) + 4))
BAD(not_open_outside, fd_fdstat_get(77, 0xffffffff))
