#include "check.h"

static char buf[128];
static u32 n;
static void say(const char *path) {
    n = 77;
    put(path, length(path));
    if (SAY("", path_readlink(WORK, PATH(path), P(buf), sizeof buf, P(&n)))) { SAYN("used", n); return; }
    SAYS("leads to", buf, n);
}

CHECK(links) { say("link"), say("dirlink"), say("dangling"), say("loop"), say("inner-up"), say("up"), say("chain"); }
CHECK(absolute) { say("absolute"); }
CHECK(no_links) { say("file"), say("dir"), say("."), say("nothing"), say("file/x"), say(""), say("dirlink/nested"), say("link/x"); }
CHECK(slashes) { say("link/"), say("dirlink/"), say("dangling/"), say("loop/"), say("./link"), say("dir/../link"), say("dirlink/."); }
CHECK(out) { say("../work/link"), say("/work/link"), say("parent/work/link"), say(".."), say("updir/x"); }
CHECK(sizes) {
    for (u32 len = 0; len < 7; len++) {
        for (u32 i = 0; i < 8; i++) buf[i] = '-';
        SAY("readlink", path_readlink(WORK, PATH("link"), P(buf), len, P(&n))), SAYN("used", n), SAYS("it", buf, 8);
    }
    SAY("none outside", path_readlink(WORK, PATH("link"), 0xffffffff, 0, P(&n)));
}
CHECK(not_utf8) { SAY("target", path_readlink(WORK, PATH("bytes-link"), P(buf), 128, P(&n))), SAY("path", path_readlink(WORK, P("\xff"), 1, P(buf), 128, P(&n))); }
CHECK(nul) { SAY("nul", path_readlink(WORK, P("link"), 5, P(buf), 128, P(&n))); }
CHECK(descriptors) {
    for (u32 fd = 0; fd < 6; fd++) SAY("in", path_readlink(fd, PATH("link"), P(buf), 128, P(&n)));
    SAY("in a file", path_readlink(must_open("file", 0, READ), PATH("link"), P(buf), 128, P(&n)));
    SAY("not open", path_readlink(77, PATH("link"), P(buf), 128, P(&n)));
}
BAD(path_outside, path_readlink(WORK, memory_end() - 3, 4, P(buf), 128, P(&n)))
BAD(outside, path_readlink(WORK, PATH("link"), memory_end() - 3, 128, P(&n)))
BAD(outside_but_not_used, path_readlink(WORK, PATH("link"), memory_end() - 4, 128, P(&n)))
BAD(far_outside, path_readlink(WORK, PATH("link"), 0xffffffff, 128, P(&n)))
BAD(result_outside, path_readlink(WORK, PATH("link"), P(buf), 128, memory_end()))
BAD(result_misaligned, path_readlink(WORK, PATH("link"), P(buf), 128, P(&n) + 1))
BAD(no_link_outside, path_readlink(WORK, PATH("file"), 0xffffffff, 128, 0xffffffff))
