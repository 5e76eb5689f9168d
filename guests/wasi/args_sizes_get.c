//@args one two=2 ü
#include "check.h"

CHECK(sizes) {
    static u32 count = 77, size = 77;
    SAY("sizes", args_sizes_get(P(&count), P(&size)));
    SAYN("count", count);
    // The program's name differs from host to host.
    u32 mine = 0;
    for (u32 i = 0; i < argc; i++) mine += length((char *)argv[i]) + 1;
    SAYN("size is that of the text", size == mine);
}

CHECK(same_place) {
    static u32 both;
    SAY("sizes", args_sizes_get(P(&both), P(&both)));
    SAYN("the size comes last", both > 4);
}

static u32 n;
BAD(bad_count, args_sizes_get(memory_end(), P(&n)))
BAD(bad_size, args_sizes_get(P(&n), memory_end() - 3))
BAD(bad_last_byte, args_sizes_get(0xffffffff, 0xffffffff))
BAD(misaligned_count, args_sizes_get(P(arguments) + 1, P(&n)))
BAD(misaligned_size, args_sizes_get(P(&n), P(&n) + 2))
