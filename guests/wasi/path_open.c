#include "check.h"

static u32 fd;
static u32 say(const char *path, u32 oflags, u64 rights) {
    fd = 0xdead;
    put(path, length(path));
    u32 e = SAY("", open_at(WORK, path, oflags, rights, 0, &fd));
    if (e && fd != 0xdead) PUT("but a number was written\n");
    if (!e) MUST(fd_close(fd));
    return e;
}
static void both(const char *path) {
    put(path, length(path)), SAY(" itself", path_open(WORK, NOFOLLOW, PATH(path), 0, READ, READ, 0, P(&fd)));
    put(path, length(path)), SAY(" followed", path_open(WORK, FOLLOW, PATH(path), 0, READ, READ, 0, P(&fd)));
}

CHECK(ways) {
    u64 rights[] = {0, READ, WRITE, READ | WRITE, ALL_RIGHTS};
    const char *paths[] = {"file", "dir", "new"};
    for (u32 p = 0; p < LEN(paths); p++)
        for (u32 r = 0; r < LEN(rights); r++) SAYN("rights", rights[r]), say(paths[p], 0, rights[r]);
}

CHECK(oflags_on_a_file) {
    for (u32 oflags = 0; oflags < 16; oflags++) {
        make_file("f", "text");
        SAYN("oflags", oflags), say("f", oflags, READ | WRITE), say_contents(WORK, "f");
    }
}
CHECK(oflags_on_a_file_for_reading) {
    for (u32 oflags = 0; oflags < 16; oflags++) {
        make_file("f", "text");
        SAYN("oflags", oflags), say("f", oflags, READ), say_contents(WORK, "f");
    }
}
CHECK(oflags_on_a_directory) {
    for (u32 oflags = 0; oflags < 16; oflags++) SAYN("oflags", oflags), say("dir", oflags, READ);
    for (u32 oflags = 0; oflags < 16; oflags++) SAYN("oflags", oflags), say("dir", oflags, WRITE);
}
CHECK(oflags_on_nothing) {
    for (u32 oflags = 0; oflags < 16; oflags++) SAYN("oflags", oflags), say("n", oflags, READ), SAY("unlink", path_unlink_file(WORK, PATH("n")));
}
CHECK(oflags_on_links) {
    const char *paths[] = {"link", "dirlink", "dangling", "loop", "up", "absolute"};
    for (u32 p = 0; p < LEN(paths); p++)
        for (u32 oflags = 0; oflags < 8; oflags++) SAYN("oflags", oflags), say(paths[p], oflags, READ);
}
CHECK(oflags_on_links_themselves) {
    const char *paths[] = {"link", "dirlink", "dangling", "loop", "up", "absolute"};
    for (u32 p = 0; p < LEN(paths); p++)
        for (u32 oflags = 0; oflags < 8; oflags++) {
            SAYN("oflags", oflags), put(paths[p], length(paths[p]));
            SAY("", path_open(WORK, NOFOLLOW, PATH(paths[p]), oflags, READ, READ, 0, P(&fd)));
        }
}
BAD(unknown_oflags, path_open(WORK, 0, PATH("file"), 16, READ, READ, 0, P(&fd)))
BAD(large_oflags, path_open(WORK, 0, PATH("file"), 0x10000, READ, READ, 0, P(&fd)))
BAD(unknown_lookup, path_open(WORK, 2, PATH("file"), 0, READ, READ, 0, P(&fd)))
BAD(unknown_fdflags, path_open(WORK, 0, PATH("file"), 0, READ, READ, 32, P(&fd)))
BAD(unknown_rights, path_open(WORK, 0, PATH("file"), 0, 1ull << 30, READ, 0, P(&fd)))
BAD(unknown_inheriting, path_open(WORK, 0, PATH("file"), 0, READ, 1ull << 63, 0, P(&fd)))
BAD(unknown_not_open, path_open(77, 0, PATH("file"), 16, READ, READ, 0, P(&fd)))
CHECK(fdflags) {
    for (u32 flags = 0; flags < 32; flags++) SAYN("flags", flags), SAY("open", path_open(WORK, 0, PATH("file"), 0, READ | WRITE, 0, flags, P(&fd)));
    for (u32 flags = 0; flags < 32; flags++) SAYN("flags", flags), SAY("nothing", path_open(WORK, 0, PATH("nothing"), 0, READ, 0, flags, P(&fd)));
}
CHECK(kinds) { both("file"), both("dir"), both("link"), both("dirlink"), both("dangling"), both("loop"), both("loop-a"), both("chain"); }
CHECK(nothing) { both("nothing"), both("nothing/x"), both("file/x"), both(""), both("dir/nothing"), both("link/x"); }
CHECK(slashes) { both("dir/"), both("dir//"), both("file/"), both("file//"), both("link/"), both("dirlink/"), both("dangling/"), both("dir//nested/.//file"); }
CHECK(create_with_slashes) { say("a/", CREAT, WRITE), say("b//", CREAT, WRITE), say("dir/", CREAT, READ), say("dir/", CREAT | EXCL, READ), say("c/.", CREAT, WRITE), say("dangling/", CREAT, WRITE), say("file/", CREAT, WRITE); }
CHECK(dots) { both("."), both("./"), both(".."), both("dir/.."), both("dir/../.."), both("dir/../file"), both("file/.."), both("file/."), both("nothing/.."), both("dir/nested/../../file"); }
CHECK(out) { both("../secret"), both("/"), both("/secret"), both("/work/file"), both("up"), both("updir"), both("parent"), both("parent/secret"), both("updir/secret"), both("absolute"), both("absolute/x"), both("dir/../../work/file"); }
CHECK(create_out) { say("../made", CREAT, WRITE), say("/made", CREAT, WRITE), say("up", CREAT | TRUNC, WRITE), say("parent/made", CREAT, WRITE), say("updir/made", CREAT | EXCL, WRITE), say("absolute", CREAT, WRITE), say("dangling-up", CREAT, WRITE); }
CHECK(inside_after_all) { both("inner-up"), both("inner-up/nested"), both("inner-file"), both("dirlink/nested/file"), both("dirlink/../file"); }
CHECK(through_a_link_that_leads_up) {
    // Opened through a link, it is where the link leads.
    u32 dir = must_open("dirlink", DIRECTORY, READ);
    SAY("..", open_at(dir, "..", 0, READ, 0, &fd)), SAY("../file", open_at(dir, "../file", 0, READ, 0, &fd)), SAY("nested", open_at(dir, "nested/file", 0, READ, 0, &fd));
    SAY("/", open_at(dir, "/", 0, READ, 0, &fd)), SAY("here/..", open_at(dir, "nested/../..", 0, READ, 0, &fd));
}
CHECK(create_through_a_dangling_link) { say("dangling", CREAT, WRITE), say_path(WORK, 0, "dangling"), say_path(WORK, 0, "nowhere"); }
CHECK(numbers) {
    for (u32 i = 0; i < 5; i++) SAY("open", open_at(WORK, "file", 0, READ, 0, &fd)), SAYN("number", fd);
    SAY("nothing", open_at(WORK, "nothing", 0, READ, 0, &fd));
    SAY("open", open_at(WORK, "file", 0, READ, 0, &fd)), SAYN("number", fd);
}
CHECK(created_file) {
    fd = must_open("new", CREAT | EXCL, READ | WRITE);
    filestat s;
    MUST(fd_filestat_get(fd, P(&s))), say_stat(&s);
    must_write(fd, "text"), say_contents(WORK, "new");
}
CHECK(truncated) {
    u32 a = must_open("file", 0, READ), n;
    char c[4];
    MUST(read_fd(a, c, 4, &n));
    fd = must_open("file", TRUNC, WRITE), must_write(fd, "new");
    SAY("read by the first", read_fd(a, c, 4, &n)), SAYN("bytes", n), say_contents(WORK, "file");
}
CHECK(nul) {
    SAY("within", path_open(WORK, 0, P("a\0b"), 3, CREAT, WRITE, 0, 0, P(&fd))), SAY("at the end", path_open(WORK, 0, P("file"), 5, 0, READ, 0, 0, P(&fd)));
    SAY("alone", path_open(WORK, 0, P(""), 1, 0, READ, 0, 0, P(&fd))), SAY("in a directory", path_open(WORK, 0, P("dir\0/x"), 6, 0, READ, 0, 0, P(&fd)));
}
CHECK(not_utf8) {
    SAY("byte", path_open(WORK, 0, P("bytes/\xff"), 7, 0, READ, 0, 0, P(&fd))), SAY("create", path_open(WORK, 0, P("\xff"), 1, CREAT, WRITE, 0, 0, P(&fd)));
    SAY("half", path_open(WORK, 0, P("\xc3"), 1, 0, READ, 0, 0, P(&fd))), SAY("through a link", open_at(WORK, "bytes-link", 0, READ, 0, &fd));
}
CHECK(unicode) { say("ü€😀", CREAT, WRITE), say_path(WORK, 0, "ü€😀"); }
CHECK(odd_names) { say(" ", CREAT, WRITE), say("a\\b", CREAT, WRITE), say("a:b", CREAT, WRITE), say("\n", CREAT, WRITE), say("...", CREAT, WRITE), say("-", CREAT, WRITE), say("*", CREAT, WRITE); }

static char name[70000];
CHECK(long_names) {
    for (u32 i = 0; i < sizeof name; i++) name[i] = 'x';
    u32 lens[] = {255, 256, 4095, 4096, 70000};
    for (u32 i = 0; i < LEN(lens); i++) PUT("length "), put_number(lens[i]), SAY(" ", path_open(WORK, 0, P(name), lens[i], CREAT, WRITE, 0, 0, P(&fd)));
    for (u32 i = 1; i < sizeof name; i += 2) name[i] = '/', name[i - 1] = '.';
    u32 dots[] = {4094, 4096, 8000, 70000};
    for (u32 i = 0; i < LEN(dots); i++) PUT("dots "), put_number(dots[i]), SAY(" ", path_open(WORK, 0, P(name), dots[i], 0, READ, 0, 0, P(&fd)));
}
CHECK(descriptors) {
    for (u32 dir = 0; dir < 6; dir++) SAY("in", open_at(dir, "file", 0, READ, 0, &fd));
    SAY("in a file", open_at(must_open("file", 0, READ), "file", 0, READ, 0, &fd)), SAY("in a file, .", open_at(must_open("file", 0, READ), ".", 0, READ, 0, &fd));
    SAY("not open", open_at(77, "file", 0, READ, 0, &fd)), SAY("all bits", open_at(0xffffffff, "file", 0, READ, 0, &fd));
}
CHECK(directory_beneath_directory) {
    u32 dir = must_open("dir", DIRECTORY, READ), nested;
    SAY("nested", open_at(dir, "nested", DIRECTORY, READ, 0, &nested)), say_contents(nested, "file");
    SAY("up from it", open_at(nested, "..", DIRECTORY, READ, 0, &fd));
    SAY("made in it", open_at(nested, "made", CREAT, WRITE, 0, &fd)), must_write(fd, "x"), say_contents(WORK, "dir/nested/made");
}
CHECK(many) {
    u32 last = 0;
    for (u32 i = 0; i < 200; i++) last = must_open("file", 0, READ);
    SAYN("last", last);
    for (u32 i = 6; i <= last; i++) MUST(fd_close(i));
    SAYN("then", must_open("file", 0, READ));
}

BAD(path_outside, path_open(WORK, 0, memory_end() - 3, 4, CREAT, WRITE, 0, 0, P(&fd)))
BAD(path_far_outside, path_open(WORK, 0, 0xffffffff, 1, 0, READ, 0, 0, P(&fd)))
BAD(path_too_long, path_open(WORK, 0, P("x"), 0xffffffff, 0, READ, 0, 0, P(&fd)))
BAD(result_outside, path_open(WORK, 0, PATH("new"), CREAT, WRITE, 0, 0, memory_end()))
BAD(result_misaligned, path_open(WORK, 0, PATH("file"), 0, READ, 0, 0, P(&fd) + 2))
BAD(nothing_result_outside, path_open(WORK, 0, PATH("nothing"), 0, READ, 0, 0, memory_end()))
BAD(not_open_path_outside, path_open(77, 0, 0xffffffff, 1, 0, READ, 0, 0, P(&fd)))
BAD(unknown_path_outside, path_open(WORK, 0, 0xffffffff, 1, 16, READ, 0, 0, P(&fd)))
BAD(sync_path_outside, path_open(WORK, 0, 0xffffffff, 1, 0, READ, 0, SYNC, P(&fd)))
