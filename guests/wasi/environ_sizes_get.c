#include "check.h"

CHECK(none) {
    static u32 count = 77, size = 77;
    SAY("sizes", environ_sizes_get(P(&count), P(&size)));
    SAYN("count", count);
    SAYN("size", size);
    SAY("get with no room at all", environ_get(memory_end(), memory_end()));
    SAY("get outside", environ_get(0xffffffff, 0xffffffff));
}

static u32 n;
BAD(bad_count, environ_sizes_get(memory_end(), P(&n)))
BAD(bad_size, environ_sizes_get(P(&n), memory_end() - 3))
BAD(misaligned_count, environ_sizes_get(P(&n) + 1, P(&n)))
BAD(misaligned_size, environ_sizes_get(P(&n), P(&n) + 2))
