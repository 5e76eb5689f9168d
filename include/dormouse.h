/* dormouse.h: what a program says about its own checkpoints. C99 and C++; nothing to link.
 *
 *     #include "dormouse.h"
 *
 *     static char scratch[64 << 20];
 *
 *     int main(void) {
 *       dormouse_exclude(scratch, sizeof scratch);   // whole 4 KiB pages of it are not saved, and zero after a resume
 *       for (int year = 1900; year < 2100; year++) {
 *         dormouse_disable();                        // no checkpoint while scratch is in use
 *         simulate(year, scratch);
 *         dormouse_enable();
 *         if (dormouse_checkpoint() == 1)            // here is a good place for one; 1: a resumed run goes on from it
 *           fprintf(stderr, "going on after %d\n", year);
 *       }
 *     }
 *
 * A program that includes this runs on every engine with WASI preview 1. Where there is no Dormouse, and where nothing is
 * compiled for WASI at all, the calls do nothing and answer 0. How: they are reads (`fd_read`) of a descriptor that no
 * program can have open. Dormouse knows it; all others answer that there is no such descriptor.
 *
 * The whole story: docs/guest.md.
 * SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
 */
#ifndef DORMOUSE_H
#define DORMOUSE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What the calls answer besides 0, which is "done", and 1, which is "resumed". */
enum {
  DORMOUSE_DISABLED = -1,   /* no checkpoint was taken: the program is between dormouse_disable and dormouse_enable */
  DORMOUSE_REFUSED = -2,    /* none was taken: the program holds what cannot be carried, or there was no room for a copy,
                               or another process has the job's lease; whoever runs the job is told why */
  DORMOUSE_OUTSIDE = -3,    /* the range does not lie in memory; nothing has changed */
  DORMOUSE_TOO_MANY = -4,   /* more than 4096 separate ranges, or more than 2^32-1 sections; nothing has changed */
  DORMOUSE_UNBALANCED = -5  /* dormouse_enable without dormouse_disable */
};

#if defined(__wasi__) && defined(__wasm32__)

struct dormouse_message_ {
  uint32_t op, ptr, len;
  int32_t answer;
};
struct dormouse_buffer_ {
  struct dormouse_message_ *at;
  uint32_t len;
};

__attribute__((import_module("wasi_snapshot_preview1"), import_name("fd_read")))
int32_t dormouse_fd_read_(int32_t fd, const struct dormouse_buffer_ *buffers, int32_t n, uint32_t *nread);

static inline int dormouse_call_(uint32_t op, const volatile void *ptr, size_t len) {
  struct dormouse_message_ message = {op, 0, 0, 0};
  struct dormouse_buffer_ buffer = {&message, sizeof message};
  uint32_t nread = 0;
  message.ptr = (uint32_t)(uintptr_t)ptr;
  message.len = (uint32_t)len;
  if (dormouse_fd_read_(0x444f524d, &buffer, 1, &nread) != 0) return 0;
  return message.answer;
}

#else

static inline int dormouse_call_(uint32_t op, const volatile void *ptr, size_t len) {
  (void)op, (void)ptr, (void)len;
  return 0;
}

#endif

/* Takes a checkpoint exactly here. 0: goes on in the run that took it (or there is no Dormouse). 1: this run was resumed
 * from it. DORMOUSE_DISABLED, DORMOUSE_REFUSED: it was not taken. When the call returns, the program's state is captured;
 * it is made durable while the program goes on. If that fails (the disk is full), whoever runs the job is told; the
 * program is not. If the checkpoint before this one is still being written, the call waits for that. */
static inline int dormouse_checkpoint(void) { return dormouse_call_(1, 0, 0); }

/* This memory need not be kept: whole 4 KiB pages of it are not saved, and are zero after a resume. The rest is kept.
 * It stays so, in resumed runs too, until dormouse_include; include what is to be freed. Use its contents between
 * dormouse_disable and dormouse_enable, or a checkpoint can be taken while they are in use. 0, DORMOUSE_OUTSIDE or DORMOUSE_TOO_MANY. */
static inline int dormouse_exclude(const volatile void *ptr, size_t len) { return dormouse_call_(2, ptr, len); }

/* This memory is kept again, whatever was said of it before. 0 or DORMOUSE_OUTSIDE. */
static inline int dormouse_include(const volatile void *ptr, size_t len) { return dormouse_call_(3, ptr, len); }

/* From here to dormouse_enable no checkpoint is taken: those that are wanted meanwhile are taken after it. These sections
 * can lie in each other. An end without a checkpoint (kill, a lost lease) does not wait. 0, DORMOUSE_TOO_MANY or
 * DORMOUSE_UNBALANCED. */
static inline int dormouse_disable(void) { return dormouse_call_(4, 0, 0); }
static inline int dormouse_enable(void) { return dormouse_call_(5, 0, 0); }

/* How many times this run was resumed since its beginning. */
static inline unsigned dormouse_restored_count(void) { return (unsigned)dormouse_call_(6, 0, 0); }

#ifdef __cplusplus
}
#endif

#endif
