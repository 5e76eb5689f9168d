// What the conformance programs share: the 46 calls with raw arguments, results in words, and checks with names.
//
//   CHECK(missing) { SAY("open", open_at(WORK, "nothing", 0, READ, 0, &fd)); }
//
// A program has several checks and runs the one that its first argument names, because some of them end it. No C library:
// what is called is what is written here, and little else takes place between two calls.
//
// The place that each check finds is made by xtask/src/place.rs: three directories, and links that lead astray.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;
typedef long long i64;

#define NULL ((void *)0)
#define P(pointer) ((u32)(pointer))
#define LEN(array) (sizeof(array) / sizeof(*(array)))

// ---- the calls; addresses are numbers here, so that any can be passed ----

#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name))) extern
WASI(args_get) u32 args_get(u32 argv, u32 buf);
WASI(args_sizes_get) u32 args_sizes_get(u32 argc, u32 size);
WASI(clock_res_get) u32 clock_res_get(u32 id, u32 res);
WASI(clock_time_get) u32 clock_time_get(u32 id, u64 precision, u32 time);
WASI(environ_get) u32 environ_get(u32 env, u32 buf);
WASI(environ_sizes_get) u32 environ_sizes_get(u32 count, u32 size);
WASI(fd_advise) u32 fd_advise(u32 fd, u64 offset, u64 len, u32 advice);
WASI(fd_allocate) u32 fd_allocate(u32 fd, u64 offset, u64 len);
WASI(fd_close) u32 fd_close(u32 fd);
WASI(fd_datasync) u32 fd_datasync(u32 fd);
WASI(fd_fdstat_get) u32 fd_fdstat_get(u32 fd, u32 stat);
WASI(fd_fdstat_set_flags) u32 fd_fdstat_set_flags(u32 fd, u32 flags);
WASI(fd_fdstat_set_rights) u32 fd_fdstat_set_rights(u32 fd, u64 base, u64 inheriting);
WASI(fd_filestat_get) u32 fd_filestat_get(u32 fd, u32 stat);
WASI(fd_filestat_set_size) u32 fd_filestat_set_size(u32 fd, u64 size);
WASI(fd_filestat_set_times) u32 fd_filestat_set_times(u32 fd, u64 atim, u64 mtim, u32 flags);
WASI(fd_pread) u32 fd_pread(u32 fd, u32 iovs, u32 count, u64 offset, u32 nread);
WASI(fd_prestat_dir_name) u32 fd_prestat_dir_name(u32 fd, u32 path, u32 len);
WASI(fd_prestat_get) u32 fd_prestat_get(u32 fd, u32 prestat);
WASI(fd_pwrite) u32 fd_pwrite(u32 fd, u32 iovs, u32 count, u64 offset, u32 nwritten);
WASI(fd_read) u32 fd_read(u32 fd, u32 iovs, u32 count, u32 nread);
WASI(fd_readdir) u32 fd_readdir(u32 fd, u32 buf, u32 len, u64 cookie, u32 used);
WASI(fd_renumber) u32 fd_renumber(u32 from, u32 to);
WASI(fd_seek) u32 fd_seek(u32 fd, u64 offset, u32 whence, u32 position);
WASI(fd_sync) u32 fd_sync(u32 fd);
WASI(fd_tell) u32 fd_tell(u32 fd, u32 position);
WASI(fd_write) u32 fd_write(u32 fd, u32 iovs, u32 count, u32 nwritten);
WASI(path_create_directory) u32 path_create_directory(u32 dir, u32 path, u32 len);
WASI(path_filestat_get) u32 path_filestat_get(u32 dir, u32 flags, u32 path, u32 len, u32 stat);
WASI(path_filestat_set_times) u32 path_filestat_set_times(u32 dir, u32 flags, u32 path, u32 len, u64 atim, u64 mtim, u32 fst);
WASI(path_link) u32 path_link(u32 dir, u32 flags, u32 path, u32 len, u32 new_dir, u32 new_path, u32 new_len);
WASI(path_open) u32 path_open(u32 dir, u32 lookup, u32 path, u32 len, u32 oflags, u64 base, u64 inheriting, u32 flags, u32 fd);
WASI(path_readlink) u32 path_readlink(u32 dir, u32 path, u32 len, u32 buf, u32 buf_len, u32 used);
WASI(path_remove_directory) u32 path_remove_directory(u32 dir, u32 path, u32 len);
WASI(path_rename) u32 path_rename(u32 dir, u32 path, u32 len, u32 new_dir, u32 new_path, u32 new_len);
WASI(path_symlink) u32 path_symlink(u32 target, u32 target_len, u32 dir, u32 path, u32 len);
WASI(path_unlink_file) u32 path_unlink_file(u32 dir, u32 path, u32 len);
WASI(poll_oneoff) u32 poll_oneoff(u32 subscriptions, u32 events, u32 count, u32 nevents);
WASI(proc_exit) void proc_exit(u32 code);
WASI(proc_raise) u32 proc_raise(u32 signal);
WASI(random_get) u32 random_get(u32 buf, u32 len);
WASI(sched_yield) u32 sched_yield(void);
WASI(sock_accept) u32 sock_accept(u32 fd, u32 flags, u32 accepted);
WASI(sock_recv) u32 sock_recv(u32 fd, u32 iovs, u32 count, u32 flags, u32 nread, u32 out_flags);
WASI(sock_send) u32 sock_send(u32 fd, u32 iovs, u32 count, u32 flags, u32 nwritten);
WASI(sock_shutdown) u32 sock_shutdown(u32 fd, u32 how);

// ---- numbers of preview 1 ----

enum { STDIN, STDOUT, STDERR, WORK, OTHER, HERE };  // HERE is WORK's dir/ once more, preopened as "."
enum { CREAT = 1, DIRECTORY = 2, EXCL = 4, TRUNC = 8 };
enum { APPEND = 1, DSYNC = 2, NONBLOCK = 4, RSYNC = 8, SYNC = 16 };
enum { SET, CUR, END };
enum { ATIM = 1, ATIM_NOW = 2, MTIM = 4, MTIM_NOW = 8 };
enum { NOFOLLOW = 0, FOLLOW = 1 };
#define READ 2ull
#define WRITE 64ull
#define ALL_RIGHTS ((1ull << 30) - 1)

typedef struct { u32 buf, len; } iovec;
typedef struct { u64 dev, ino; u8 type; u64 nlink, size, atim, mtim, ctim; } filestat;
typedef struct { u8 type; u16 flags; u64 base, inheriting; } fdstat;
typedef struct { u64 next, ino; u32 namlen; u8 type; } dirent;

static u32 memory_end(void) { return (u32)__builtin_wasm_memory_size(0) << 16; }

// ---- saying ----

static void put(const void *text, u32 len) {
    iovec v = {P(text), len};
    u32 n;
    while (v.len && fd_write(STDOUT, P(&v), 1, P(&n)) == 0) v.buf += n, v.len -= n;
}

#define PUT(literal) put(literal, sizeof(literal) - 1)

static void put_number(u64 n) {
    u8 digits[20];
    u32 at = sizeof digits;
    do digits[--at] = '0' + n % 10; while (n /= 10);
    put(digits + at, sizeof digits - at);
}

static u32 length(const char *text) {
    u32 n = 0;
    while (text[n]) n++;
    return n;
}

static const char errno_names[][16] = {
    "success", "2big", "acces", "addrinuse", "addrnotavail", "afnosupport", "again", "already", "badf", "badmsg", "busy",
    "canceled", "child", "connaborted", "connrefused", "connreset", "deadlk", "destaddrreq", "dom", "dquot", "exist", "fault",
    "fbig", "hostunreach", "idrm", "ilseq", "inprogress", "intr", "inval", "io", "isconn", "isdir", "loop", "mfile", "mlink",
    "msgsize", "multihop", "nametoolong", "netdown", "netreset", "netunreach", "nfile", "nobufs", "nodev", "noent", "noexec",
    "nolck", "nolink", "nomem", "nomsg", "noprotoopt", "nospc", "nosys", "notconn", "notdir", "notempty", "notrecoverable",
    "notsock", "notsup", "notty", "nxio", "overflow", "ownerdead", "perm", "pipe", "proto", "protonosupport", "prototype",
    "range", "rofs", "spipe", "srch", "stale", "timedout", "txtbsy", "xdev", "notcapable"};

static u32 say_errno(u32 e) {
    if (e < LEN(errno_names)) put(errno_names[e], length(errno_names[e]));
    else PUT("no errno: "), put_number(e);
    PUT("\n");
    return e;
}

// `what: errno`; the errno is its value.
#define SAY(what, errno) (PUT(what ": "), say_errno(errno))
#define SAYN(what, number) (PUT(what ": "), put_number(number), PUT("\n"))
#define SAYS(what, text, len) (PUT(what ": "), put(text, len), PUT("\n"))

// What has to work for the check to mean something.
static void must(u32 errno, const char *what) {
    if (!errno) return;
    PUT("cannot "), put(what, length(what)), SAY("", errno);
    proc_exit(98);
}
#define MUST(call) must(call, #call)

// ---- files ----

#define PATH(text) P(text), length(text)

static u32 open_at(u32 dir, const char *path, u32 oflags, u64 rights, u32 flags, u32 *fd) {
    return path_open(dir, FOLLOW, PATH(path), oflags, rights, rights, flags, P(fd));
}

static u32 must_open(const char *path, u32 oflags, u64 rights) {
    u32 fd;
    MUST(open_at(WORK, path, oflags, rights, 0, &fd));
    return fd;
}

static u32 write_fd(u32 fd, const void *from, u32 len, u32 *n) {
    iovec v = {P(from), len};
    *n = 0xdead;
    return fd_write(fd, P(&v), 1, P(n));
}

static u32 read_fd(u32 fd, void *to, u32 len, u32 *n) {
    iovec v = {P(to), len};
    *n = 0xdead;
    return fd_read(fd, P(&v), 1, P(n));
}

static void must_write(u32 fd, const char *text) {
    u32 n;
    MUST(write_fd(fd, text, length(text), &n));
}

static void make_file(const char *path, const char *text) {
    u32 fd = must_open(path, CREAT | TRUNC, WRITE);
    must_write(fd, text);
    MUST(fd_close(fd));
}

static u64 tell(u32 fd) {
    static u64 at;
    MUST(fd_tell(fd, P(&at)));
    return at;
}

static u64 seek(u32 fd, i64 to, u32 whence) {
    static u64 at;
    MUST(fd_seek(fd, to, whence, P(&at)));
    return at;
}

// What a file holds, zeros as `0` and other controls as `?`.
static void say_contents(u32 dir, const char *path) {
    static u8 buf[4096];
    u32 fd, n;
    put(path, length(path));
    u32 e = open_at(dir, path, 0, READ, 0, &fd);
    if (e) { SAY(" cannot be opened", e); return; }
    MUST(read_fd(fd, buf, sizeof buf, &n));
    for (u32 i = 0; i < n; i++) if (buf[i] < 32) buf[i] = buf[i] ? '?' : '0';
    SAYS(" holds", buf, n);
    MUST(fd_close(fd));
}

static const char type_names[][10] = {"unknown", "block", "character", "directory", "regular", "dgram", "stream", "symlink"};

static void say_stat(const filestat *s) {
    put(type_names[s->type & 7], length(type_names[s->type & 7]));
    PUT(", links "), put_number(s->nlink);
    if (s->type != 3) PUT(", size "), put_number(s->size);  // a directory's size is the file system's affair
    PUT("\n");
}

static u32 stat_at(u32 dir, u32 flags, const char *path, filestat *s) {
    return path_filestat_get(dir, flags, PATH(path), P(s));
}

static void say_path(u32 dir, u32 flags, const char *path) {
    filestat s;
    put(path, length(path));
    u32 e = stat_at(dir, flags, path, &s);
    if (e) SAY("", e);
    else PUT(": "), say_stat(&s);
}

// Which bytes of a record are left as they were: a call writes its fields, not what lies between them.
static void say_gaps(void (*call)(void), void *record, u32 size) {
    u8 *bytes = record, first[64];
    __builtin_memset(bytes, 0xaa, size), call(), __builtin_memcpy(first, bytes, size);
    __builtin_memset(bytes, 0x55, size), call();
    PUT("left alone:");
    for (u32 i = 0; i < size; i++) if (first[i] == 0xaa && bytes[i] == 0x55) PUT(" "), put_number(i);
    PUT("\n");
}

// ---- checks ----

typedef struct { const char *name; void (*run)(void); } check;

#define CHECK(name)                                                                                            \
    static void check_##name(void);                                                                            \
    static const check entry_##name __attribute__((used, retain, section("checks"))) = {#name, check_##name};  \
    static void check_##name(void)

// One call with an address that is wrong.
#define BAD(name, call) CHECK(name) { SAY(#name, call); }

extern const check __start_checks[], __stop_checks[];

static char arguments[4096];
static u32 argv[16], argc;

void _start(void) {
    u32 size;
    MUST(args_sizes_get(P(&argc), P(&size)));
    if (size > sizeof arguments || argc > LEN(argv)) proc_exit(97);
    MUST(args_get(P(argv), P(arguments)));
    if (argc < 2) proc_exit(97);
    const char *name = (const char *)argv[1];
    for (const check *c = __start_checks; c != __stop_checks; c++) {
        u32 i = 0;
        while (c->name[i] && c->name[i] == name[i]) i++;
        if (c->name[i] == name[i]) {
            c->run();
            return;
        }
    }
    SAYS("no check", name, length(name));
    proc_exit(97);
}
