// What Unix programs call and WASI preview 1 has no idea of: owners, modes, processes, users. Each does nothing where that is
// what success looks like there, or fails as on a system that forbids it.
#pragma once
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>
// wasi-libc declares these
#define chmod(path, mode) ((void)(path), (void)(mode), 0)
#define fchmod(fd, mode) ((void)(fd), (void)(mode), 0)
#define tmpfile() (errno = ENOSYS, (FILE *)0)
// ... and does not know these
#ifdef __cplusplus
extern "C" {
#endif
#define WEAK __attribute__((weak))
WEAK int chown(const char *path, uid_t user, gid_t group) { return 0; }
WEAK int fchown(int fd, uid_t user, gid_t group) { return 0; }
WEAK int lchown(const char *path, uid_t user, gid_t group) { return 0; }
WEAK mode_t umask(mode_t mask) { return 022; }
WEAK uid_t geteuid(void) { return 1000; }
WEAK uid_t getuid(void) { return 1000; }
WEAK unsigned alarm(unsigned seconds) { return 0; }
WEAK int system(const char *command) { return command ? (errno = ENOSYS, -1) : 0; }
WEAK FILE *popen(const char *command, const char *mode) { return errno = ENOSYS, (FILE *)0; }
WEAK int pclose(FILE *stream) { return errno = ENOSYS, -1; }
WEAK int dup(int fd) { return errno = ENOSYS, -1; }
#undef WEAK
#ifdef __cplusplus
}
#endif
