/* A regular expression engine: parsed, compiled, and run on text without backtracking (all states at once); scale = thousands of lines. */
#include "kernel.h"
enum { CHAR, ANY, CLASS, SPLIT, JUMP, MATCH };
typedef struct {
  uint8_t op, c;
  int16_t x, y; /* where to go on; of a class, which */
} code;
typedef struct {
  code code[200];
  int n, classes;
  uint32_t class[16][8]; /* a bit for each byte */
  const char *at;
} program;

static void alternatives(program *p);

static void insert(program *p, int at, code c) {
  memmove(&p->code[at + 1], &p->code[at], sizeof(code) * (p->n - at));
  p->n++;
  p->code[at] = c;
  for (int i = at + 1; i < p->n; i++) {
    code *k = &p->code[i];
    if (k->op == SPLIT || k->op == JUMP) k->x += k->x >= at, k->y += k->y >= at;
  }
}

static void class(program *p) {
  uint32_t *set = p->class[p->classes];
  int not = *p->at == '^';
  p->at += not;
  for (; *p->at != ']'; p->at++) {
    int from = (unsigned char)*p->at, to = from;
    if (p->at[1] == '-') p->at += 2, to = (unsigned char)*p->at;
    for (int c = from; c <= to; c++) set[c / 32] |= 1u << c % 32;
  }
  p->at++;
  for (int i = 0; not && i < 8; i++) set[i] = ~set[i];
  p->code[p->n++] = (code){CLASS, 0, (int16_t)p->classes++, 0};
}

static void piece(program *p) {
  int begin = p->n;
  char c = *p->at++;
  if (c == '(') alternatives(p), p->at++;
  else if (c == '[') class(p);
  else if (c == '.') p->code[p->n++] = (code){ANY, 0, 0, 0};
  else p->code[p->n++] = (code){CHAR, (uint8_t)c, 0, 0};
  for (; *p->at && strchr("*+?", *p->at); p->at++) {
    if (*p->at == '+') {
      p->code[p->n] = (code){SPLIT, 0, (int16_t)begin, (int16_t)(p->n + 1)};
      p->n++;
    } else {
      insert(p, begin, (code){SPLIT, 0, (int16_t)(begin + 1), 0});
      if (*p->at == '*') p->code[p->n++] = (code){JUMP, 0, (int16_t)begin, 0};
      p->code[begin].y = (int16_t)p->n;
    }
  }
}

static void alternatives(program *p) {
  int begin = p->n;
  while (*p->at && *p->at != '|' && *p->at != ')') piece(p);
  if (*p->at != '|') return;
  p->at++;
  insert(p, begin, (code){SPLIT, 0, (int16_t)(begin + 1), (int16_t)(p->n + 2)});
  int over = p->n++;
  alternatives(p);
  p->code[over] = (code){JUMP, 0, (int16_t)p->n, 0};
}

typedef struct {
  int n;
  int16_t at[200];
  uint32_t mark[200];
} states;

static void add(const program *p, states *s, int at, uint32_t step) {
  if (s->mark[at] == step) return;
  s->mark[at] = step;
  code c = p->code[at];
  if (c.op == JUMP) add(p, s, c.x, step);
  else if (c.op == SPLIT) add(p, s, c.x, step), add(p, s, c.y, step);
  else s->at[s->n++] = (int16_t)at;
}

/* how many positions of the text a match ends at */
static int matches(const program *p, const char *text) {
  static states lists[2];
  static uint32_t step;
  states *now = &lists[0], *next = &lists[1];
  int found = 0;
  now->n = 0;
  step++;
  for (;; text++) {
    add(p, now, 0, step);
    next->n = 0;
    unsigned char c = (unsigned char)*text;
    int matched = 0;
    for (int i = 0; i < now->n; i++) {
      code k = p->code[now->at[i]];
      int goes_on = k.op == CHAR ? k.c == c : k.op == CLASS ? p->class[k.x][c / 32] >> c % 32 & 1 : k.op == ANY;
      if (k.op == MATCH) matched = 1;
      else if (goes_on && c) add(p, next, now->at[i] + 1, step + 1);
    }
    found += matched;
    step++;
    if (!c) return found;
    states *other = now;
    now = next, next = other;
  }
}

int main(int argc, char **argv) {
  static const char *patterns[] = {"(GET|POST|PUT) /[a-z0-9/]+[?]id=[0-9]+", "[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+", "error|warning|(time|t)out",
                                   "[a-z]+@[a-z]+[.](com|org|net)", "(ab?c*)+d", "user=[^ ]* .*status=[45][0-9][0-9]"};
  static const char *pieces[] = {"GET /static/app9?id=", "POST /v1/items?id=", "10.", "192.168.", " error ", " timeout ", "mail bob@site.org ", "abcccabcd ",
                                 "user=eve status=", "user=", "status=404 ", "x.y.z ", " ", "7", "42", "500"};
  int n = scale_of(argc, argv, 1);
  static program programs[6];
  for (int i = 0; i < 6; i++) {
    programs[i].at = patterns[i];
    alternatives(&programs[i]);
    programs[i].code[programs[i].n++] = (code){MATCH, 0, 0, 0};
  }
  char line[400];
  for (int i = 0; i < n * 1000; i++) {
    line[0] = 0;
    char *end = line;
    for (uint64_t r = next_random(); r; r >>= 4) {
      const char *piece = pieces[r & 15];
      size_t length = strlen(piece);
      memcpy(end, piece, length + 1);
      end += length;
    }
    for (int k = 0; k < 6; k++) fold(matches(&programs[k], line) * 8 + k);
  }
  return report("regex", n);
}
