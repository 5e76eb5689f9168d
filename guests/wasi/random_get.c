#include "check.h"

static u8 a[4096], b[4096], big[300000];

CHECK(none) {
    a[0] = 7;
    SAY("none", random_get(P(a), 0));
    SAYN("untouched", a[0]);
    SAY("none at the end of memory", random_get(memory_end(), 0));
    SAY("none outside", random_get(0xffffffff, 0));
}

CHECK(some) {
    SAY("4096", random_get(P(a), sizeof a));
    SAY("4096 more", random_get(P(b), sizeof b));
    u32 same = 0, zeros = 0;
    for (u32 i = 0; i < 256; i++) same += a[i] == b[i], zeros += a[i] == 0;
    SAYN("differ", same < 30);
    SAYN("not all zeros", zeros < 30);
}

CHECK(many) {
    SAY("300000", random_get(P(big), sizeof big));
    u32 zeros = 0;
    for (u32 i = sizeof big - 256; i < sizeof big; i++) zeros += big[i] == 0;
    SAYN("up to the end", zeros < 30);
}

CHECK(exactly_so_many) {
    a[0] = a[9] = 0x55;
    for (u32 i = 0; i < 20; i++) MUST(random_get(P(a) + 1, 8));
    SAYN("before", a[0]);
    SAYN("after", a[9]);
}

CHECK(up_to_the_end_of_memory) { SAY("last 16 bytes", random_get(memory_end() - 16, 16)); }
BAD(past_the_end, random_get(memory_end() - 16, 17))
BAD(outside, random_get(0xffffffff, 1))
BAD(wraps, random_get(P(a), 0xffffffff))
