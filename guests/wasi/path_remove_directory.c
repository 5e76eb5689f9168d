#include "check.h"

static u32 say(const char *path) {
    put(path, length(path));
    return SAY("", path_remove_directory(WORK, PATH(path)));
}
static void make(const char *path) { MUST(path_create_directory(WORK, PATH(path))); }

CHECK(empty_one) { make("new"), say("new"), say("new"), say_path(WORK, 0, "new"); }
CHECK(not_empty) { say("dir"), say_path(WORK, 0, "dir"); }
CHECK(not_directories) { say("file"), say("link"), say("dirlink"), say("dangling"), say("loop"), say("nothing"), say("file/x"); }
CHECK(slash) { make("a"), say("a/"); }
CHECK(slashes) { make("a"), say("a///"); }
CHECK(slash_dot) { make("b"), say("b/."), say("b/./"), say("./b"); }
CHECK(slash_dot_dot) { make("c"), make("c/d"), say("c/d/.."), say("c/../c/d"), say("c"); }
CHECK(file_with_slash) { say("file/"), say("link/"), say("dangling/"), say("nothing/"); }
CHECK(link_with_slash) { make("target"), MUST(path_symlink(PATH("target"), WORK, PATH("to"))), say("to/"), say("to"), say_path(WORK, 0, "target"); }
CHECK(dots) { say("."), say(".."), say("dir/.."), say(""); }
CHECK(out) { say("../outside"), say("/"), say("/work"), say("parent/outside"), say("updir/outside"); }
CHECK(through_links) { make("dir/new"), say("dirlink/new"), say_path(WORK, 0, "dir/new"); }
CHECK(nul) { SAY("nul", path_remove_directory(WORK, P("dir\0"), 4)); }
CHECK(not_utf8) { SAY("byte", path_remove_directory(WORK, P("\xff"), 1)); }

CHECK(open_one) {
    make("new");
    u32 n, fd = must_open("new", DIRECTORY, READ), inner;
    say("new");
    filestat s;
    SAY("stat", fd_filestat_get(fd, P(&s))), SAYN("type", s.type);
    SAY("open in it", open_at(fd, "x", CREAT, WRITE, 0, &inner));
    SAY("list", fd_readdir(fd, P(arguments), 100, 0, P(&n)));
    SAY("close", fd_close(fd));
}

CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", path_remove_directory(fd, PATH("nothing")));
    SAY("in a file", path_remove_directory(must_open("file", 0, READ), PATH("x")));
    SAY("not open", path_remove_directory(77, PATH("x")));
}

BAD(outside, path_remove_directory(WORK, memory_end() - 3, 4))
BAD(far_outside, path_remove_directory(WORK, 0xffffffff, 1))
