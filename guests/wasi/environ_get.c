//@env FIRST=1
//@env EMPTY=
//@env WITH=a=b c
//@env UNICODE=ü
#include "check.h"

CHECK(all) {
    static u32 env[16];
    static char buf[4096];
    u32 count, size;
    MUST(environ_sizes_get(P(&count), P(&size)));
    SAYN("count", count);
    SAYN("size", size);
    SAY("get", environ_get(P(env), P(buf)));
    for (u32 i = 0; i < count; i++) SAYS("variable", (char *)env[i], length((char *)env[i]));
    SAYN("it begins at the buffer", env[0] == P(buf));
}

static u32 env[16];
static char buf[4096];
BAD(no_room_for_pointers, environ_get(memory_end() - 4, P(buf)))
BAD(no_room_for_text, environ_get(P(env), memory_end() - 8))
BAD(pointers_outside, environ_get(0xfffffffc, P(buf)))
BAD(text_outside, environ_get(P(env), 0xffffffff))
BAD(misaligned_pointers, environ_get(P(env) + 1, P(buf)))
