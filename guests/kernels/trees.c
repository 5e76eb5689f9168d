/* Binary trees that keep themselves in balance (treaps), with malloc and free: insert, find, remove, walk; scale = thousands of operations. */
#include "kernel.h"
typedef struct tree {
  struct tree *left, *right;
  uint32_t key, priority;
  uint64_t count;
} tree;

static tree *rotate(tree *t, int right) {
  tree *up = right ? t->left : t->right;
  if (right) t->left = up->right, up->right = t;
  else t->right = up->left, up->left = t;
  return up;
}

static tree *insert(tree *t, uint32_t key) {
  if (!t) {
    t = want(sizeof *t);
    *t = (tree){NULL, NULL, key, (uint32_t)next_random(), 1};
  } else if (key == t->key) {
    t->count++;
  } else if (key < t->key) {
    t->left = insert(t->left, key);
    if (t->left->priority > t->priority) t = rotate(t, 1);
  } else {
    t->right = insert(t->right, key);
    if (t->right->priority > t->priority) t = rotate(t, 0);
  }
  return t;
}

static tree *drop(tree *t, uint32_t key) {
  if (!t) return NULL;
  if (key < t->key) {
    t->left = drop(t->left, key);
  } else if (key > t->key) {
    t->right = drop(t->right, key);
  } else if (!t->left || !t->right) {
    tree *rest = t->left ? t->left : t->right;
    free(t);
    return rest;
  } else {
    int right = t->left->priority > t->right->priority;
    t = rotate(t, right);
    if (right) t->right = drop(t->right, key);
    else t->left = drop(t->left, key);
  }
  return t;
}

static const tree *find(const tree *t, uint32_t key) {
  while (t && t->key != key) t = key < t->key ? t->left : t->right;
  return t;
}

static uint64_t walk(const tree *t, uint64_t sum) {
  for (; t; t = t->right) sum = walk(t->left, sum) * 31 + t->key + t->count;
  return sum;
}

int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 1);
  tree *all = NULL;
  for (int i = 0; i < n * 1000; i++) {
    all = insert(all, next_random() % 50000);
    all = drop(all, next_random() % 50000);
    for (int k = 0; k < 3; k++) {
      const tree *t = find(all, next_random() % 50000);
      if (t) fold(t->count);
    }
    if (i % 10000 == 999) fold(walk(all, 0));
  }
  return report("trees", n);
}
