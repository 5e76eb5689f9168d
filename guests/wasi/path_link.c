#include "check.h"

static u32 say(const char *from, const char *to) {
    put(from, length(from)), PUT(" to "), put(to, length(to));
    return SAY("", path_link(WORK, 0, PATH(from), WORK, PATH(to)));
}

CHECK(file) {
    say("file", "second"), say_path(WORK, 0, "second"), say_path(WORK, 0, "file");
    make_file("file", "changed"), say_contents(WORK, "second");
    say("file", "dir/third"), say_path(WORK, 0, "dir/third");
}
CHECK(there_already) { say("file", "empty"), say("file", "file"), say("file", "dir"), say("file", "link"), say("file", "dangling"), say("file", "."); }
CHECK(directories) { say("dir", "dir2"), say(".", "x"), say("dirlink", "dirlink2"), say_path(WORK, 0, "dirlink2"); }
CHECK(links) { say("link", "link2"), say_path(WORK, 0, "link2"), say_path(WORK, 0, "link"), say("dangling", "dangling2"), say("loop", "loop2"), say_path(WORK, 0, "loop2"); }
CHECK(follow) {
    SAY("file", path_link(WORK, FOLLOW, PATH("file"), WORK, PATH("a")));
    SAY("link", path_link(WORK, FOLLOW, PATH("link"), WORK, PATH("b")));
    SAY("nothing", path_link(WORK, FOLLOW, PATH("nothing"), WORK, PATH("c")));
    SAY("not open", path_link(77, FOLLOW, PATH("file"), WORK, PATH("d")));
}
BAD(unknown_flag, path_link(WORK, 2, PATH("file"), WORK, PATH("d")))
BAD(unknown_flag_not_open, path_link(77, 2, PATH("file"), WORK, PATH("d")))
CHECK(nothing) { say("nothing", "a"), say("", "a"), say("file", ""), say("file/x", "a"), say("file", "nothing/a"), say("file", "file/a"); }
CHECK(slashes) { say("file/", "a"), say("file", "a/"), say("file", "a//"), say("link/", "b"), say("file", "dangling/"), say("file", "c/."); }
CHECK(out) { say("../secret", "got"), say("file", "../put"), say("/secret", "got"), say("file", "/put"), say("parent/secret", "got"), say("file", "updir/put"), say("up", "up2"), say("absolute", "absolute2"); }
CHECK(between_directories) {
    SAY("to other", path_link(WORK, 0, PATH("file"), OTHER, PATH("linked"))), say_path(OTHER, 0, "linked");
    SAY("to here", path_link(WORK, 0, PATH("file"), HERE, PATH("linked"))), say_path(WORK, 0, "dir/linked");
}
CHECK(while_open) {
    u32 fd = must_open("file", 0, READ | WRITE);
    say("file", "second");
    must_write(fd, "ABC"), say_contents(WORK, "second");
    MUST(path_unlink_file(WORK, PATH("file")));
    must_write(fd, "DEF"), say_contents(WORK, "second");
}
CHECK(nul) {
    SAY("old", path_link(WORK, 0, P("file"), 5, WORK, PATH("a")));
    SAY("new", path_link(WORK, 0, PATH("file"), WORK, P("a"), 2));
}
CHECK(not_utf8) {
    SAY("old", path_link(WORK, 0, P("bytes/\xff"), 7, WORK, PATH("a")));
    SAY("new", path_link(WORK, 0, PATH("file"), WORK, P("\xff"), 1));
}
CHECK(descriptors) {
    u32 file = must_open("file", 0, READ);
    for (u32 fd = 0; fd < 3; fd++) SAY("from", path_link(fd, 0, PATH("file"), WORK, PATH("a"))), SAY("to", path_link(WORK, 0, PATH("file"), fd, PATH("a")));
    SAY("from a file", path_link(file, 0, PATH("file"), WORK, PATH("a"))), SAY("to a file", path_link(WORK, 0, PATH("file"), file, PATH("a")));
    SAY("from none", path_link(77, 0, PATH("file"), WORK, PATH("a"))), SAY("to none", path_link(WORK, 0, PATH("file"), 77, PATH("a")));
}
BAD(old_outside, path_link(WORK, 0, memory_end() - 3, 4, WORK, PATH("a")))
BAD(new_outside, path_link(WORK, 0, PATH("file"), WORK, memory_end() - 3, 4))
BAD(none_old_outside, path_link(WORK, 0, memory_end(), 4, 77, PATH("a")))
