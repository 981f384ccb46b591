// What both ops share and a caller sees: types, errors, the device. Plain C++: no CUDA in here.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__CUDACC__)
#define MIMAMBA_BOTH __host__ __device__
#else
#define MIMAMBA_BOTH
#endif

namespace mimamba {

enum class Dtype : int32_t { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };

enum class Code : int32_t { kOk = 0, kBadArgument = 1, kWorkspaceTooSmall = 2, kCudaError = 3 };

// The message is a string constant or one of the CUDA runtime's: nothing to free, safe across threads.
struct Status {
  Code code;
  const char *message;
  bool ok() const { return code == Code::kOk; }
};

constexpr Status kDone{Code::kOk, ""};

constexpr Status refuse(const char *message) { return {Code::kBadArgument, message}; }

// What a launcher must know of its device. The caller asks once, not at every launch (query_device).
struct Device {
  int32_t multiprocessors = 1;
  int64_t shared_bytes = 48 * 1024; // a block may opt in to this much
  int64_t max_blocks = 1 << 30;     // kernels stride over the rest; tests set it low
};

// Bytes of a block that a kernel may declare itself, beside those it gets at its launch: the device's limit is
// one for both.
constexpr int64_t kStaticShared = 64;

MIMAMBA_BOTH constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
MIMAMBA_BOTH constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }
MIMAMBA_BOTH constexpr int64_t lesser(int64_t a, int64_t b) { return a < b ? a : b; }
MIMAMBA_BOTH constexpr int64_t greater(int64_t a, int64_t b) { return a > b ? a : b; }

#define MIMAMBA_TRY(expression)                                                                              \
  do {                                                                                                       \
    const ::mimamba::Status status_ = (expression);                                                          \
    if (!status_.ok())                                                                                       \
      return status_;                                                                                        \
  } while (false)

} // namespace mimamba
