// The scan and its gradients for training: float32, from a zero state, through softplus and gate. Plain C for
// callers without ONNX Runtime.
#pragma once

#include <stdint.h>

extern "C" {

// One layout for both calls: what begins with grad_ is for the second alone. Tensors are contiguous.
struct MimambaTraining {
  const float *u, *delta; // (b, l, d)
  const float *A;         // (d, n)
  const float *B, *C;     // (b, l, g, n)
  const float *D, *delta_bias;
  const float *z; // (b, l, d)
  float *y;
  const float *grad_y;
  float *grad_u, *grad_delta, *grad_A, *grad_B, *grad_C, *grad_D, *grad_delta_bias, *grad_z;
  int64_t b, l, d, g, n, threads;
  int32_t reverse;
};

// Both return 0, or 1 where memory ran out. The bits do not depend on the number of threads.
int mimamba_train_scan(const MimambaTraining *training);
int mimamba_scan_gradients(const MimambaTraining *training);
}
