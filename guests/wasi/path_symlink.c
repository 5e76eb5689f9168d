#include "check.h"

static u32 say(const char *target, const char *path) {
    put(path, length(path)), PUT(" -> "), put(target, length(target));
    return SAY("", path_symlink(PATH(target), WORK, PATH(path)));
}

CHECK(new) { say("file", "a"), say_path(WORK, 0, "a"), say_path(WORK, 1, "a"), say_contents(WORK, "a"), say("nothing", "b"), say_path(WORK, 1, "b"), say("a", "c"), say_contents(WORK, "c"); }
CHECK(relative_to_itself) { say("nested/file", "dir/a"), say_contents(WORK, "dir/a"), say("../file", "dir/b"), say_contents(WORK, "dir/b"); }
CHECK(to_a_directory) { say("dir", "a"), say("dir/", "b"), say_contents(WORK, "a/nested/file"), say_contents(WORK, "b/nested/file"), say(".", "here"), say_contents(WORK, "here/file"); }
CHECK(there_already) { say("file", "empty"), say("file", "dir"), say("file", "link"), say("file", "dangling"), say("file", "."); }
CHECK(no_parent) { say("file", "nothing/a"), say("file", "file/a"), say("file", ""), say("", "a"), say("file", "loop/a"); }
CHECK(slashes) { say("file", "a/"), say("file", "b//"), say("file", "file/"), say("file", "dir/"), say("file", "dangling/"), say("file", "c/."), say("file/", "d"), say_path(WORK, 1, "d"); }
CHECK(absolute) { say("/", "a"), say("/file", "b"), say("//", "c"), say_path(WORK, 0, "a"); }
CHECK(leads_out) {
    say("../secret", "a"), say_path(WORK, 0, "a"), say_path(WORK, 1, "a"), say_contents(WORK, "a");
    say("..", "b"), say_path(WORK, 1, "b"), say("dir/../../secret", "c"), say_contents(WORK, "c"), say_contents(WORK, "b/secret");
}
CHECK(out) { say("file", "../a"), say("file", "/a"), say("file", "parent/a"), say("file", "updir/a"); }
CHECK(loops) { say("mine", "mine"), say_path(WORK, 1, "mine"), say("two", "one"), say("one", "two"), say_path(WORK, 1, "one"), say_contents(WORK, "two/x"); }
CHECK(nul) { SAY("target", path_symlink(P("a\0b"), 3, WORK, PATH("a"))), SAY("path", path_symlink(PATH("a"), WORK, P("a\0b"), 3)); }
CHECK(not_utf8) { SAY("target", path_symlink(P("\xff"), 1, WORK, PATH("a"))), SAY("path", path_symlink(PATH("a"), WORK, P("\xff"), 1)); }
CHECK(unicode) { say("ü", "€"), say_path(WORK, 0, "€"); }

static char name[70000];
CHECK(long_targets) {
    for (u32 i = 0; i < sizeof name; i++) name[i] = 'x';
    u32 lens[] = {255, 256, 4095, 4096, 70000};
    char path[] = "l0";
    for (u32 i = 0; i < LEN(lens); i++) path[1] = '0' + i, PUT("length "), put_number(lens[i]), SAY(" ", path_symlink(P(name), lens[i], WORK, PATH(path)));
}

CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", path_symlink(PATH("file"), fd, PATH("made")));
    SAY("in a file", path_symlink(PATH("file"), must_open("file", 0, READ), PATH("made2")));
    SAY("not open", path_symlink(PATH("file"), 77, PATH("made2")));
}
BAD(target_outside, path_symlink(memory_end() - 3, 4, WORK, PATH("a")))
BAD(path_outside, path_symlink(PATH("file"), WORK, memory_end() - 3, 4))
BAD(not_open_outside, path_symlink(memory_end(), 4, 77, PATH("a")))
