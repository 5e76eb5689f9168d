//@args one two=2 ü
#include "check.h"

CHECK(all) {
    for (u32 i = 1; i < argc; i++) SAYS("argument", (char *)argv[i], length((char *)argv[i]));
    SAYN("count", argc);
}

CHECK(one_after_another) {
    for (u32 i = 1; i < argc; i++) SAYN("gap", argv[i] - argv[i - 1] - length((char *)argv[i - 1]));
}

CHECK(again_elsewhere) {
    static u32 to[16];
    static char buf[64];
    SAY("get", args_get(P(to), P(buf + 1)));  // text need not be aligned
    SAYS("second", (char *)to[1], length((char *)to[1]));
}

BAD(no_room_for_pointers, args_get(memory_end() - 4, P(arguments)))
BAD(no_room_for_text, args_get(P(argv), memory_end() - 3))
BAD(pointers_outside, args_get(0xfffffffc, P(arguments)))
BAD(text_outside, args_get(P(argv), 0xffffffff))
BAD(misaligned_pointers, args_get(P(argv) + 2, P(arguments)))
