/* SQLite as a guest: driver DATABASE SCALE. The same work on a database in the file DATABASE and on one in :memory:, printing
 * what must come out alike everywhere. SCALE 1 is well below a second, 200 some seconds. */
#include "sqlite3.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fail(sqlite3 *db, const char *what) {
  fprintf(stderr, "%s: %s\n", what, sqlite3_errmsg(db));
  exit(1);
}

static void run(sqlite3 *db, const char *sql) {
  if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK) fail(db, sql);
}

/* calls back from SQLite's byte code into us: an FNV hash over all rows */
typedef struct {
  uint64_t hash;
  int64_t rows;
} digest;
static void digest_step(sqlite3_context *context, int n, sqlite3_value **values) {
  digest *d = sqlite3_aggregate_context(context, sizeof *d);
  if (!d) return;
  if (!d->rows++) d->hash = 0xcbf29ce484222325ull;
  for (int i = 0; i < n; i++) {
    const unsigned char *text = sqlite3_value_text(values[i]);
    for (int k = 0; text && text[k]; k++) d->hash = (d->hash ^ text[k]) * 0x100000001b3ull;
    d->hash = (d->hash ^ 0xff) * 0x100000001b3ull;
  }
}
static void digest_final(sqlite3_context *context) {
  digest *d = sqlite3_aggregate_context(context, 0);
  char text[64];
  snprintf(text, sizeof text, "%016llx/%lld", d ? (unsigned long long)d->hash : 0ull, d ? (long long)d->rows : 0ll);
  sqlite3_result_text(context, text, -1, SQLITE_TRANSIENT);
}

static int show_row(void *title, int n, char **values, char **names) {
  (void)names;
  printf("%s:", (const char *)title);
  for (int i = 0; i < n; i++) printf(" %s", values[i] ? values[i] : "null");
  puts("");
  return 0;
}
static void show(sqlite3 *db, const char *title, const char *sql) {
  if (sqlite3_exec(db, sql, show_row, (void *)title, NULL) != SQLITE_OK) fail(db, sql);
  fflush(stdout);
}

static uint64_t seed = 42;
static uint32_t next_random(uint32_t below) {
  seed = seed * 6364136223846793005ull + 1442695040888963407ull;
  return (uint32_t)(seed >> 33) % below;
}

static void work(const char *path, int scale) {
  sqlite3 *db;
  if (sqlite3_open(path, &db) != SQLITE_OK) fail(db, path);
  sqlite3_create_function(db, "digest", -1, SQLITE_UTF8, NULL, NULL, digest_step, digest_final);
  run(db, "PRAGMA cache_size = -2000; PRAGMA journal_mode = DELETE;");
  run(db, "CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT, town INTEGER, born INTEGER, note BLOB);"
          "CREATE TABLE town(id INTEGER PRIMARY KEY, name TEXT UNIQUE, size REAL);");
  int people = 2000 * scale, towns = 50 + scale;
  sqlite3_stmt *insert;
  run(db, "BEGIN");
  if (sqlite3_prepare_v2(db, "INSERT INTO town VALUES(?1, 'town' || ?1, ?1 * 1.5)", -1, &insert, NULL) != SQLITE_OK) fail(db, "prepare");
  for (int i = 1; i <= towns; i++) {
    sqlite3_bind_int(insert, 1, i);
    if (sqlite3_step(insert) != SQLITE_DONE) fail(db, "insert town");
    sqlite3_reset(insert);
  }
  sqlite3_finalize(insert);
  if (sqlite3_prepare_v2(db, "INSERT INTO person VALUES(?, printf('p%06d-%x', ?, ?), ?, ?, zeroblob(?))", -1, &insert, NULL) != SQLITE_OK)
    fail(db, "prepare");
  for (int i = 0; i < people; i++) {
    sqlite3_bind_int(insert, 1, i);
    sqlite3_bind_int(insert, 2, (int)next_random(1000000));
    sqlite3_bind_int(insert, 3, (int)next_random(65536));
    sqlite3_bind_int(insert, 4, 1 + (int)next_random((uint32_t)towns));
    sqlite3_bind_int(insert, 5, 1900 + (int)next_random(120));
    sqlite3_bind_int(insert, 6, (int)next_random(40));
    if (sqlite3_step(insert) != SQLITE_DONE) fail(db, "insert person");
    sqlite3_reset(insert);
    if (i % 1000 == 999) run(db, "COMMIT; BEGIN");
  }
  sqlite3_finalize(insert);
  run(db, "COMMIT");
  show(db, "filled", "SELECT count(*), sum(born), digest(name) FROM person");
  run(db, "CREATE INDEX by_town ON person(town, born); CREATE INDEX by_name ON person(name);");
  show(db, "join", "SELECT t.name, count(*) c, avg(p.born) FROM person p JOIN town t ON t.id = p.town GROUP BY t.id ORDER BY c DESC, t.id LIMIT 3");
  show(db, "range", "SELECT count(*), min(name), max(name) FROM person WHERE name BETWEEN 'p2' AND 'p6' AND born % 3 = 1");
  show(db, "like", "SELECT count(*), digest(name) FROM person WHERE name LIKE '%7-a%'");
  show(db, "window", "SELECT digest(id, r) FROM (SELECT id, row_number() OVER (PARTITION BY town ORDER BY born DESC, id) r FROM person) WHERE r <= 3");
  char sql[512];
  snprintf(sql, sizeof sql,
           "WITH RECURSIVE c(i, x) AS (SELECT 1, 7 UNION ALL SELECT i + 1, (x * 1103515245 + 12345) %% 2147483648 FROM c WHERE i < %d)"
           " SELECT count(*), sum(x), max(x) FROM c", 10000 * scale);
  show(db, "recursive", sql);
  run(db, "BEGIN; UPDATE person SET note = zeroblob(3), born = born + 1 WHERE town % 5 = 0; DELETE FROM person WHERE id % 11 = 3; COMMIT;");
  run(db, "BEGIN; DELETE FROM person WHERE town < 20; ROLLBACK;");
  show(db, "sorted", "SELECT digest(name, born) FROM (SELECT name, born FROM person ORDER BY born DESC, name LIMIT 5000)");
  show(db, "selfjoin", "SELECT count(*) FROM person a JOIN person b ON a.town = b.town AND b.born = a.born WHERE a.id < b.id AND a.id < 2000");
  run(db, "VACUUM");
  show(db, "check", "PRAGMA integrity_check");
  show(db, "pages", "PRAGMA page_count");
  if (sqlite3_close(db) != SQLITE_OK) fail(db, "close");
}

int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "test.db";
  int scale = argc > 2 ? atoi(argv[2]) : 1;
  remove(path);
  printf("sqlite %s, scale %d\n", sqlite3_libversion(), scale);
  puts("-- in a file");
  work(path, scale);
  puts("-- in memory");
  seed = 42;
  work(":memory:", scale);
  return 0;
}
