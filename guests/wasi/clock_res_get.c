#include "check.h"

static u64 res;

CHECK(clocks) {
    for (u32 id = 0; id < 4; id++) {
        res = 77;
        PUT("clock "), put_number(id), PUT(" "), SAY("resolution", clock_res_get(id, P(&res)));
        if (res == 77) PUT("nothing written\n");
        else SAYN("above 0 and at most 10 ms", res > 0 && res <= 10000000);
    }
}

BAD(no_such_clock, clock_res_get(0xffffffff, P(&res)))
BAD(outside, clock_res_get(1, memory_end() - 7))
BAD(misaligned, clock_res_get(1, P(&res) + 4))
BAD(no_such_clock_outside, clock_res_get(4, 0xffffffff))
BAD(no_cpu_time_outside, clock_res_get(2, 0xffffffff))
