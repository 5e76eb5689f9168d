#include "check.h"

static u8 buf[8192];
static u32 n;

// The names are in no order that hosts agree on, so they are said by number: each is one letter in these checks.
static u32 letters;

static u32 many(void) {
    MUST(path_create_directory(WORK, PATH("many")));
    char path[] = "many/?";
    for (char c = 'a'; c <= 'j'; c++) path[5] = c, make_file(path, "");
    return must_open("many", DIRECTORY, READ);
}

static dirent *entry(u32 at) { return (dirent *)(buf + at); }

// Walks the whole entries in the buffer; the last cookie.
static u64 walk(u64 cookie) {
    u32 at = 0;
    while (at + 24 <= n && at + 24 + entry(at)->namlen <= n) {
        static dirent e;
        u8 *to = (u8 *)&e, *name = buf + at + 24;
        for (u32 i = 0; i < 24; i++) to[i] = buf[at + i];
        if (e.next != cookie + 1) SAYN("cookie out of line", e.next);
        cookie = e.next;
        if (e.namlen == 1 && name[0] >= 'a' && name[0] <= 'z') letters |= 1u << (name[0] - 'a');
        else if (name[0] != '.') SAYS("name", name, e.namlen);
        at += 24 + e.namlen;
    }
    return cookie;
}

static void list(u32 fd, u32 len) {
    u64 cookie = 0;
    letters = 0;
    for (u32 calls = 1;; calls++) {
        MUST(fd_readdir(fd, P(buf), len, cookie, P(&n)));
        u64 next = walk(cookie);
        if (n < len || next == cookie) {
            SAYN("letters", letters), SAYN("last cookie", next), SAYN("calls", calls);
            return;
        }
        cookie = next;
    }
}

CHECK(empty) {
    MUST(path_create_directory(WORK, PATH("new")));
    u32 fd = must_open("new", DIRECTORY, READ);
    filestat s;
    MUST(fd_filestat_get(fd, P(&s)));
    SAY("list", fd_readdir(fd, P(buf), sizeof buf, 0, P(&n))), SAYN("used", n);
    SAYN("type", entry(0)->type), SAYN("length", entry(0)->namlen), SAYN("next", entry(0)->next);
    SAYN("the number of . is that of the directory", entry(0)->ino == s.ino);
    SAYS("first", buf + 24, 1);
    SAYS("second", buf + 25 + 24, 2);
}

static u32 get_from;
static void get(void) { MUST(fd_readdir(get_from, P(buf), 25, 0, P(&n))); }
CHECK(gaps) { get_from = must_open("dir", DIRECTORY, READ), say_gaps(get, buf, 25); }

CHECK(types_and_numbers) {
    MUST(path_create_directory(WORK, PATH("types")));
    make_file("types/f", ""), MUST(path_create_directory(WORK, PATH("types/d")));
    MUST(path_symlink(PATH("nowhere"), WORK, PATH("types/s")));
    u32 fd = must_open("types", DIRECTORY, READ);
    MUST(fd_readdir(fd, P(buf), sizeof buf, 2, P(&n)));
    SAYN("used", n);
    const char *names[] = {"f", "d", "s"};
    for (u32 i = 0; i < 3; i++)
        for (u32 at = 0; at < n; at += 25) {
            dirent e;
            u8 *to = (u8 *)&e;
            for (u32 j = 0; j < 24; j++) to[j] = buf[at + j];
            if (buf[at + 24] != names[i][0]) continue;
            filestat s;
            MUST(stat_at(fd, 0, names[i], &s));
            SAYS("name", names[i], 1), SAYN("type", e.type), SAYN("same number by path", s.ino == e.ino);
        }
}

CHECK(every_buffer_size) {
    u32 fd = many();
    u32 sizes[] = {8192, 325, 326, 100, 64, 51, 50, 49, 27, 26};
    for (u32 i = 0; i < LEN(sizes); i++) SAYN("size", sizes[i]), list(fd, sizes[i]);
}

CHECK(less_than_an_entry) {
    u32 fd = many();
    u32 sizes[] = {0, 1, 7, 8, 20, 23, 24, 25};
    for (u32 i = 0; i < LEN(sizes); i++) {
        for (u32 j = 0; j < 32; j++) buf[j] = 0x55;
        PUT("size "), put_number(sizes[i]), PUT(" "), SAY("list", fd_readdir(fd, P(buf), sizes[i], 0, P(&n)));
        SAYN("used", n);
        if (sizes[i] >= 1) SAYN("first byte", buf[0]);
        SAYN("behind", buf[sizes[i]]);
    }
}

CHECK(cookies) {
    u32 fd = many();
    u64 cookies[] = {0, 1, 2, 3, 11, 12, 13, 14, 1000000, 0x100000000, ~0ull};
    for (u32 i = 0; i < LEN(cookies); i++) {
        SAYN("cookie", cookies[i]);
        SAY("list", fd_readdir(fd, P(buf), sizeof buf, cookies[i], P(&n))), SAYN("used", n);
    }
}

CHECK(back_and_forth) {
    u32 fd = many();
    static u8 sixth[25];
    MUST(fd_readdir(fd, P(buf), 25, 5, P(&n)));
    for (u32 i = 0; i < 25; i++) sixth[i] = buf[i];
    MUST(fd_readdir(fd, P(buf), sizeof buf, 9, P(&n))), SAYN("used", n);
    MUST(fd_readdir(fd, P(buf), 25, 5, P(&n)));
    u32 same = 0;
    for (u32 i = 0; i < 25; i++) same += sixth[i] == buf[i];
    SAYN("the same entry", same);
}

CHECK(without_a_beginning) {
    u32 fd = many();
    SAY("from the third", fd_readdir(fd, P(buf), sizeof buf, 2, P(&n))), SAYN("used", n);
    letters = 0, walk(2), SAYN("letters", letters);
}

CHECK(begun_anew_sees_what_changed) {
    u32 fd = many();
    list(fd, sizeof buf);
    MUST(path_unlink_file(fd, PATH("c"))), make_file("many/z", "");
    list(fd, sizeof buf);
    MUST(path_unlink_file(fd, PATH("d")));
    list(fd, 60);
}

CHECK(two_descriptors) {
    u32 a = many(), b = must_open("many", DIRECTORY, READ);
    MUST(fd_readdir(a, P(buf), 100, 0, P(&n)));
    list(b, 64);
    MUST(fd_readdir(a, P(buf), sizeof buf, 4, P(&n))), SAYN("used", n);
}

CHECK(preopen) {
    MUST(fd_readdir(OTHER, P(buf), sizeof buf, 0, P(&n))), SAYN("used", n);
    walk(0);
}

CHECK(long_names) {
    static char path[4 + 255 + 1] = "dir/";
    for (u32 i = 4; i < 259; i++) path[i] = 'x';
    make_file(path, "");
    u32 fd = must_open("dir", DIRECTORY, READ);
    u32 sizes[] = {24 + 254, 24 + 255, 24 + 256};
    for (u32 i = 0; i < 3; i++) SAY("list", fd_readdir(fd, P(buf), sizes[i], 3, P(&n))), SAYN("used", n);
}

CHECK(not_utf8) {
    u32 fd = must_open("bytes", DIRECTORY, READ);
    SAY("list", fd_readdir(fd, P(buf), sizeof buf, 0, P(&n)));
    SAY("with little room", fd_readdir(fd, P(buf), 10, 0, P(&n)));
}

CHECK(not_directories) {
    for (u32 fd = 0; fd < 3; fd++) SAY("list", fd_readdir(fd, P(buf), sizeof buf, 0, P(&n)));
    SAY("file", fd_readdir(must_open("file", 0, READ), P(buf), sizeof buf, 0, P(&n)));
    SAY("not open", fd_readdir(77, P(buf), sizeof buf, 0, P(&n)));
}

CHECK(removed) {
    MUST(path_create_directory(WORK, PATH("new")));
    u32 fd = must_open("new", DIRECTORY, READ);
    MUST(path_remove_directory(WORK, PATH("new")));
    SAY("list", fd_readdir(fd, P(buf), sizeof buf, 0, P(&n))), SAYN("used", n);
}

BAD(outside, fd_readdir(OTHER, memory_end() - 30, 100, 0, P(&n)))
BAD(outside_but_not_used, fd_readdir(OTHER, memory_end() - 81, 8192, 0, P(&n)))
BAD(far_outside, fd_readdir(OTHER, 0xffffffff, 100, 0, P(&n)))
BAD(nothing_outside, fd_readdir(OTHER, 0xffffffff, 0, 0, P(&n)))
BAD(result_outside, fd_readdir(OTHER, P(buf), 100, 0, memory_end()))
BAD(result_misaligned, fd_readdir(OTHER, P(buf), 100, 0, P(&n) + 1))
BAD(misaligned_buffer, fd_readdir(OTHER, P(buf) + 1, 100, 0, P(&n)))
BAD(not_open_outside, fd_readdir(77, 0xffffffff, 100, 0, 0xffffffff))

// What is added while a directory is being read: stock wasmtime lists the directory anew at each call, and its place among the
// others is the file system's affair. Here the listing stays as it was at the beginning.
CHECK(changed_while_reading) {
    u32 fd = many();
    letters = 0;
    MUST(fd_readdir(fd, P(buf), 24 + 1 + 24 + 2, 0, P(&n))), walk(0);
    for (char c[] = "many/k"; c[5] <= 'z'; c[5]++) make_file(c, "");
    MUST(path_unlink_file(WORK, PATH("many/a"))), MUST(path_unlink_file(WORK, PATH("many/b")));
    SAY("go on", fd_readdir(fd, P(buf), sizeof buf, 2, P(&n))), walk(2);
    SAYN("letters", letters), SAYN("used", n);
}
