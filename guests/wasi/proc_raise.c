#include "check.h"

CHECK(signals) {
    for (u32 i = 0; i <= 30; i++) SAY("raise", proc_raise(i));
}

BAD(first_that_is_none, proc_raise(31))
BAD(last_byte, proc_raise(255))
BAD(no_signal, proc_raise(0xffffffff))
