// The forward kernel of state-spaces/mamba's selective_scan, unchanged, under a C name: built against the
// csrc folder of its source distribution, for one type of input (MAMBA_SSM_INPUT, MAMBA_SSM_NAME). Its own binding
// would want every type and the backward pass compiled.
#include "selective_scan_fwd_kernel.cuh"

#include <c10/util/Half.h>

#include <cstring>
#include <exception>

extern "C" {

// Tensors as its selective_scan.cpp has them: u, delta, z, out, out_z (b, d, l); A (d, n); B, C (b, g, n, l);
// x (b, d, chunks, 2 n) float32, chunks of 2048 steps. z and out_z may be null.
struct MambaSsmScan {
  void *u, *delta, *A, *B, *C, *D, *delta_bias, *z, *out, *out_z, *x;
  int64_t b, l, d, g, n;
};

int MAMBA_SSM_NAME(const MambaSsmScan *scan, void *stream, char *message, int64_t room) {
  const MambaSsmScan &s = *scan;
  SSMParamsBase p;
  std::memset(&p, 0, sizeof p);
  p.batch = static_cast<int>(s.b), p.dim = static_cast<int>(s.d), p.seqlen = static_cast<int>(s.l);
  p.dstate = static_cast<int>(s.n), p.n_groups = static_cast<int>(s.g);
  p.n_chunks = static_cast<int>((s.l + 2047) / 2048);
  p.dim_ngroups_ratio = static_cast<int>(s.d / s.g);
  p.is_variable_B = p.is_variable_C = p.delta_softplus = true;
  p.A_d_stride = s.n, p.A_dstate_stride = 1;
  p.B_batch_stride = p.C_batch_stride = s.g * s.n * s.l;
  p.B_group_stride = p.C_group_stride = s.n * s.l;
  p.B_dstate_stride = p.C_dstate_stride = s.l;
  p.u_batch_stride = p.delta_batch_stride = p.z_batch_stride = p.out_batch_stride = p.out_z_batch_stride =
      s.d * s.l;
  p.u_d_stride = p.delta_d_stride = p.z_d_stride = p.out_d_stride = p.out_z_d_stride = s.l;
  p.u_ptr = s.u, p.delta_ptr = s.delta, p.A_ptr = s.A, p.B_ptr = s.B, p.C_ptr = s.C, p.D_ptr = s.D;
  p.delta_bias_ptr = s.delta_bias, p.z_ptr = s.z, p.out_ptr = s.out, p.out_z_ptr = s.out_z, p.x_ptr = s.x;
  try {
    selective_scan_fwd_cuda<MAMBA_SSM_INPUT, float>(p, static_cast<cudaStream_t>(stream));
    return 0;
  } catch (const std::exception &error) {
    std::strncpy(message, error.what(), static_cast<size_t>(room - 1));
    return 1;
  }
}

} // extern "C"
