//@stdin some input\n
#include "check.h"

// Clock: id u32 at 16, timeout u64 at 24, precision u64 at 32, flags u16 at 40. Descriptor: fd u32 at 16.
typedef struct { u64 userdata; u8 tag; u8 pad[7]; u32 id, pad2; u64 timeout, precision; u16 flags; } subscription;
typedef struct { u64 userdata; u16 error; u8 type; u8 pad[5]; u64 nbytes; u16 flags; } event;
enum { REALTIME, MONOTONIC, PROCESS, THREAD };
enum { RELATIVE, ABSOLUTE };
#define MS 1000000ull
#define HOUR (3600000 * MS)
// Never over, and no wait is as long: a busy machine can stand still for a minute.
#define FAR (1000 * HOUR)

static subscription in[64];
static event out[64];
static u32 n;

static void clock(u32 i, u32 id, u64 timeout, u32 flags) { in[i] = (subscription){.userdata = 100 + i, .tag = 0, .id = id, .timeout = timeout, .flags = flags}; }
static void descriptor(u32 i, u32 fd, u32 write) { in[i] = (subscription){.userdata = 100 + i, .tag = write ? 2 : 1, .id = fd}; }
static void say(u32 count) {
    for (u32 i = 0; i < LEN(out); i++) out[i] = (event){.userdata = 77};
    n = 77;
    if (SAY("poll", poll_oneoff(P(in), P(out), count, P(&n)))) return;
    SAYN("events", n);
    for (u32 i = 0; i < n; i++) {
        PUT("event "), put_number(out[i].userdata), PUT(" type "), put_number(out[i].type), PUT(" bytes "), put_number(out[i].nbytes);
        PUT(" flags "), put_number(out[i].flags), SAY(" error", out[i].error);
    }
}
static u64 now(u32 id) {
    static u64 t;
    MUST(clock_time_get(id, 0, P(&t)));
    return t;
}
static void took(u64 begin, u64 at_least) {
    u64 t = now(MONOTONIC) - begin;
    SAYN("long enough", t >= at_least), SAYN("not much longer", t < at_least + HOUR);
}

CHECK(none) { say(0), SAY("none, outside", poll_oneoff(0xffffffff, 0xffffffff, 0, 0xffffffff)); }

CHECK(one_clock) {
    u64 begin = now(MONOTONIC);
    clock(0, MONOTONIC, 20 * MS, RELATIVE), say(1), took(begin, 20 * MS);
    clock(0, REALTIME, 10 * MS, RELATIVE), say(1), took(begin, 30 * MS);
    clock(0, MONOTONIC, 0, RELATIVE), say(1);
    clock(0, MONOTONIC, 1, RELATIVE), say(1);
}
CHECK(one_deadline) {
    u64 begin = now(MONOTONIC);
    clock(0, MONOTONIC, begin + 20 * MS, ABSOLUTE), say(1), took(begin, 20 * MS);
    clock(0, MONOTONIC, begin, ABSOLUTE), say(1);
    clock(0, MONOTONIC, 0, ABSOLUTE), say(1);
    // Not measured with the other clock, which stands still while the program is stopped.
    u64 deadline = now(REALTIME) + 20 * MS;
    clock(0, REALTIME, deadline, ABSOLUTE), say(1), SAYN("long enough", now(REALTIME) >= deadline);
    clock(0, REALTIME, 0, ABSOLUTE), say(1);
}
CHECK(cpu_clocks) {
    clock(0, PROCESS, 5 * MS, RELATIVE), say(1), clock(0, THREAD, 5 * MS, RELATIVE), say(1);
    clock(0, PROCESS, 5 * MS, ABSOLUTE), say(1), clock(0, THREAD, 0, ABSOLUTE), say(1);
    clock(0, PROCESS, 5 * MS, RELATIVE), clock(1, MONOTONIC, 0, RELATIVE), say(2);
}
CHECK(several_clocks) {
    u64 begin = now(MONOTONIC);
    clock(0, MONOTONIC, FAR, RELATIVE), clock(1, MONOTONIC, 10 * MS, RELATIVE), clock(2, REALTIME, FAR, RELATIVE), say(3), took(begin, 10 * MS);
    clock(0, MONOTONIC, 0, RELATIVE), clock(1, REALTIME, 0, RELATIVE), clock(2, MONOTONIC, FAR, RELATIVE), say(3);
    clock(0, MONOTONIC, begin, ABSOLUTE), clock(1, MONOTONIC, FAR, RELATIVE), clock(2, REALTIME, 1, ABSOLUTE), say(3);
    clock(0, MONOTONIC, ~0ull, ABSOLUTE), clock(1, MONOTONIC, 0, RELATIVE), say(2);
    clock(0, MONOTONIC, ~0ull, RELATIVE), clock(1, MONOTONIC, 0, RELATIVE), say(2);
    clock(0, REALTIME, ~0ull, ABSOLUTE), clock(1, MONOTONIC, 0, RELATIVE), say(2);
}
CHECK(same_clock_twice) { clock(0, MONOTONIC, now(MONOTONIC), ABSOLUTE), in[1] = in[0], say(2); }
CHECK(unknown) {
    clock(0, 4, 0, RELATIVE), say(1), clock(0, MONOTONIC, 0, 2), say(1), clock(0, 0xffffffff, 0, ABSOLUTE), say(1);
    in[0].tag = 3, say(1), in[0].tag = 255, say(1);
    clock(0, MONOTONIC, FAR, RELATIVE), clock(1, 4, 0, RELATIVE), say(2);
}
CHECK(files) {
    u32 fd = must_open("file", 0, READ | WRITE), end = must_open("file", 0, READ | WRITE), out_only = must_open("file", 0, WRITE), in_only = must_open("file", 0, READ);
    seek(end, 0, END);
    descriptor(0, fd, 0), say(1), descriptor(0, fd, 1), say(1), descriptor(0, end, 0), say(1), descriptor(0, end, 1), say(1);
    descriptor(0, out_only, 0), say(1), descriptor(0, out_only, 1), say(1), descriptor(0, in_only, 0), say(1), descriptor(0, in_only, 1), say(1);
    seek(end, 100, SET), descriptor(0, end, 0), say(1), descriptor(0, must_open("empty", 0, READ), 0), say(1);
}
CHECK(file_with_a_clock) {
    u32 fd = must_open("file", 0, READ);
    descriptor(0, fd, 0), clock(1, MONOTONIC, FAR, RELATIVE), say(2);
    clock(0, MONOTONIC, FAR, RELATIVE), descriptor(1, fd, 0), say(2);
    descriptor(0, fd, 0), clock(1, MONOTONIC, 0, ABSOLUTE), descriptor(2, fd, 1), say(3);
}
CHECK(output_streams) {
    descriptor(0, STDOUT, 1), say(1), descriptor(0, STDERR, 1), say(1);
    descriptor(0, STDOUT, 1), descriptor(1, STDERR, 1), clock(2, MONOTONIC, FAR, RELATIVE), say(3);
}
CHECK(input) { descriptor(0, STDIN, 0), say(1), descriptor(0, STDIN, 0), clock(1, MONOTONIC, FAR, RELATIVE), say(2); }
CHECK(input_at_its_end) {
    u8 c[100];
    u32 read;
    do MUST(read_fd(STDIN, c, sizeof c, &read)); while (read);
    descriptor(0, STDIN, 0), say(1);
}
CHECK(wrong_way) { descriptor(0, STDIN, 1), say(1), descriptor(0, STDOUT, 0), say(1), descriptor(0, STDERR, 0), say(1); }
CHECK(not_to_be_polled) {
    descriptor(0, WORK, 0), say(1), descriptor(0, WORK, 1), say(1), descriptor(0, 77, 0), say(1), descriptor(0, 0xffffffff, 1), say(1);
    descriptor(0, must_open("dir", 0, READ), 0), say(1);
    clock(0, MONOTONIC, FAR, RELATIVE), descriptor(1, 77, 0), say(2);
    descriptor(0, STDOUT, 1), descriptor(1, 77, 0), say(2);
}
CHECK(many) {
    u32 fd = must_open("file", 0, READ);
    for (u32 i = 0; i < 64; i++) descriptor(i, fd, 0);
    n = 77, SAY("poll", poll_oneoff(P(in), P(out), 64, P(&n))), SAYN("events", n), SAYN("last", out[63].userdata);
}
CHECK(nothing_else_is_written) {
    for (u32 i = 0; i < 64; i++) out[i] = (event){.userdata = 77};
    clock(0, MONOTONIC, 0, RELATIVE), clock(1, MONOTONIC, FAR, RELATIVE);
    MUST(poll_oneoff(P(in), P(out), 2, P(&n))), SAYN("first", out[0].userdata), SAYN("second", out[1].userdata);
}
static void poll_one(void) { MUST(poll_oneoff(P(in), P(out), 1, P(&n))); }
CHECK(gaps) {
    clock(0, MONOTONIC, 0, RELATIVE), say_gaps(poll_one, out, sizeof *out), clock(0, MONOTONIC, 0, ABSOLUTE), say_gaps(poll_one, out, sizeof *out);
    descriptor(0, STDOUT, 1), say_gaps(poll_one, out, sizeof *out), descriptor(0, must_open("file", 0, READ), 0), say_gaps(poll_one, out, sizeof *out);
}
CHECK(events_over_subscriptions) {
    // Both in one place: the first event goes over the first subscription.
    clock(0, MONOTONIC, 0, RELATIVE), SAY("poll", poll_oneoff(P(in), P(in), 1, P(&n))), SAYN("events", n), SAYN("userdata", in[0].userdata), SAYN("type", ((event *)in)->type);
}
CHECK(descriptor_after_renumbering) {
    u32 a = must_open("file", 0, READ), b = must_open("empty", 0, READ);
    MUST(fd_renumber(a, b)), descriptor(0, b, 0), say(1), descriptor(0, a, 0), say(1);
}

static u32 soon(void) { return clock(0, MONOTONIC, 0, RELATIVE), P(in); }
static u32 deadline(void) { return clock(0, MONOTONIC, 0, ABSOLUTE), P(in); }
static u32 ready(void) { return descriptor(0, STDOUT, 1), P(in); }
BAD(subscriptions_outside, poll_oneoff(memory_end() - 47, P(out), 1, P(&n)))
BAD(two_subscriptions_outside, poll_oneoff(memory_end() - 48, P(out), 2, P(&n)))
BAD(subscriptions_misaligned, poll_oneoff(soon() + 4, P(out), 1, P(&n)))
BAD(events_outside, poll_oneoff(soon(), memory_end() - 31, 1, P(&n)))
BAD(events_misaligned, poll_oneoff(soon(), P(out) + 4, 1, P(&n)))
BAD(events_outside_deadline, poll_oneoff(deadline(), memory_end() - 31, 1, P(&n)))
BAD(events_outside_descriptor, poll_oneoff(ready(), memory_end() - 31, 1, P(&n)))
BAD(events_misaligned_descriptor, poll_oneoff(ready(), P(out) + 4, 1, P(&n)))
BAD(result_outside, poll_oneoff(soon(), P(out), 1, memory_end()))
BAD(result_misaligned, poll_oneoff(ready(), P(out), 1, P(&n) + 2))
BAD(too_many, poll_oneoff(soon(), P(out), 0xffffffff, P(&n)))
BAD(many_outside, poll_oneoff(soon(), P(out), 100000, P(&n)))
BAD(too_many_for_the_host, poll_oneoff(soon(), P(out), 0x1000000, P(&n)))
BAD(not_open_events_outside, (descriptor(0, 77, 1), poll_oneoff(P(in), 0xffffffff, 1, P(&n))))
BAD(events_outside_but_not_used, (clock(0, MONOTONIC, 0, RELATIVE), clock(1, MONOTONIC, FAR, RELATIVE), poll_oneoff(P(in), memory_end() - 32, 2, P(&n))))
