/* A mix in CoreMark's manner: linked list (find, reverse, merge sort), small integer matrices, a state machine over text,
 * and a CRC over every result; scale = iterations. */
#include "kernel.h"

static uint16_t crc16(uint32_t data, uint16_t crc) {
  for (int i = 0; i < 32; i++) {
    int bit = (data ^ crc) & 1;
    data >>= 1;
    crc >>= 1;
    if (bit) crc ^= 0xa001;
  }
  return crc;
}

typedef struct item {
  struct item *next;
  int16_t value, index;
} item;
#define ITEMS 200
static item items[ITEMS];

static int by_value(const item *a, const item *b) { return a->value - b->value; }
static int by_index(const item *a, const item *b) { return a->index - b->index; }

static item *merge_sort(item *list, int (*compare)(const item *, const item *)) {
  if (!list || !list->next) return list;
  item *slow = list, *fast = list->next;
  while (fast && fast->next) slow = slow->next, fast = fast->next->next;
  item *b = slow->next, *head = NULL, **tail = &head;
  slow->next = NULL;
  item *a = merge_sort(list, compare);
  b = merge_sort(b, compare);
  while (a && b) {
    item **least = compare(a, b) <= 0 ? &a : &b;
    *tail = *least;
    tail = &(*least)->next;
    *least = *tail;
  }
  *tail = a ? a : b;
  return head;
}

static item *reverse(item *list) {
  item *done = NULL;
  while (list) {
    item *next = list->next;
    list->next = done;
    done = list;
    list = next;
  }
  return done;
}

static uint16_t lists(int round, uint16_t crc) {
  for (int i = 0; i < ITEMS; i++)
    items[i] = (item){i + 1 < ITEMS ? &items[i + 1] : NULL, (int16_t)((i * 7919 + round * 31) & 0x3ff), (int16_t)i};
  item *list = items;
  for (int find = 0; find < 20; find++) {
    item *at = list;
    while (at && at->value != ((find * 37 + round) & 0x3ff)) at = at->next;
    crc = crc16(at ? (uint32_t)at->index : 0xffffu, crc);
    list = reverse(list);
  }
  list = merge_sort(list, by_value);
  for (item *at = list; at; at = at->next) crc = crc16((uint32_t)at->value << 16 | (uint16_t)at->index, crc);
  list = merge_sort(list, by_index);
  return crc16((uint32_t)list->value, crc);
}

#define M 16
static uint16_t matrices(int round, uint16_t crc) {
  static int16_t a[M][M], b[M][M];
  int32_t c[M][M];
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++) a[i][j] = (int16_t)(i * 3 + j * 5 + round), b[i][j] = (int16_t)(i * 7 - j * 11 + round);
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++) {
      int32_t s = 0;
      for (int k = 0; k < M; k++) s += (a[i][k] * b[k][j] >> 2 & 0xf) * (a[i][k] * b[k][j] >> 5 & 0x7f);
      c[i][j] = s;
    }
  for (int i = 0; i < M; i++)
    for (int j = 0; j < M; j++) crc = crc16((uint32_t)c[i][j], crc);
  return crc;
}

enum state { START, INVALID, SIGN, INTEGER, FRACTION, EXPONENT, EXPONENT_SIGN, SCIENTIFIC, STATES };
static enum state classify(const char **text, uint32_t *moves) {
  enum state s = START;
  for (; **text; (*text)++) {
    char c = **text;
    if (c == ',') {
      (*text)++;
      break;
    }
    int digit = c >= '0' && c <= '9';
    moves[s]++;
    switch (s) {
    case START: s = digit ? INTEGER : c == '+' || c == '-' ? SIGN : c == '.' ? FRACTION : INVALID; break;
    case SIGN: s = digit ? INTEGER : c == '.' ? FRACTION : INVALID; break;
    case INTEGER: s = digit ? INTEGER : c == '.' ? FRACTION : INVALID; break;
    case FRACTION: s = digit ? FRACTION : c == 'e' || c == 'E' ? EXPONENT : INVALID; break;
    case EXPONENT: s = c == '+' || c == '-' ? EXPONENT_SIGN : INVALID; break;
    case EXPONENT_SIGN: s = digit ? SCIENTIFIC : INVALID; break;
    case SCIENTIFIC: s = digit ? SCIENTIFIC : INVALID; break;
    default: break;
    }
  }
  return s;
}
static uint16_t states(int round, uint16_t crc) {
  char text[] = "5012,1234,-874,+122,35.54400,.1234500,-110.700,+0.64400,5.500e+3,-.123e-2,-87e+832,+0.6e-12,T0.3e-1F,-T.T++Tq,"
                "1T3.4e4z,34.0e-T^";
  uint32_t ends[STATES] = {0}, moves[STATES] = {0};
  for (size_t i = (size_t)round % 7; i < sizeof text - 1; i += 7)
    if (text[i] != ',') text[i] ^= (char)(round & 3);
  for (const char *at = text; *at;) ends[classify(&at, moves)]++;
  for (int i = 0; i < STATES; i++) crc = crc16(ends[i] << 16 | moves[i], crc);
  return crc;
}

int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 50);
  uint16_t crc = 0;
  for (int i = 0; i < n; i++) {
    crc = lists(i, crc);
    crc = matrices(i, crc);
    crc = states(i, crc);
    fold(crc);
  }
  return report("mix", n);
}
