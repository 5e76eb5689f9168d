/* Appends argv[2] lines to argv[1], which is opened, appended to and closed for each; between, a directory is made, listed
 * and removed and the file is renamed and back: path operations rather than offsets. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(int argc, char **argv) {
  const char *path = argc > 1 ? argv[1] : "append.txt";
  int lines = argc > 2 ? atoi(argv[2]) : 20;
  char other[256], directory[256];
  snprintf(other, sizeof other, "%s.new", path);
  snprintf(directory, sizeof directory, "%s.d", path);
  unlink(path);
  uint32_t x = 1;
  for (int i = 0; i < lines; i++) {
    FILE *f = fopen(path, "a");
    if (!f) {
      perror(path);
      return 1;
    }
    for (int k = 0; k < 20000; k++) x = x * 1664525u + 1013904223u, x ^= x >> 15;
    fprintf(f, "%d %08x\n", i, (unsigned)x);
    fclose(f);
    if (i % 5 == 0) {
      if (mkdir(directory, 0777) != 0) perror("mkdir");
      if (rename(path, other) != 0) perror("rename");
      DIR *d = opendir(directory);
      int entries = 0;
      for (struct dirent *e; d && (e = readdir(d));) entries += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
      if (d) closedir(d);
      if (rmdir(directory) != 0) perror("rmdir");
      if (rename(other, path) != 0) perror("rename back");
      struct stat s;
      if (stat(path, &s) != 0) perror("stat");
      printf("%d: %lld bytes, %d entries\n", i, (long long)s.st_size, entries);
    }
  }
  return 0;
}
