/* For avr-gcc's front end: some loops, structures, tables, 8- and 64-bit arithmetic. */
typedef unsigned char u8; typedef unsigned int u16; typedef unsigned long u32; typedef unsigned long long u64;
struct node { struct node *left, *right; u16 key; u32 sum; };
static struct node pool[24]; static u8 used;
static const u8 table[16] = { 1, 4, 9, 16, 25, 36, 49, 64, 81, 100, 121, 144, 169, 196, 225, 0 };
volatile u8 port;
static struct node *add(struct node *t, u16 key) {
    if (!t) { t = &pool[used++]; t->key = key; t->sum = (u32)key * key; return t; }
    if (key < t->key) t->left = add(t->left, key); else t->right = add(t->right, key);
    t->sum += key; return t;
}
static u32 walk(const struct node *t) { return t ? walk(t->left) + (t->sum ^ t->key) + walk(t->right) : 0; }
static void sort(u16 *a, u8 n) {
    for (u8 i = 1; i < n; i++) { u16 v = a[i]; u8 j = i; for (; j && a[j - 1] > v; j--) a[j] = a[j - 1]; a[j] = v; }
}
static u64 mix(u64 x) { x ^= x >> 33; x *= 0xff51afd7ed558ccdULL; x ^= x >> 29; return x / 1000003u + x % 97u; }
static float newton(float x) { float y = x; for (u8 i = 0; i < 12; i++) y = 0.5f * (y + x / y); return y; }
/* Much of the same, with other constants each time: work for the optimiser, the assembler and the linker. */
#define UNIT(n) \
static u16 turn##n(u16 *a) { \
    u16 m[3][3], sum = n; \
    for (u8 i = 0; i < 3; i++) for (u8 j = 0; j < 3; j++) m[i][j] = a[i * 3 + j] * table[(i + j + n) & 15]; \
    for (u8 i = 0; i < 3; i++) for (u8 j = 0; j < 3; j++) for (u8 k = 0; k < 3; k++) sum += m[i][k] * m[k][j] >> (j & 3); \
    return sum; \
} \
u16 unit##n(u16 *a, u8 length) { \
    for (u8 i = 1; i < length; i++) { u16 v = a[i]; u8 j = i; for (; j && (a[j - 1] ^ n) > v; j--) a[j] = a[j - 1]; a[j] = v; } \
    return (u16)mix(a[0] + n) + (u16)newton(a[1] * n) + turn##n(a); \
}
#define TEN(n) UNIT(n##0) UNIT(n##1) UNIT(n##2) UNIT(n##3) UNIT(n##4) UNIT(n##5) UNIT(n##6) UNIT(n##7) UNIT(n##8) UNIT(n##9)
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5)
int main(void) {
    u16 a[20]; u32 seed = 42; struct node *root = 0;
    for (u8 i = 0; i < 20; i++) { seed = seed * 1664525UL + 1013904223UL; a[i] = seed >> 17; root = add(root, a[i]); }
    sort(a, 20);
    for (u8 i = 0; i < 20; i++) switch (a[i] & 7) {
        case 0: port = table[i & 15]; break;
        case 1: port ^= (u8)mix(a[i]); break;
        case 2: port += (u8)newton(a[i]); break;
        case 5: port -= i; break;
        case 6: port = (u8)(walk(root) >> (i & 7)); break;
        default: port = ~port;
    }
    return (int)walk(root);
}
