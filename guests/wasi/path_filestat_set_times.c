#include "check.h"

static filestat s;
static void say(u32 flags, const char *path) {
    MUST(stat_at(WORK, flags, path, &s));
    SAYN("atime", s.atim), SAYN("mtime", s.mtim);
}
static u32 set(u32 flags, const char *path, u64 atim, u64 mtim, u32 fst) {
    return path_filestat_set_times(WORK, flags, PATH(path), atim, mtim, fst);
}

CHECK(given) {
    SAY("both", set(0, "file", 1000000001, 2000000002, ATIM | MTIM)), say(0, "file");
    SAY("atime", set(0, "file", 3000000003, 77, ATIM)), say(0, "file");
    SAY("mtime", set(1, "file", 77, 4000000004, MTIM)), say(0, "file");
    SAY("none", set(0, "file", 77, 77, 0)), say(0, "file");
    SAY("zero", set(1, "file", 0, 0, ATIM | MTIM)), say(0, "file");
}

CHECK(links) {
    MUST(set(0, "file", 5, 5, ATIM | MTIM));
    SAY("the link", set(0, "link", 6, 7, ATIM | MTIM));
    MUST(stat_at(WORK, 0, "link", &s)), SAYN("of the link", s.mtim);
    MUST(stat_at(WORK, 1, "link", &s)), SAYN("of the file", s.mtim);
    SAY("through it", set(1, "link", 8, 9, ATIM | MTIM));
    MUST(stat_at(WORK, 0, "link", &s)), SAYN("of the link", s.mtim);
    MUST(stat_at(WORK, 1, "link", &s)), SAYN("of the file", s.mtim);
    SAY("a dangling one", set(0, "dangling", 6, 7, MTIM));
    SAY("through a dangling one", set(1, "dangling", 6, 7, MTIM));
    SAY("a loop", set(0, "loop", 6, 7, MTIM));
    SAY("through a loop", set(1, "loop", 6, 7, MTIM));
}

CHECK(directories) {
    SAY("dir", set(0, "dir", 6, 7, ATIM | MTIM)), say(0, "dir");
    SAY("here", set(0, ".", 8, 9, ATIM | MTIM)), say(0, ".");
    SAY("slash", set(0, "dir/", 8, 9, ATIM | MTIM)), say(0, "dir");
}

CHECK(now) {
    u64 now;
    SAY("set", set(0, "file", 5, 5, ATIM_NOW | MTIM));
    MUST(stat_at(WORK, 0, "file", &s));
    MUST(clock_time_get(0, 0, P(&now)));
    SAYN("recent", s.atim > now - 100000000000 && s.atim < now + 10000000000), SAYN("mtime", s.mtim);
}

CHECK(contradictions) {
    for (u32 flags = 0; flags < 16; flags++) SAY("set", set(0, "file", 5, 5, flags));
    SAY("contradiction, nothing there", set(0, "nothing", 5, 5, 3));
    SAY("contradiction, not open", path_filestat_set_times(77, 0, PATH("file"), 5, 5, 3));
}

BAD(unknown, set(0, "file", 5, 5, 16))
BAD(too_large, set(0, "file", 5, 5, 0x10000))
BAD(unknown_lookup, set(2, "file", 5, 5, 0))

CHECK(nothing) {
    SAY("nothing", set(0, "nothing", 5, 5, MTIM)), SAY("through nothing", set(1, "nothing", 5, 5, MTIM)), SAY("empty", set(0, "", 5, 5, MTIM));
    SAY("file/", set(0, "file/", 5, 5, MTIM)), SAY("file/x", set(0, "file/x", 5, 5, MTIM));
    SAY("nothing, no times", set(0, "nothing", 5, 5, 0));
}

CHECK(out) {
    SAY("up", set(1, "up", 5, 5, MTIM)), SAY("..", set(0, "..", 5, 5, MTIM)), SAY("../secret", set(0, "../secret", 5, 5, MTIM));
    SAY("absolute", set(1, "absolute", 5, 5, MTIM)), SAY("/", set(0, "/", 5, 5, MTIM)), SAY("the link itself", set(0, "up", 5, 5, MTIM));
}

CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", path_filestat_set_times(fd, 0, PATH("."), 5, 5, MTIM));
    SAY("in a file", path_filestat_set_times(must_open("file", 0, READ), 0, PATH("."), 5, 5, MTIM));
    SAY("not open", path_filestat_set_times(77, 0, PATH("."), 5, 5, MTIM));
}

CHECK(while_open) {
    u32 fd = must_open("file", 0, READ), n;
    char c[4];
    MUST(set(0, "file", 5, 6, ATIM | MTIM));
    SAY("read", read_fd(fd, c, 4, &n)), SAYS("it", c, n);
    MUST(fd_filestat_get(fd, P(&s))), SAYN("mtime", s.mtim);
    SAY("read", read_fd(fd, c, 4, &n)), SAYS("it", c, n);
}

BAD(outside, path_filestat_set_times(WORK, 0, memory_end() - 3, 4, 5, 5, MTIM))
