#include "check.h"

static u64 now, later;

CHECK(clocks) {
    for (u32 id = 0; id < 4; id++) {
        now = 77;
        PUT("clock "), put_number(id), PUT(" "), SAY("time", clock_time_get(id, 0, P(&now)));
        if (now == 77) PUT("nothing written\n");
    }
}

CHECK(realtime_is_of_this_age) {
    MUST(clock_time_get(0, 0, P(&now)));
    SAYN("after 2023", now > 1700000000000000000);
    SAYN("before 2100", now < 4102444800000000000);
}

CHECK(monotonic_never_goes_back) {
    MUST(clock_time_get(1, 1, P(&now)));
    for (u32 i = 0; i < 50; i++) {
        MUST(clock_time_get(1, i * 1000000ull, P(&later)));
        if (later < now) PUT("it went back\n");
        now = later;
    }
    PUT("done\n");
}

CHECK(precision_does_not_matter) {
    SAY("smallest", clock_time_get(1, 0, P(&now)));
    SAY("largest", clock_time_get(1, ~0ull, P(&later)));
    SAYN("later", later >= now);
}

BAD(no_such_clock, clock_time_get(77, 0, P(&now)))
BAD(outside, clock_time_get(0, 0, memory_end() - 4))
BAD(misaligned, clock_time_get(1, 0, P(&now) + 1))
BAD(no_such_clock_outside, clock_time_get(4, 0, memory_end()))
