#include "check.h"

static filestat s, t;
static void both(const char *path) { say_path(WORK, NOFOLLOW, path), say_path(WORK, FOLLOW, path); }

CHECK(kinds) { both("file"), both("empty"), both("dir"), both("link"), both("dirlink"), both("dangling"), both("loop"), both("loop-a"); }
static void get(void) { MUST(stat_at(WORK, 0, "file", &s)); }
CHECK(gaps) { say_gaps(get, &s, sizeof s); }
CHECK(nothing) { both("nothing"), both("nothing/x"), both("file/x"), both(""), both("dir/nothing"); }
CHECK(slashes) { both("dir/"), both("dir//"), both("file/"), both("link/"), both("dirlink/"), both("dangling/"), both("dir//nested"), both("dir/./nested/file"); }
CHECK(dots) { both("."), both("./"), both(".."), both("dir/.."), both("dir/../.."), both("dir/../file"), both("file/.."), both("nothing/.."), both("./."); }
CHECK(out) { both("../secret"), both("/"), both("/secret"), both("up"), both("updir"), both("parent/secret"), both("updir/secret"), both("absolute"), both("absolute/x"); }
CHECK(inside_after_all) { both("inner-up"), both("inner-up/"), both("dirlink/nested/file"), both("chain"); }
CHECK(long_chain_of_links) {
    // Each leads to the one before.
    char name[] = "l00", last[] = "l00";
    MUST(path_symlink(PATH("file"), WORK, PATH(name)));
    for (u32 i = 1; i < 45; i++) {
        last[1] = name[1], last[2] = name[2];
        name[1] = '0' + i / 10, name[2] = '0' + i % 10;
        MUST(path_symlink(PATH(last), WORK, PATH(name)));
    }
    say_path(WORK, FOLLOW, "l10"), say_path(WORK, FOLLOW, "l38"), say_path(WORK, FOLLOW, "l39"), say_path(WORK, FOLLOW, "l40"), say_path(WORK, FOLLOW, "l44");
}
CHECK(flags) {
    for (u32 flags = 0; flags < 2; flags++) SAY("stat", stat_at(WORK, flags, "link", &s));
}
BAD(unknown_flag, stat_at(WORK, 2, "link", &s))
BAD(unknown_large_flag, stat_at(WORK, 0x80000000, "link", &s))
BAD(unknown_flag_not_open, stat_at(77, 3, "link", &s))
CHECK(numbers) {
    MUST(stat_at(WORK, 0, "dir", &s)), MUST(stat_at(HERE, 0, ".", &t)), SAYN("the same by another way", s.ino == t.ino && s.dev == t.dev);
    MUST(stat_at(WORK, 0, "link", &s)), MUST(stat_at(WORK, 1, "link", &t)), SAYN("a link is another thing", s.ino != t.ino);
    SAYN("dev", s.dev);
}
CHECK(nul) { SAY("within", path_filestat_get(WORK, 0, P("a\0b"), 3, P(&s))), SAY("at the end", path_filestat_get(WORK, 0, P("file"), 5, P(&s))); }
CHECK(not_utf8) {
    SAY("byte", path_filestat_get(WORK, 0, P("bytes/\xff"), 7, P(&s)));
    SAY("overlong", path_filestat_get(WORK, 0, P("\xc0\xaf"), 2, P(&s)));
    SAY("surrogate", path_filestat_get(WORK, 0, P("\xed\xa0\x80"), 3, P(&s)));
}
CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", stat_at(fd, 0, ".", &s));
    SAY("in a file", stat_at(must_open("file", 0, READ), 0, ".", &s));
    SAY("in a file, nothing", stat_at(must_open("file", 0, READ), 0, "", &s));
    SAY("not open", stat_at(77, 0, ".", &s));
}
static char name[70000];
CHECK(long_names) {
    for (u32 i = 0; i < sizeof name; i++) name[i] = i % 2 ? '/' : '.';
    u32 lens[] = {1000, 4094, 4096, 5000, 70000};
    for (u32 i = 0; i < LEN(lens); i++) PUT("length "), put_number(lens[i]), SAY(" ", path_filestat_get(WORK, 0, P(name), lens[i], P(&s)));
    name[0] = 'x';
    SAY("long and not there", path_filestat_get(WORK, 0, P(name), 3000, P(&s)));
    SAY("longer and not there", path_filestat_get(WORK, 0, P(name), 70000, P(&s)));
}

BAD(path_outside, path_filestat_get(WORK, 0, memory_end() - 3, 4, P(&s)))
BAD(result_outside, path_filestat_get(WORK, 0, PATH("file"), memory_end() - 63))
BAD(result_misaligned, path_filestat_get(WORK, 0, PATH("file"), P(&s) + 4))
BAD(nothing_result_outside, path_filestat_get(WORK, 0, PATH("nothing"), memory_end()))
BAD(flags_result_outside, path_filestat_get(WORK, 2, PATH("file"), memory_end()))
BAD(too_long, path_filestat_get(WORK, 0, P("x"), 0xffffffff, P(&s)))
