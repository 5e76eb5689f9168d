/* Pointer chasing: linked lists whose nodes lie in random order, walked, reversed, split and merged; scale = thousands of nodes, and how often. */
#include "kernel.h"
typedef struct node {
  struct node *next;
  uint64_t value;
} node;

static node *reverse(node *list) {
  node *done = NULL;
  while (list) {
    node *next = list->next;
    list->next = done, done = list, list = next;
  }
  return done;
}

/* every other node to one list and the rest to another, then both after one another */
static node *unzip(node *list) {
  node *first = NULL, *second = NULL, **a = &first, **b = &second;
  for (; list; list = list->next) {
    *a = list, a = &list->next;
    node **other = a;
    a = b, b = other;
  }
  *a = *b = NULL;
  node **end = &first;
  while (*end) end = &(*end)->next;
  *end = second;
  return first;
}

int main(int argc, char **argv) {
  int n = 1000 * scale_of(argc, argv, 1), times = times_of(argc, argv);
  node *nodes = want(sizeof(node) * n);
  int *order = want(sizeof(int) * n);
  for (int i = 0; i < n; i++) order[i] = i, nodes[i].value = next_random();
  for (int i = n - 1; i > 0; i--) {
    int k = next_random() % (i + 1), o = order[i];
    order[i] = order[k], order[k] = o;
  }
  for (int i = 0; i < n; i++) nodes[order[i]].next = i + 1 < n ? &nodes[order[i + 1]] : NULL;
  node *list = &nodes[order[0]];
  for (int t = 0; t < times; t++) {
    uint64_t sum = 0;
    for (node *p = list; p; p = p->next) sum = sum * 31 + p->value;
    fold(sum);
    list = t % 3 == 2 ? unzip(list) : reverse(list);
  }
  return report("lists", n / 1000);
}
