#include "check.h"

CHECK(files) {
    u32 fd = must_open("new", CREAT, WRITE);
    must_write(fd, "written");
    SAY("datasync", fd_datasync(fd));
    SAY("for reading only", fd_datasync(must_open("file", 0, READ)));
}

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) SAY("datasync", fd_datasync(fd));
    SAY("not open", fd_datasync(0xffffffff));
}
