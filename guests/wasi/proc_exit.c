#include "check.h"

#define EXIT(name, code) CHECK(name) { PUT("before\n"), proc_exit(code), PUT("after\n"); }
EXIT(zero, 0)
EXIT(one, 1)
EXIT(seven, 7)
EXIT(eighty_five, 85)
EXIT(hundred_and_one, 101)
EXIT(last, 125)
EXIT(first_bad, 126)
EXIT(hundred_thirty_four, 134)
EXIT(last_byte, 255)
EXIT(wraps_to_zero, 256)
EXIT(wraps_to_one, 257)
EXIT(big, 0x7fffffff)
EXIT(minus_one, 0xffffffff)

CHECK(by_returning) { PUT("returns\n"); }

CHECK(by_trap) { PUT("before\n"), __builtin_trap(); }

// Depth matters: every frame has to go.
static void deep(u32 n) {
    if (n == 0) proc_exit(9);
    else deep(n - 1);
    SAYN("after", n);
}
CHECK(from_deep_within) { deep(40); }

CHECK(with_open_files) {
    u32 fd = must_open("left", CREAT, WRITE);
    must_write(fd, "written before the end");
    proc_exit(3);
}
