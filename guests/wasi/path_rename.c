#include "check.h"

static u32 say(const char *from, const char *to) {
    put(from, length(from)), PUT(" to "), put(to, length(to));
    return SAY("", path_rename(WORK, PATH(from), WORK, PATH(to)));
}
static void make(const char *path) { MUST(path_create_directory(WORK, PATH(path))); }

CHECK(file) { say("file", "new"), say_contents(WORK, "new"), say_path(WORK, 0, "file"); }
CHECK(over_a_file) { say("file", "empty"), say_contents(WORK, "empty"), say_path(WORK, 0, "file"); }
CHECK(to_itself) { say("file", "file"), say("file", "./file"), say("dir", "dir"), say("link", "link"), say_contents(WORK, "file"); }
CHECK(hard_links_of_one_file) { MUST(path_link(WORK, 0, PATH("file"), WORK, PATH("second"))), say("file", "second"), say_path(WORK, 0, "file"), say_path(WORK, 0, "second"); }
CHECK(directory) { say("dir", "moved"), say_contents(WORK, "moved/nested/file"), say_path(WORK, 0, "dir"); }
CHECK(directory_over_empty) { make("new"), say("dir", "new"), say_contents(WORK, "new/nested/file"); }
CHECK(directory_over_full) { make("full"), make_file("full/f", ""), say("dir", "full"), say_path(WORK, 0, "dir"), say_path(WORK, 0, "full/f"); }
CHECK(directory_over_file) { say("dir", "file"), say("file", "dir"), make("new"), say("file", "new"), say("new", "file"); }
CHECK(into_itself) { say("dir", "dir/nested/x"), say("dir", "dir/x"), say(".", "x"), say("dir", "."); }
CHECK(links) {
    say("link", "link2"), say_path(WORK, 0, "link2"), say("dangling", "dangling2"), say("loop", "loop2"), say_path(WORK, 0, "loop2");
    say("file", "dirlink"), say_path(WORK, 0, "dirlink"), say_path(WORK, 0, "dir");
    say("dirlink", "dirlink3"), say("empty", "link2"), say_path(WORK, 0, "link2");
}
CHECK(nothing) { say("nothing", "a"), say("", "a"), say("file", ""), say("file/x", "a"), say("file", "nothing/a"), say("file", "link/a"), say("loop/x", "a"); }
CHECK(file_with_slashes) { say("file/", "a"), say("file", "a/"), say("file", "dir/"), say("file", "empty/"), say("link/", "b"), say("link", "c/"); }
CHECK(directory_with_slash) { make("a"), say("a/", "b"), say_path(WORK, 0, "b"); }
CHECK(directory_to_slash) { make("a"), say("a", "c/"), say_path(WORK, 0, "c"); }
CHECK(directory_with_slashes) { make("a"), say("a//", "b//"), say_path(WORK, 0, "b"); }
CHECK(dots) { make("a"), say("a/.", "b"), say("a", "b/."), say("a/..", "b"), say("./a", "./b"), say("dir/../b", "c"), say_path(WORK, 0, "c"); }
CHECK(out) {
    say("../secret", "got"), say("file", "../put"), say("/secret", "got"), say("file", "/put"), say("parent/secret", "got"), say("file", "updir/put");
    say("up", "up2"), say("absolute", "absolute2"), say_path(WORK, 0, "up2"), say("..", "x"), say("file", "..");
}
CHECK(between_directories) {
    SAY("to other", path_rename(WORK, PATH("file"), OTHER, PATH("moved"))), say_contents(OTHER, "moved"), say_path(WORK, 0, "file");
    SAY("back over", path_rename(OTHER, PATH("inside"), WORK, PATH("empty"))), say_contents(WORK, "empty");
    SAY("within one by two", path_rename(HERE, PATH("nested/file"), WORK, PATH("up-there"))), say_contents(WORK, "up-there");
}

static char c[16];
static u32 n;

CHECK(open_file) {
    u32 fd = must_open("file", 0, READ | WRITE);
    MUST(read_fd(fd, c, 3, &n));
    say("file", "dir/moved");
    SAY("read", read_fd(fd, c, 3, &n)), SAYS("it", c, n);
    must_write(fd, "XX"), say_contents(WORK, "dir/moved");
}

CHECK(over_an_open_file) {
    u32 fd = must_open("empty", 0, READ | WRITE);
    must_write(fd, "old"), say("file", "empty");
    seek(fd, 0, SET);
    SAY("read", read_fd(fd, c, 16, &n)), SAYS("it", c, n);
    filestat s;
    MUST(fd_filestat_get(fd, P(&s))), say_stat(&s);
    must_write(fd, "more"), MUST(fd_close(fd)), say_contents(WORK, "empty");
}

CHECK(over_a_file_by_an_open_one) {
    u32 fd = must_open("file", 0, READ | WRITE);
    say("file", "empty");
    must_write(fd, "XX"), say_contents(WORK, "empty");
    make_file("file", "new"), must_write(fd, "YY"), say_contents(WORK, "file"), say_contents(WORK, "empty");
}

CHECK(directory_above_an_open_file) {
    u32 fd = must_open("dir/nested/file", 0, READ | WRITE);
    say("dir", "a"), say("a/nested", "b");
    must_write(fd, "XX"), say_contents(WORK, "b/file");
    make("dir"), must_write(fd, "YY"), say_contents(WORK, "b/file");
}

CHECK(open_directory) {
    u32 fd = must_open("dir", DIRECTORY, READ), inner;
    say("dir", "moved");
    SAY("open", open_at(fd, "nested/file", 0, READ, 0, &inner)), SAY("read", read_fd(inner, c, 16, &n)), SAYS("it", c, n);
    make("dir");
    SAY("create", path_create_directory(fd, PATH("made"))), say_path(WORK, 0, "moved/made"), say_path(WORK, 0, "dir/made");
    say("moved/nested", "nested"), SAY("read", read_fd(inner, c, 16, &n));
}

CHECK(open_directory_in_another_preopen) {
    SAY("rename", path_rename(WORK, PATH("dir"), OTHER, PATH("dir")));
    u32 fd;
    // HERE is that directory, and goes with it.
    SAY("open", open_at(HERE, "nested/file", 0, READ, 0, &fd)), SAY("read", read_fd(fd, c, 16, &n)), SAYS("it", c, n);
}

CHECK(two_swapped_while_open) {
    u32 a = must_open("file", 0, READ | WRITE), b = must_open("empty", 0, READ | WRITE);
    say("file", "tmp"), say("empty", "file"), say("tmp", "empty");
    must_write(a, "A"), must_write(b, "B"), say_contents(WORK, "file"), say_contents(WORK, "empty");
}

CHECK(nul) {
    SAY("old", path_rename(WORK, P("file"), 5, WORK, PATH("a"))), SAY("new", path_rename(WORK, PATH("file"), WORK, P("a"), 2));
}
CHECK(not_utf8) {
    SAY("old", path_rename(WORK, P("bytes/\xff"), 7, WORK, PATH("a"))), SAY("new", path_rename(WORK, PATH("file"), WORK, P("\xff"), 1));
}
CHECK(descriptors) {
    u32 file = must_open("file", 0, READ);
    for (u32 fd = 0; fd < 3; fd++) SAY("from", path_rename(fd, PATH("file"), WORK, PATH("a"))), SAY("to", path_rename(WORK, PATH("file"), fd, PATH("a")));
    SAY("from a file", path_rename(file, PATH("file"), WORK, PATH("a"))), SAY("to a file", path_rename(WORK, PATH("file"), file, PATH("a")));
    SAY("from none", path_rename(77, PATH("file"), WORK, PATH("a"))), SAY("to none", path_rename(WORK, PATH("file"), 77, PATH("a")));
}
BAD(old_outside, path_rename(WORK, memory_end() - 3, 4, WORK, PATH("a")))
BAD(new_outside, path_rename(WORK, PATH("file"), WORK, memory_end() - 3, 4))
