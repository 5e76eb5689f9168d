#include "check.h"

CHECK(file) {
    u32 fd = must_open("file", 0, READ), n;
    char c;
    SAY("close", fd_close(fd));
    SAY("again", fd_close(fd));
    SAY("read", read_fd(fd, &c, 1, &n));
    SAYN("the number is free", must_open("file", 0, READ) == fd);
}

CHECK(never_open) {
    SAY("77", fd_close(77));
    SAY("all bits", fd_close(0xffffffff));
    SAY("highest positive", fd_close(0x7fffffff));
}

CHECK(numbers) {
    u32 fd[8];
    for (u32 i = 0; i < 8; i++) fd[i] = must_open("file", 0, READ), SAYN("new", fd[i]);
    MUST(fd_close(fd[1])), MUST(fd_close(fd[4])), MUST(fd_close(fd[6]));
    for (u32 i = 0; i < 5; i++) SAYN("again", must_open("file", 0, READ));
    for (u32 i = 7; i > 2; i--) MUST(fd_close(fd[i]));
    SAYN("after closing the last ones", must_open("file", 0, READ));
}

CHECK(streams) {
    u32 n;
    char c;
    SAY("stdin", fd_close(STDIN));
    SAY("read", read_fd(STDIN, &c, 1, &n));
    SAY("stderr", fd_close(STDERR));
    SAY("write", write_fd(STDERR, "x", 1, &n));
    SAYN("taken", must_open("file", 0, READ));
    SAYN("taken", must_open("file", 0, READ));
    SAY("seek in what was stderr", fd_seek(STDERR, 0, CUR, P(arguments)));
}

CHECK(stdout) {
    u32 fd = must_open("log", CREAT, WRITE);
    PUT("last words\n");
    u32 e = fd_close(STDOUT), n;
    e = e * 100 + write_fd(STDOUT, "x", 1, &n);
    MUST(write_fd(fd, e == 8 ? "as it should be" : "wrong", e == 8 ? 15 : 5, &n));
}

CHECK(directories) {
    u32 fd;
    SAY("preopen", fd_close(WORK));
    SAY("open in it", open_at(WORK, "file", 0, READ, 0, &fd));
    SAY("prestat", fd_prestat_get(WORK, P(arguments)));
    SAY("the next", fd_prestat_get(OTHER, P(arguments)));
    SAY("open in another", open_at(OTHER, "inside", 0, READ, 0, &fd));
    SAYN("number", fd);
    SAY("what is open now is no preopen", fd_prestat_get(WORK, P(arguments)));
}

CHECK(files_beneath_a_closed_directory) {
    u32 n, fd = must_open("file", 0, READ);
    char c[4];
    MUST(fd_close(WORK));
    SAY("read", read_fd(fd, c, 4, &n));
    SAYS("it", c, n);
    SAYN("position", tell(fd));
}

CHECK(deleted_file) {
    u32 n, fd = must_open("file", 0, READ | WRITE);
    char c[4];
    MUST(path_unlink_file(WORK, PATH("file")));
    SAY("read", read_fd(fd, c, 4, &n));
    SAYS("it", c, n);
    SAY("write", write_fd(fd, "more", 4, &n));
    filestat s;
    MUST(fd_filestat_get(fd, P(&s)));
    say_stat(&s);
    SAY("close", fd_close(fd));
    say_path(WORK, 0, "file");
}
