/* N-body: double arithmetic with many live floats; scale = hundreds of steps. */
#include "kernel.h"
#include <math.h>
typedef struct { double x[3], v[3], mass; } body;
static body bodies[5] = {
    {{0, 0, 0}, {0, 0, 0}, 39.47841760435743},
    {{4.84143144246472090, -1.16032004402742839, -.103622044471123109}, {.606326392995832, 2.81198684491626, -.02521836165988763}, .037693674870389486},
    {{8.34336671824457987, 4.12479856412430479, -.403523417114321381}, {-1.01077434617879, 1.82566237123041, .008415761376584154}, .011286326131968767},
    {{12.8943695621391310, -15.1111514016986312, -.223307578892655734}, {1.08279100644153, .868713018169608, -.010832637401363636}, .0017237240570597112},
    {{15.3796971148509165, -25.9193146099879641, .179258772950371181}, {.979090732243898, .594698998647676, -.034755955550407810}, .0020336868699246304}};
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 20);
  for (int step = 0; step < n * 100; step++) {
    for (int i = 0; i < 5; i++)
      for (int j = i + 1; j < 5; j++) {
        double d[3], d2 = 0;
        for (int k = 0; k < 3; k++) d[k] = bodies[i].x[k] - bodies[j].x[k], d2 += d[k] * d[k];
        double f = 0.01 / (d2 * sqrt(d2));
        for (int k = 0; k < 3; k++) {
          bodies[i].v[k] -= d[k] * bodies[j].mass * f;
          bodies[j].v[k] += d[k] * bodies[i].mass * f;
        }
      }
    for (int i = 0; i < 5; i++)
      for (int k = 0; k < 3; k++) bodies[i].x[k] += 0.01 * bodies[i].v[k];
  }
  for (int i = 0; i < 5; i++)
    for (int k = 0; k < 3; k++) fold_double(bodies[i].x[k]);
  return report("nbody", n);
}
