/* PolyBench deriche: a recursive edge filter over a picture, along rows, then along columns; scale = the picture's edge, and how often. */
#include "../kernels/kernel.h"
int main(int argc, char **argv) {
  int n = scale_of(argc, argv, 60), times = times_of(argc, argv);
  float(*in)[n] = want(sizeof(float) * n * n), (*out)[n] = want(sizeof(float) * n * n);
  float(*y1)[n] = want(sizeof(float) * n * n), (*y2)[n] = want(sizeof(float) * n * n);
  /* alpha = 0.25; its exponentials are written out, for the libraries of C do not agree on the last bit */
  const float e1 = 0.7788007830714049f, e2 = 0.6065306597126334f;
  const float k = (1 - e1) * (1 - e1) / (1 + 0.5f * e1 - e2);
  const float a1 = k, a2 = k * e1 * -0.75f, a3 = k * e1 * 1.25f, a4 = -k * e2, b1 = 0.8408964152537145f, b2 = -e2;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) in[i][j] = (float)((313 * i + 991 * j) % 65536) / 65535;
  for (int t = 0; t < times; t++) {
    for (int i = 0; i < n; i++) {
      float p = 0, q = 0, x = 0;
      for (int j = 0; j < n; j++) {
        y1[i][j] = a1 * in[i][j] + a2 * x + b1 * p + b2 * q;
        x = in[i][j], q = p, p = y1[i][j];
      }
      float x1 = 0, x2 = 0;
      p = q = 0;
      for (int j = n - 1; j >= 0; j--) {
        y2[i][j] = a3 * x1 + a4 * x2 + b1 * p + b2 * q;
        x2 = x1, x1 = in[i][j], q = p, p = y2[i][j];
      }
    }
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) out[i][j] = y1[i][j] + y2[i][j];
    for (int j = 0; j < n; j++) {
      float p = 0, q = 0, x = 0;
      for (int i = 0; i < n; i++) {
        y1[i][j] = a1 * out[i][j] + a2 * x + b1 * p + b2 * q;
        x = out[i][j], q = p, p = y1[i][j];
      }
      float x1 = 0, x2 = 0;
      p = q = 0;
      for (int i = n - 1; i >= 0; i--) {
        y2[i][j] = a3 * x1 + a4 * x2 + b1 * p + b2 * q;
        x2 = x1, x1 = out[i][j], q = p, p = y2[i][j];
      }
    }
    for (int i = 0; i < n; i++)
      for (int j = 0; j < n; j++) out[i][j] = y1[i][j] + y2[i][j];
    in[t % n][t % n] += 1;
  }
  for (int i = 0; i < n; i++)
    for (int j = 0; j < n; j++) fold_double(out[i][j]);
  return report("deriche", n);
}
