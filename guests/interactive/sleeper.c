/* Says a line, sleeps argv[1] seconds (a decimal fraction will do) by nanosleep, says another; argv[2] times over. With -m,
 * says on standard error how long each sleep lasted by the monotonic clock. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
int main(int argc, char **argv) {
  double seconds = argc > 1 ? atof(argv[1]) : 1;
  int times = argc > 2 ? atoi(argv[2]) : 1, measure = argc > 3 && strcmp(argv[3], "-m") == 0;
  for (int i = 1; i <= times; i++) {
    printf("falling asleep %d\n", i);
    fflush(stdout);
    struct timespec t = {(time_t)seconds, (long)((seconds - floor(seconds)) * 1e9)}, before, after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    if (nanosleep(&t, NULL) != 0) perror("nanosleep");
    clock_gettime(CLOCK_MONOTONIC, &after);
    double slept = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    printf("awake %d%s\n", i, slept + 1e-4 < seconds ? " TOO EARLY" : "");
    if (measure) fprintf(stderr, "slept %.3f s\n", slept);
    fflush(stdout);
  }
  return 0;
}
