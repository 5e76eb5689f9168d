#include "check.h"

CHECK(yields) {
    for (u32 i = 0; i < 3; i++) SAY("yield", sched_yield());
}
