/* Strings and a hash table: words are made, counted, removed and joined (malloc, free, snprintf, memcmp); scale = thousands
 * of words. */
#include "kernel.h"
typedef struct entry {
  struct entry *next;
  uint32_t hash, count;
  char word[];
} entry;
static entry **table;
static uint32_t buckets = 16, used;

static uint32_t hash_of(const char *s) {
  uint32_t h = 2166136261u;
  for (; *s; s++) h = (h ^ (uint8_t)*s) * 16777619u;
  return h;
}
static void grow(void) {
  entry **wider = calloc(buckets * 2, sizeof *wider);
  for (uint32_t i = 0; i < buckets; i++)
    for (entry *e = table[i], *next; e; e = next) {
      next = e->next;
      entry **at = &wider[e->hash & (buckets * 2 - 1)];
      e->next = *at;
      *at = e;
    }
  free(table);
  table = wider;
  buckets *= 2;
}
static void add(const char *word) {
  uint32_t h = hash_of(word);
  for (entry *e = table[h & (buckets - 1)]; e; e = e->next)
    if (e->hash == h && strcmp(e->word, word) == 0) {
      e->count++;
      return;
    }
  if (++used > buckets) grow();
  size_t length = strlen(word) + 1;
  entry *e = want(sizeof *e + length);
  memcpy(e->word, word, length);
  e->hash = h;
  e->count = 1;
  e->next = table[h & (buckets - 1)];
  table[h & (buckets - 1)] = e;
}
static int take(const char *word) {
  uint32_t h = hash_of(word);
  for (entry **at = &table[h & (buckets - 1)]; *at; at = &(*at)->next)
    if ((*at)->hash == h && strcmp((*at)->word, word) == 0) {
      entry *gone = *at;
      int count = (int)gone->count;
      *at = gone->next;
      free(gone);
      used--;
      return count;
    }
  return 0;
}
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 20);
  table = calloc(buckets, sizeof *table);
  char word[64];
  for (int i = 0; i < n * 1000; i++) {
    uint64_t r = next_random();
    snprintf(word, sizeof word, "%s-%x.%u", r & 1 ? "dor" : "mouse", (unsigned)(r >> 40 & 0x3fff), (unsigned)(r >> 20 & 7));
    if ((r & 15) == 3) fold((uint64_t)take(word)); else add(word);
  }
  char *joined = want(1);
  size_t length = 0;
  for (uint32_t i = 0; i < buckets && length < 1 << 20; i += 3)
    for (entry *e = table[i]; e; e = e->next) {
      int more = snprintf(word, sizeof word, "%s=%u;", e->word, (unsigned)e->count);
      joined = realloc(joined, length + (size_t)more + 1);
      memcpy(joined + length, word, (size_t)more + 1);
      length += (size_t)more;
    }
  fold(used);
  fold(hash_of(joined));
  printf("%zu\n", length);
  return report("strings", n);
}
