#include "check.h"

static char name[16];

CHECK(names) {
    u32 lens[] = {5, 6, 1};
    for (u32 i = 0; i < 3; i++) {
        for (u32 j = 0; j < sizeof name; j++) name[j] = '-';
        SAY("name", fd_prestat_dir_name(WORK + i, P(name), lens[i])), SAYS("it", name, 8);
        SAY("more room", fd_prestat_dir_name(WORK + i, P(name), 16)), SAYS("it", name, 8);
        SAY("too little", fd_prestat_dir_name(WORK + i, P(name), lens[i] - 1));
        SAY("none", fd_prestat_dir_name(WORK + i, P(name), 0));
    }
}

CHECK(others) {
    SAY("stdin", fd_prestat_dir_name(STDIN, P(name), 16));
    SAY("directory", fd_prestat_dir_name(must_open("dir", 0, READ), P(name), 16));
    SAY("file", fd_prestat_dir_name(must_open("file", 0, READ), P(name), 16));
    SAY("not open", fd_prestat_dir_name(77, P(name), 16));
}

BAD(outside, fd_prestat_dir_name(WORK, memory_end() - 4, 5))
BAD(far_outside, fd_prestat_dir_name(WORK, 0xffffffff, 5))
BAD(length_reaches_outside, fd_prestat_dir_name(WORK, memory_end() - 5, 100))
BAD(too_little_outside, fd_prestat_dir_name(WORK, memory_end(), 2))
