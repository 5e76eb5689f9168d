#include "check.h"

static u32 say(const char *path) {
    put(path, length(path));
    return SAY("", path_unlink_file(WORK, PATH(path)));
}

CHECK(file) { say("file"), say("file"), say_path(WORK, 0, "file"), say_path(WORK, 0, "link"); }
CHECK(links) { say("link"), say("dangling"), say("dirlink"), say("loop"), say("absolute"), say("up"), say_path(WORK, 0, "file"), say_path(WORK, 0, "dir"); }
CHECK(directories) { say("dir"), say("."), say(".."), say("dir/"), say("dirlink/"), say("dir/nested/.."); }
CHECK(slashes) { say("file/"), say("file//"), say("link/"), say("dangling/"), say("nothing/"), say("file/."), say("./file"); }
CHECK(nothing) { say("nothing"), say("nothing/x"), say("file/x"), say(""), say("loop/x"); }
CHECK(out) { say("../secret"), say("/secret"), say("parent/secret"), say("updir/secret"), say("up/x"), say("absolute/x"); }
CHECK(through_links) { say("dirlink/nested/file"), say_path(WORK, 0, "dir/nested/file"), say("inner-up/nested"); }
CHECK(nul) { SAY("nul", path_unlink_file(WORK, P("file\0"), 5)); }
CHECK(not_utf8) { SAY("byte", path_unlink_file(WORK, P("bytes/\xff"), 7)); }

CHECK(open_file) {
    u32 fd = must_open("file", 0, READ | WRITE), n;
    char c[16];
    say("file");
    SAY("read", read_fd(fd, c, 4, &n)), SAYS("it", c, n);
    SAY("write", write_fd(fd, "abc", 3, &n));
    filestat s;
    SAY("stat", fd_filestat_get(fd, P(&s))), say_stat(&s);
    make_file("file", "another");
    SAY("read", read_fd(fd, c, 16, &n)), SAYS("it", c, n);
    say_contents(WORK, "file");
}

CHECK(one_of_two_names) {
    u32 fd = must_open("file", 0, READ), n;
    char c[4];
    MUST(path_link(WORK, 0, PATH("file"), WORK, PATH("second")));
    say("file");
    SAY("read", read_fd(fd, c, 4, &n)), SAYS("it", c, n);
    say_path(WORK, 0, "second");
}

CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", path_unlink_file(fd, PATH("nothing")));
    SAY("in a file", path_unlink_file(must_open("file", 0, READ), PATH("x")));
    SAY("not open", path_unlink_file(77, PATH("x")));
}

BAD(outside, path_unlink_file(WORK, memory_end() - 3, 4))
BAD(far_outside, path_unlink_file(WORK, 0xffffffff, 1))
BAD(too_long, path_unlink_file(WORK, P("x"), 0xffffffff))
