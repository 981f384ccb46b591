// Stands in for the header of this name in mamba_ssm's csrc/selective_scan (2.3.2): its parameters, and a
// plain loop on the host that reads and writes through every stride as its kernel does.
#pragma once

#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

using cudaStream_t = void *;

struct SSMParamsBase {
  using index_t = uint64_t;
  int batch, dim, seqlen, dstate, n_groups, n_chunks;
  int dim_ngroups_ratio;
  bool is_variable_B;
  bool is_variable_C;
  bool delta_softplus;
  index_t A_d_stride, A_dstate_stride;
  index_t B_batch_stride, B_d_stride, B_dstate_stride, B_group_stride;
  index_t C_batch_stride, C_d_stride, C_dstate_stride, C_group_stride;
  index_t u_batch_stride, u_d_stride, delta_batch_stride, delta_d_stride;
  index_t z_batch_stride, z_d_stride, out_batch_stride, out_d_stride, out_z_batch_stride, out_z_d_stride;
  void *A_ptr, *B_ptr, *C_ptr, *D_ptr, *u_ptr, *delta_ptr, *delta_bias_ptr, *out_ptr, *x_ptr, *z_ptr,
      *out_z_ptr;
};

template <class Input, class Weight> void selective_scan_fwd_cuda(SSMParamsBase &p, cudaStream_t) {
  if (p.dstate > 256)
    throw std::runtime_error("too many states");
  const auto at = [](void *base, uint64_t i) -> Input & { return static_cast<Input *>(base)[i]; };
  const auto *rates = static_cast<float *>(p.A_ptr);
  auto *running = static_cast<float *>(p.x_ptr);
  for (int b = 0; b < p.batch; ++b)
    for (int d = 0; d < p.dim; ++d) {
      const int group = d / p.dim_ngroups_ratio;
      std::vector<float> state(static_cast<size_t>(p.dstate), 0.0f);
      for (int t = 0; t < p.seqlen; ++t) {
        const float u = at(p.u_ptr, b * p.u_batch_stride + d * p.u_d_stride + t);
        float dt = at(p.delta_ptr, b * p.delta_batch_stride + d * p.delta_d_stride + t);
        dt += static_cast<float *>(p.delta_bias_ptr)[d];
        dt = p.delta_softplus && dt <= 20 ? std::log1p(std::exp(dt)) : dt;
        float y = static_cast<float *>(p.D_ptr)[d] * u;
        for (int n = 0; n < p.dstate; ++n) {
          const float rate = rates[d * p.A_d_stride + n * p.A_dstate_stride];
          const float in =
              at(p.B_ptr, b * p.B_batch_stride + group * p.B_group_stride + n * p.B_dstate_stride + t);
          const float out =
              at(p.C_ptr, b * p.C_batch_stride + group * p.C_group_stride + n * p.C_dstate_stride + t);
          float &h = state[static_cast<size_t>(n)];
          h = std::exp(dt * rate) * h + dt * in * u;
          y += h * out;
        }
        at(p.out_ptr, b * p.out_batch_stride + d * p.out_d_stride + t) = y;
        if (p.z_ptr) {
          const float z = at(p.z_ptr, b * p.z_batch_stride + d * p.z_d_stride + t);
          at(p.out_z_ptr, b * p.out_z_batch_stride + d * p.out_z_d_stride + t) = y * z / (1 + std::exp(-z));
        }
        // The kernel leaves, after each 2048 steps, the product of the decays and the state.
        if ((t + 1) % 2048 == 0 || t + 1 == p.seqlen)
          for (int n = 0; n < p.dstate; ++n)
            running[(((int64_t{b} * p.dim + d) * p.n_chunks + t / 2048) * p.dstate + n) * 2 + 1] =
                state[static_cast<size_t>(n)];
      }
    }
}
