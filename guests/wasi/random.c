// Random calls on a few descriptors and names: what they answer, line by line. A check is a seed. Whatever two hosts answer
// alike, they do alike here; `cargo xtask conformance` compares thousands of seeds with stock wasmtime.
//
// Kept out is what differs for reasons that docs/wasi.md tells (times of given directories, reading nothing from standard
// input, a directory that changes while it is read, several files in one poll_oneoff) and what is never the same twice
// (times that were not set, inode numbers, the order of names). Addresses and flags are all good ones: others end the
// program, and have checks of their own.
//@args 0
//@stdin some text to read,\nin two lines\n
#include "check.h"

// ---- choosing ----

static u64 state;

static u64 draw(void) {  // SplitMix64
    u64 x = state += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}
static u32 below(u32 n) { return draw() % n; }
static u32 once_in(u32 n) { return below(n) == 0; }
#define ONE_OF(...) ({ static const u64 among[] = {__VA_ARGS__}; among[below(LEN(among))]; })

// ---- a line ----

static u8 line[1 << 15];
static u32 used;

static void text(const char *t, u32 len) {
    if (len > sizeof line - used) len = sizeof line - used;
    __builtin_memcpy(line + used, t, len);
    used += len;
}
#define T(literal) text(literal, sizeof(literal) - 1)

static void number(i64 n) {
    u8 digits[24];
    u32 at = sizeof digits;
    u64 rest = n < 0 ? -(u64)n : n;
    do digits[--at] = '0' + rest % 10; while (rest /= 10);
    if (n < 0) digits[--at] = '-';
    text((char *)digits + at, sizeof digits - at);
}
#define N(name, n) (T(" " name " "), number(n))

static u32 answer(u32 e) {
    T(": ");
    if (e < LEN(errno_names)) text(errno_names[e], length(errno_names[e]));
    else number(e);
    return e;
}

static void end_line(void) {
    T("\n");
    put(line, used);
    used = 0;
}

// ---- what calls are about ----

static u8 path[8192];
static u32 path_len;
static u8 path2[8192];
static u32 path2_len;

static const char *const names[] = {
    "file", "empty", "dir", "nested", "link", "dirlink", "chain", "dangling", "loop", "loop-a", "inner-up", "inner-file", "up",
    "updir", "parent", "dangling-up", "absolute", "bytes-link", "bytes", "nowhere", "a", "b", "c", "d", "e", "\xc3\xa9", ".",
    "..",
};

static u32 make_path(u8 *to) {
    u32 len = 0;
    switch (below(60)) {
        case 0: return 0;
        case 1: to[0] = 0xff; return 1;
        case 2: __builtin_memcpy(to, "a\0b", 3); return 3;
        case 3: len = ONE_OF(254, 255, 256, 300, 4095, 4096, 5000); __builtin_memset(to, 'n', len); return len;
        case 4: to[len++] = '/'; break;
        case 5:
            for (len = 0; len < 4200; len += 2) __builtin_memcpy(to + len, "./", 2);
            break;
    }
    u32 parts = ONE_OF(1, 1, 1, 1, 1, 2, 2, 3, 4);
    for (u32 i = 0; i < parts; i++) {
        const char *name = names[once_in(3) ? below(LEN(names)) : 20 + below(5)];
        if (i + 1 < parts && !once_in(3)) name = ONE_OF(0, 0, 0, 1) ? ".." : names[ONE_OF(2, 2, 5, 10, 20, 21)];
        __builtin_memcpy(to + len, name, length(name));
        len += length(name);
        if (i + 1 < parts || once_in(10)) to[len++] = '/';
        if (once_in(40)) to[len++] = '/';
    }
    return len;
}

static void say_path_of(const u8 *p, u32 len) {
    T(" '");
    if (len > 100) number(len), T(" bytes");
    else text((const char *)p, len);
    T("'");
}
static void choose_path(void) { path_len = make_path(path), say_path_of(path, path_len); }
static void choose_path2(void) { path2_len = make_path(path2), say_path_of(path2, path2_len); }
#define PATH1 P(path), path_len
#define PATH2 P(path2), path2_len

// Most that are taken from here are open, and standard output is left alone.
static u32 last = HERE + 1;
static u32 some_fd(void) {
    u32 fd = once_in(50) ? 0xffffffff : once_in(8) ? below(last + 4) : HERE + 1 + below(last - HERE);
    return fd == STDOUT ? WORK : fd;
}
static u32 some_dir(void) { return once_in(12) ? some_fd() : ONE_OF(WORK, WORK, WORK, OTHER, HERE); }
static u32 choose_fd(void) { u32 fd = some_fd(); T(" fd"), number((int)fd); return fd; }
static u32 choose_dir(void) { u32 fd = some_dir(); T(" fd"), number((int)fd); return fd; }
static u32 choose_flag(const char *name) { u32 f = below(2); if (f) T(" "), text(name, length(name)); return f; }
static u64 choose_number(const char *name, u64 n) { T(" "), text(name, length(name)), T(" "), number(n); return n; }

static u64 some_place(void) {
    return once_in(30) ? ONE_OF(1ull << 63, -1ull, (1ull << 63) - 1, 1ull << 62, 1ull << 33) : once_in(3) ? below(70000) : below(12);
}
static u32 is_stdin(u32 fd) { fdstat s; return !fd_fdstat_get(fd, P(&s)) && s.type == 0; }
static u32 is_preopen(u32 fd) { u32 s[2]; return !fd_prestat_get(fd, P(s)); }

static u8 buffers[4][80000];
static iovec iovs[4];
static u32 choose_iovs(u32 fd) {
    u32 count = ONE_OF(0, 1, 1, 1, 1, 2, 3, 4), all = 0;
    for (u32 i = 0; i < count; i++) {
        iovs[i].buf = P(buffers[i]);
        iovs[i].len = once_in(20) ? below(80000) : below(9);
        all += iovs[i].len;
    }
    if (!all && is_stdin(fd)) count = iovs[0].len = 1, iovs[0].buf = P(buffers[0]);
    T(" of");
    for (u32 i = 0; i < count; i++) T(" "), number(iovs[i].len);
    return count;
}
static void fill(void) {
    u8 with = 'a' + below(26);
    for (u32 i = 0; i < 4; i++) __builtin_memset(buffers[i], with + i, sizeof buffers[i]);
}
static void say_bytes(const u8 *b, u32 n) {
    T(" '");
    for (u32 i = 0; i < n && i < 16; i++) {
        char c = b[i] >= ' ' ? b[i] : '?';
        text(&c, 1);
    }
    T("'");
}

static void say_filestat(const filestat *s) {
    T(" "), text(type_names[s->type & 7], length(type_names[s->type & 7])), N("links", s->type == 3 ? 0 : s->nlink);
    if (s->type == 4) N("size", s->size);
    if (s->type == 4 && s->mtim < 1000000) N("mtime", s->mtim);
}

// ---- the calls ----

static void open_something(void) {
    static const char *const o_names[] = {"creat", "directory", "excl", "trunc"};
    static const char *const f_names[] = {"append", "dsync", "nonblock", "rsync", "sync"};
    T("path_open");
    u32 dir = choose_dir();
    choose_path();
    u32 follow = choose_flag("follow"), oflags = 0, flags = 0;
    for (u32 i = 0; i < 4; i++) if (once_in(i ? 6 : 2)) oflags |= 1 << i, T(" "), text(o_names[i], length(o_names[i]));
    for (u32 i = 0; i < 5; i++) if (once_in(i % 2 ? 60 : 6)) flags |= 1 << i, T(" "), text(f_names[i], length(f_names[i]));
    u64 rights = ONE_OF(0, READ, READ, WRITE, READ | WRITE, READ | WRITE, READ | WRITE, ALL_RIGHTS, 1 << 14, 1 << 22, 1 << 10);
    choose_number("rights", rights);
    u32 fd;
    if (answer(path_open(dir, follow, PATH1, oflags, rights, once_in(2) ? rights : 0, flags, P(&fd)))) return;
    N("fd", fd);
    if (fd > last) last = fd;
}

static void read_something(void) {
    u32 n = 77, at = once_in(3);
    T("read");
    u32 fd = choose_fd(), count = choose_iovs(fd);
    u64 from = at ? choose_number("at", some_place()) : 0;
    if (answer(at ? fd_pread(fd, P(iovs), count, from, P(&n)) : fd_read(fd, P(iovs), count, P(&n)))) return;
    N("bytes", n);
    for (u32 i = 0; i < count; i++) if (iovs[i].len) { say_bytes(buffers[i], n); break; }
}

static void write_something(void) {
    u32 n = 77, at = once_in(3);
    T("write");
    u32 fd = choose_fd(), count = choose_iovs(fd);
    fill();
    u64 to = at ? choose_number("at", some_place()) : 0;
    if (!answer(at ? fd_pwrite(fd, P(iovs), count, to, P(&n)) : fd_write(fd, P(iovs), count, P(&n)))) N("bytes", n);
}

static void seek_somewhere(void) {
    u64 at = 77;
    T("fd_seek");
    u32 fd = choose_fd();
    u64 to = some_place();
    if (once_in(3)) to = -to;
    choose_number("by", to);
    if (!answer(fd_seek(fd, to, choose_number("whence", below(3)), P(&at)))) N("at", at);
}

static void tell_something(void) {
    u64 at = 77;
    T("fd_tell");
    if (!answer(fd_tell(choose_fd(), P(&at)))) N("at", at);
}

static void close_something(void) {
    T("fd_close");
    answer(fd_close(choose_fd()));
}

static void renumber_something(void) {
    T("fd_renumber");
    u32 from = choose_fd();
    answer(fd_renumber(from, choose_fd()));
}

static void ask_for_fdstat(void) {
    fdstat s;
    T("fd_fdstat_get");
    if (answer(fd_fdstat_get(choose_fd(), P(&s)))) return;
    N("type", s.type), N("flags", s.flags), N("base", s.base), N("inheriting", s.inheriting);
}

static void set_flags(void) {
    T("fd_fdstat_set_flags");
    u32 fd = choose_fd();
    answer(fd_fdstat_set_flags(fd, choose_number("to", ONE_OF(0, 0, APPEND, APPEND, NONBLOCK, 5, SYNC, DSYNC, 31))));
}

static void set_rights(void) {
    T("fd_fdstat_set_rights");
    u32 fd = choose_fd();
    answer(fd_fdstat_set_rights(fd, choose_number("to", ONE_OF(0, READ, ALL_RIGHTS)), 0));
}

static void ask_for_filestat(void) {
    filestat s;
    T("fd_filestat_get");
    if (!answer(fd_filestat_get(choose_fd(), P(&s)))) say_filestat(&s);
}

static void ask_for_path(void) {
    filestat s;
    T("path_filestat_get");
    u32 dir = choose_dir();
    choose_path();
    if (!answer(path_filestat_get(dir, choose_flag("follow"), PATH1, P(&s)))) say_filestat(&s);
}

static void set_size(void) {
    T("fd_filestat_set_size");
    u32 fd = choose_fd();
    answer(fd_filestat_set_size(fd, choose_number("to", some_place())));
}

static void set_times(void) {
    T("set_times");
    u32 by_path = once_in(2), fd = by_path ? choose_dir() : choose_fd();
    u32 flags = once_in(6) ? below(16) : ONE_OF(0, ATIM, MTIM, MTIM, ATIM | MTIM, MTIM_NOW, ATIM_NOW);
    choose_number("flags", flags);
    u64 atim = once_in(30) ? -1 : below(1000), mtim = once_in(30) ? ONE_OF(-1ull, 1ull << 63) : below(1000);
    choose_number("atime", atim), choose_number("mtime", mtim);
    if (by_path) {
        choose_path();
        answer(path_filestat_set_times(fd, choose_flag("follow"), PATH1, atim, mtim, flags));
    } else if (!is_preopen(fd)) {
        answer(fd_filestat_set_times(fd, atim, mtim, flags));
    }
}

// All of a directory, with buffers of one size: how many calls, how many names, and a sum that does not know their order.
static void list(void) {
    u32 size = once_in(3) ? 24 + 300 + below(100) : 2000 + below(8000), n = 0, calls = 0, count = 0;
    u64 cookie = 0, sum = 0;
    T("fd_readdir");
    u32 fd = once_in(2) ? choose_dir() : choose_fd(), e;
    choose_number("size", size);
    while (!(e = fd_readdir(fd, P(buffers[0]), size, cookie, P(&n))) && calls++ < 200) {
        u32 at = 0;
        while (at + 24 <= n) {
            dirent d;
            __builtin_memcpy(&d, buffers[0] + at, 24);
            if (at + 24 + d.namlen > n) break;
            u64 hash = d.type;
            for (u32 i = 0; i < d.namlen; i++) hash = (hash ^ buffers[0][at + 24 + i]) * 0x100000001b3;
            sum += hash * hash, count++, cookie = d.next;
            at += 24 + d.namlen;
        }
        if (n < size) break;
    }
    answer(e);
    N("names", count), N("sum", sum % 1000000);
}

static void list_from(void) {
    u32 n = 77;
    T("fd_readdir");
    u32 fd = choose_fd();
    u64 size = choose_number("size", ONE_OF(0, 1, 23, 24, 25, 26, 50, 51, 100));
    if (!answer(fd_readdir(fd, P(buffers[0]), size, 0, P(&n)))) N("used", n);
}

static void advise(void) {
    T("fd_advise");
    u32 fd = choose_fd();
    u64 from = choose_number("from", some_place()), len = choose_number("len", some_place());
    answer(fd_advise(fd, from, len, choose_number("advice", below(6))));
}

static void allocate(void) {
    T("fd_allocate");
    u32 fd = choose_fd();
    u64 from = choose_number("from", some_place());
    answer(fd_allocate(fd, from, choose_number("len", some_place())));
}

static void sync_something(void) {
    T("sync");
    u32 fd = choose_fd();
    answer(choose_flag("data") ? fd_datasync(fd) : fd_sync(fd));
}

static void make_directory(void) {
    T("path_create_directory");
    u32 dir = choose_dir();
    choose_path();
    answer(path_create_directory(dir, PATH1));
}

static void remove_directory(void) {
    T("path_remove_directory");
    u32 dir = choose_dir();
    choose_path();
    answer(path_remove_directory(dir, PATH1));
}

static void unlink(void) {
    T("path_unlink_file");
    u32 dir = choose_dir();
    choose_path();
    answer(path_unlink_file(dir, PATH1));
}

static void rename(void) {
    T("path_rename");
    u32 dir = choose_dir();
    choose_path();
    u32 to = choose_dir();
    choose_path2();
    answer(path_rename(dir, PATH1, to, PATH2));
}

static void hard_link(void) {
    T("path_link");
    u32 dir = choose_dir(), flags = once_in(8) ? choose_flag("follow") : 0;
    choose_path();
    u32 to = choose_dir();
    choose_path2();
    answer(path_link(dir, flags, PATH1, to, PATH2));
}

static void symlink(void) {
    T("path_symlink");
    choose_path();
    u32 dir = choose_dir();
    choose_path2();
    answer(path_symlink(PATH1, dir, PATH2));
}

static void read_link(void) {
    u32 n = 77;
    T("path_readlink");
    u32 dir = choose_dir();
    choose_path();
    u32 size = choose_number("size", ONE_OF(0, 1, 5, 100, 8000));
    if (!answer(path_readlink(dir, PATH1, P(buffers[0]), size, P(&n)))) N("used", n), say_bytes(buffers[0], n);
}

static void ask_for_prestat(void) {
    struct { u8 type; u32 len; } stat;
    T("fd_prestat_get");
    u32 fd = choose_fd();
    if (!answer(fd_prestat_get(fd, P(&stat)))) N("type", stat.type), N("len", stat.len);
    T(" name"), answer(fd_prestat_dir_name(fd, P(buffers[0]), ONE_OF(0, 1, 5, 6, 100)));
}

static void poll_something(void) {
    static struct { u64 userdata; u8 tag; u32 fd; u64 timeout, precision; u16 flags; } s;
    static struct { u64 userdata; u16 error; u8 type; u64 nbytes; u16 flags; } e;
    u32 n = 77;
    T("poll_oneoff");
    s.userdata = 5, s.tag = 1 + below(2), s.fd = choose_fd();
    choose_number("type", s.tag);
    if (answer(poll_oneoff(P(&s), P(&e), 1, P(&n)))) return;
    N("events", n), N("of", e.userdata), N("error", e.error), N("type", e.type), N("bytes", e.nbytes), N("flags", e.flags);
}

static void use_socket(void) {
    u32 n, out;
    T("sock");
    u32 fd = choose_fd(), which = choose_number("call", below(4));
    answer(which == 0 ? sock_accept(fd, 0, P(&out)) : which == 1 ? sock_recv(fd, P(iovs), 0, 0, P(&n), P(&out))
           : which == 2 ? sock_send(fd, P(iovs), 0, 0, P(&n)) : sock_shutdown(fd, 1));
}

static void (*const calls[])(void) = {
    open_something, open_something, open_something, open_something, open_something, open_something, open_something,
    read_something, read_something, read_something, write_something, write_something, write_something, write_something,
    seek_somewhere, seek_somewhere, tell_something, close_something, close_something, renumber_something, ask_for_fdstat,
    set_flags, set_rights, ask_for_filestat, ask_for_path, ask_for_path, ask_for_path, set_size, set_times, set_times, list,
    list, list_from, advise, allocate, sync_something, make_directory, make_directory, make_directory, remove_directory,
    remove_directory, unlink, unlink, rename, rename, rename, hard_link, hard_link, symlink, symlink, read_link,
    ask_for_prestat, poll_something, use_socket,
};

// Between any two calls it waits for so many microseconds, so that it can be killed anywhere.
static void run(u64 seed, u32 steps, u32 pause) {
    state = seed;
    must_open("file", 0, READ | WRITE);
    must_open("dir", DIRECTORY, READ);
    last = must_open("a", CREAT, READ | WRITE);
    for (u32 i = 0; i < steps; i++) {
        calls[below(LEN(calls))](), end_line();
        static struct { u64 userdata; u64 tag; u64 id; u64 timeout, precision; u64 flags; } s = {.id = 1};
        static u64 e[4];
        u32 n;
        s.timeout = 1000ull * pause;
        if (pause) MUST(poll_oneoff(P(&s), P(&e), 1, P(&n)));
    }
}

// What the arguments say: seed, number of calls, pause.
static u64 argument(u32 i) {
    u64 n = 0;
    if (argc > i) for (const char *c = (const char *)argv[i]; *c; c++) n = n * 10 + *c - '0';
    return n;
}
CHECK(seed) { run(argument(2), argc > 3 ? argument(3) : 60, argument(4)); }

CHECK(seed_1) { run(1, 60, 0); }
CHECK(seed_2) { run(2, 60, 0); }
CHECK(seed_3) { run(3, 60, 0); }
CHECK(seed_4) { run(4, 60, 0); }
CHECK(seed_5) { run(5, 60, 0); }
CHECK(seed_6) { run(6, 60, 0); }
CHECK(seed_7) { run(7, 60, 0); }
CHECK(seed_8) { run(8, 60, 0); }
CHECK(seed_9) { run(9, 60, 0); }
CHECK(seed_10) { run(10, 60, 0); }
CHECK(seed_11) { run(11, 60, 0); }
CHECK(seed_12) { run(12, 60, 0); }
CHECK(seed_13) { run(13, 60, 0); }
CHECK(seed_14) { run(14, 60, 0); }
CHECK(seed_15) { run(15, 60, 0); }
CHECK(seed_16) { run(16, 60, 0); }
CHECK(seed_17) { run(17, 60, 0); }
CHECK(seed_18) { run(18, 60, 0); }
CHECK(seed_19) { run(19, 60, 0); }
CHECK(seed_20) { run(20, 60, 0); }
CHECK(seed_21) { run(21, 60, 0); }
CHECK(seed_22) { run(22, 60, 0); }
CHECK(seed_23) { run(23, 60, 0); }
CHECK(seed_24) { run(24, 60, 0); }
