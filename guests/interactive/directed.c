/* What a program says about its own checkpoints. argv[1] is what it does; a line on standard input lets it go on where it
 * waits. Without arguments it prints what every engine with WASI preview 1 must answer, whether it knows Dormouse or not. */
#include "../../include/dormouse.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAGE 4096
#define INSIDE (8u << 20)
/* The excluded part begins and ends in the midst of a page. */
static unsigned char memory[PAGE + INSIDE + 2 * PAGE] __attribute__((aligned(PAGE)));
static unsigned char *const excluded = memory + PAGE - 100;
static const size_t length = 100 + INSIDE + 200;

/* Waits for a line; at the end of the input the program ends. */
static void line(void) {
  char text[80];
  if (fgets(text, sizeof text, stdin) == NULL) exit(3);
}

static void say(const char *what, int answer) {
  printf("%s: %d, resumed %u\n", what, answer, dormouse_restored_count());
  fflush(stdout);
}

/* Bytes that do not compress, and none is 0. */
static void fill(void) {
  unsigned long long x = 88172645463325252ull;
  for (size_t i = 0; i < sizeof memory; i++) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memory[i] = (unsigned char)(x >> 32) | 1;
  }
}

static size_t kept(const unsigned char *from, const unsigned char *to) {
  size_t n = 0;
  while (from < to) n += *from++ != 0;
  return n;
}

static void tell(const char *what, int answer) {
  unsigned char *first = memory + PAGE, *last = first + INSIDE;
  printf("%s: %d, %zu inside, %zu before, %zu after\n", what, answer, kept(first, last), kept(memory, first),
         kept(last, memory + sizeof memory));
  fflush(stdout);
}

int main(int argc, char **argv) {
  const char *what = argc > 1 ? argv[1] : "answers";
  if (strcmp(what, "answers") == 0) {
    say("checkpoint", dormouse_checkpoint());
    fill();
    say("exclude", dormouse_exclude(excluded, length));
    say("disable", dormouse_disable());
    say("disable again", dormouse_disable());
    for (int i = 0; i < 3; i++) printf("in a section, step %d\n", i);
    say("enable", dormouse_enable());
    say("enable again", dormouse_enable());
    say("include", dormouse_include(excluded, length));
    tell("checkpoint", dormouse_checkpoint());
  } else if (strcmp(what, "errors") == 0) {
    say("enable", dormouse_enable());
    say("disable", dormouse_disable());
    say("checkpoint", dormouse_checkpoint());
    say("enable", dormouse_enable());
    say("exclude", dormouse_exclude(memory, ~(size_t)0));
    say("include", dormouse_include((void *)~(size_t)0, 2));
    say("exclude nothing", dormouse_exclude(memory, 0));
    for (int i = 0; i < 4096; i++) {
      int answer = dormouse_exclude(memory + 2 * i, 1);
      if (answer != 0) say("too early", answer);
    }
    say("one more", dormouse_exclude(memory + 3 * PAGE, 1));
    say("two in one", dormouse_exclude(memory + 1, 1));
  } else if (strcmp(what, "steps") == 0) {
    for (int i = 1; i <= 3; i++) {
      say("step", dormouse_checkpoint());
      line();
    }
    puts("done");
  } else if (strcmp(what, "exclude") == 0) {
    fill();
    dormouse_exclude(excluded, length);
    tell("excluded", dormouse_checkpoint());
    line();
    fill();
    tell("still excluded", dormouse_checkpoint());
    line();
    fill();
    dormouse_include(excluded, length);
    tell("included", dormouse_checkpoint());
  } else if (strcmp(what, "section") == 0) {
    dormouse_disable();
    dormouse_disable();
    dormouse_enable();
    say("inside", 0);
    line();
    volatile unsigned n = 0;
    while (n < 50000000) n++;
    say("still inside", dormouse_checkpoint());
    dormouse_enable();
    say("outside", 0);
    line();
    puts("done");
  } else {
    fprintf(stderr, "directed: do what? %s\n", what);
    return 2;
  }
  return 0;
}
