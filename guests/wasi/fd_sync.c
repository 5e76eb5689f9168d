#include "check.h"

CHECK(files) {
    u32 fd = must_open("new", CREAT, WRITE);
    must_write(fd, "written");
    SAY("sync", fd_sync(fd));
    SAY("for reading only", fd_sync(must_open("file", 0, READ)));
}

CHECK(not_files) {
    for (u32 fd = 0; fd < 7; fd++) SAY("sync", fd_sync(fd));
    SAY("not open", fd_sync(0xffffffff));
}
