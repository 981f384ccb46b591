// SelectiveScan written from its formulas, channel by channel and state by state, for one window: the
// yardstick of `python -m benchmarks native-ops`. Its speed is what a compiler makes of it.
#include <cmath>

extern "C" void plain_scan(const float *u, const float *delta, const float *A, const float *B, const float *C,
                           const float *D, const float *delta_bias, const float *initial_state,
                           const float *z, float *y, float *state, long l, long d, long n) {
  for (long i = 0; i < d * n; ++i)
    state[i] = initial_state[i];
  for (long t = 0; t < l; ++t)
    for (long c = 0; c < d; ++c) {
      const float x = delta[t * d + c] + delta_bias[c],
                  dt = std::fmax(x, 0.0f) + std::log1p(std::exp(-std::fabs(x)));
      const float drive = dt * u[t * d + c], gate = z[t * d + c];
      float sum = D[c] * u[t * d + c];
      for (long s = 0; s < n; ++s) {
        float &h = state[c * n + s];
        h = std::exp(dt * A[c * n + s]) * h + drive * B[t * n + s];
        sum += h * C[t * n + s];
      }
      y[t * d + c] = sum * gate / (1.0f + std::exp(-gate));
    }
}
