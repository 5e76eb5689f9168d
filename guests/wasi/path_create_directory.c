#include "check.h"

static u32 say(const char *path) {
    put(path, length(path));
    return SAY("", path_create_directory(WORK, PATH(path)));
}

CHECK(new) { say("new"), say("new/inner"), say_path(WORK, 0, "new"), say_path(WORK, 0, "new/inner"); }
CHECK(there_already) { say("dir"), say("file"), say("link"), say("dangling"), say("dirlink"), say("."), say("dir/.."); }
CHECK(no_parent) { say("no/dir"), say("file/dir"), say("dangling/dir"), say("loop/dir"); }
CHECK(slashes) { say("a/"), say("b//"), say("c/."), say("dir//d"), say("./e"), say("dir/./f"), say("g/../h"), say("dir/../i"); }
CHECK(dangling_with_a_slash) { say("dangling/"), say("file/"), say("link/"), say("dirlink/"); }
CHECK(through_links) { say("dirlink/made"), say_path(WORK, 0, "dir/made"), say("inner-up/x"); }
CHECK(out) { say("../made"), say("/made"), say("up/made"), say("parent/made"), say("dir/../../made"), say("absolute/made"), say(".."), say("/"); }
CHECK(empty) { say(""), SAY("at the end of memory", path_create_directory(WORK, memory_end(), 0)); }
BAD(empty_outside, path_create_directory(WORK, memory_end() + 1, 0))
CHECK(nul) { SAY("within", path_create_directory(WORK, P("a\0b"), 3)), SAY("at the end", path_create_directory(WORK, P("a"), 2)); }
CHECK(not_utf8) { SAY("byte", path_create_directory(WORK, P("\xff"), 1)), SAY("half a letter", path_create_directory(WORK, P("ü"), 1)); }
CHECK(unicode) { say("ü€😀"), say_path(WORK, 0, "ü€😀"); }

static char name[70000];
CHECK(long_names) {
    for (u32 i = 0; i < sizeof name; i++) name[i] = 'x';
    u32 lens[] = {255, 256, 4095, 4096, 65535, 65536, 70000};
    for (u32 i = 0; i < LEN(lens); i++) PUT("length "), put_number(lens[i]), SAY(" ", path_create_directory(WORK, P(name), lens[i]));
}

CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", path_create_directory(fd, PATH("made")));
    SAY("in a file", path_create_directory(must_open("file", 0, READ), PATH("made2")));
    SAY("in a directory", path_create_directory(must_open("dir", 0, READ), PATH("made2")));
    SAY("not open", path_create_directory(77, PATH("made2")));
}

CHECK(in_a_removed_one) {
    MUST(path_create_directory(WORK, PATH("new")));
    u32 fd = must_open("new", DIRECTORY, READ);
    MUST(path_remove_directory(WORK, PATH("new")));
    SAY("make", path_create_directory(fd, PATH("made")));
}

BAD(outside, path_create_directory(WORK, memory_end() - 3, 4))
BAD(far_outside, path_create_directory(WORK, 0xffffffff, 1))
BAD(too_long, path_create_directory(WORK, P("x"), 0xffffffff))
BAD(not_open_outside, path_create_directory(77, 0xffffffff, 1))
