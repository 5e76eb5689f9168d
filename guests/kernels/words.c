/* A hash table of strings, open addressing with tombstones: made-up words are counted, sought, removed, and sorted; scale = thousands of words. */
#include "kernel.h"
typedef struct {
  char *word; /* NULL: never used; empty: removed */
  uint32_t hash, count;
} entry;
static entry *table;
static uint32_t size = 64, used;

static uint32_t hash_of(const char *s) {
  uint32_t h = 2166136261u;
  while (*s) h = (h ^ (unsigned char)*s++) * 16777619u;
  return h;
}

static entry *find(const char *word, uint32_t hash) {
  entry *removed = NULL;
  for (uint32_t i = hash;; i++) {
    entry *e = &table[i & (size - 1)];
    if (!e->word) return removed ? removed : e;
    if (!*e->word) removed = removed ? removed : e;
    else if (e->hash == hash && !strcmp(e->word, word)) return e;
  }
}

static void grow(void) {
  entry *old = table;
  uint32_t n = size;
  size *= 2, used = 0;
  table = calloc(size, sizeof *table);
  if (!table) exit(1);
  for (uint32_t i = 0; i < n; i++)
    if (old[i].word && *old[i].word) *find(old[i].word, old[i].hash) = old[i], used++;
    else free(old[i].word);
  free(old);
}

/* few words often, many seldom */
static void make(char *word) {
  uint64_t r = next_random();
  int letters = 2 + r % 3 + (r >> 8) % 4;
  for (int i = 0; i < letters; i++) {
    uint32_t k = (r >> (10 + 5 * i)) & 31;
    word[i] = "eeeeetttaaoonniisshhrrddlluucmfw"[k];
  }
  word[letters] = 0;
}

static int by_count(const void *a, const void *b) {
  const entry *x = a, *y = b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return strcmp(x->word, y->word);
}

int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 2);
  table = calloc(size, sizeof *table);
  if (!table) return 1;
  char word[16];
  for (int i = 0; i < n * 1000; i++) {
    if (used * 4 >= size * 3) grow();
    make(word);
    uint32_t hash = hash_of(word);
    entry *e = find(word, hash);
    if (e->word && *e->word) {
      e->count++;
    } else {
      if (!e->word) used++;
      free(e->word);
      e->word = want(strlen(word) + 1);
      strcpy(e->word, word);
      e->hash = hash, e->count = 1;
    }
    if (i % 3 == 0) {
      make(word);
      e = find(word, hash_of(word));
      if (e->word && *e->word) fold(e->count), *e->word = 0;
    }
  }
  uint32_t live = 0;
  for (uint32_t i = 0; i < size; i++)
    if (table[i].word && *table[i].word) table[live++] = table[i];
  qsort(table, live, sizeof *table, by_count);
  for (uint32_t i = 0; i < live; i++) fold(table[i].count), fold(table[i].hash);
  return report("words", n);
}
