#include "check.h"

static filestat s, t;

CHECK(streams) {
    for (u32 fd = 0; fd < 3; fd++) {
        SAY("filestat", fd_filestat_get(fd, P(&s)));
        SAYN("dev", s.dev), SAYN("ino", s.ino), say_stat(&s), SAYN("times", s.atim + s.mtim + s.ctim);
    }
}

static u32 get_from;
static void get(void) { MUST(fd_filestat_get(get_from, P(&s))); }
CHECK(gaps) { say_gaps(get, &s, sizeof s), get_from = must_open("file", 0, READ), say_gaps(get, &s, sizeof s); }

CHECK(file) {
    u32 fd = must_open("file", 0, READ);
    SAY("filestat", fd_filestat_get(fd, P(&s)));
    SAYN("dev", s.dev), say_stat(&s);
    MUST(stat_at(WORK, 0, "file", &t));
    SAYN("same ino by path", s.ino == t.ino && s.dev == t.dev);
    SAYN("same times by path", s.mtim == t.mtim && s.atim == t.atim && s.ctim == t.ctim);
    MUST(stat_at(WORK, 0, "empty", &t));
    SAYN("other ino of another", s.ino != t.ino);
}

CHECK(hard_links_have_one_number) {
    u32 fd = must_open("file", 0, READ);
    MUST(path_link(WORK, 0, PATH("file"), WORK, PATH("dir/second")));
    MUST(fd_filestat_get(fd, P(&s)));
    say_stat(&s);
    MUST(stat_at(WORK, 0, "dir/second", &t));
    SAYN("same", s.ino == t.ino);
}

CHECK(size_and_time_go_on) {
    u32 fd = must_open("file", 0, WRITE);
    MUST(fd_filestat_get(fd, P(&s)));
    seek(fd, 0, END);
    must_write(fd, "more");
    MUST(fd_filestat_get(fd, P(&t)));
    SAYN("size", t.size);
    SAYN("mtime not earlier", t.mtim >= s.mtim);
    SAYN("same number", t.ino == s.ino);
}

CHECK(directories) {
    u32 fd;
    MUST(open_at(WORK, "dir", DIRECTORY, READ, 0, &fd));
    SAY("preopen", fd_filestat_get(WORK, P(&s))), SAYN("type", s.type);
    SAY("directory", fd_filestat_get(fd, P(&s))), SAYN("type", s.type);
    SAY("the same again", fd_filestat_get(HERE, P(&t))), SAYN("same", s.ino == t.ino);
}

CHECK(not_open) { SAY("filestat", fd_filestat_get(77, P(&s))); }
BAD(outside, fd_filestat_get(WORK, memory_end() - 63))
BAD(far_outside, fd_filestat_get(STDIN, 0xffffffff))
BAD(misaligned, fd_filestat_get(WORK, P(&s) + 4))
BAD(stream_misaligned, fd_filestat_get(STDOUT, P(&s) + 1))
BAD(not_open_outside, fd_filestat_get(77, 0xffffffff))
