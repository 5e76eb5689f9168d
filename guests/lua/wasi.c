/* What Lua's libraries want and WASI does not have: they fail, as the C standard lets them. */
#include <stdio.h>
#include <stdlib.h>
int system(const char *command) { return command ? -1 : 0; }
FILE *tmpfile(void) { return NULL; }
char *tmpnam(char *name) {
  (void)name;
  return NULL;
}
