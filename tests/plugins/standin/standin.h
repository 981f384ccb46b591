// What the stand-ins for libnvinfer and libcudart share. For tests only: they hold the rules that the example
// program relies on (work runs when a stream is synchronised and not before, a capture records and does not
// run, null and false on failure) and compute a linear map. Environment variables make them fail on purpose.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <functional>

#include <NvInferRuntime.h>
#include <NvInferVersion.h>
#include <cuda_runtime_api.h>

namespace standin {

[[noreturn]] inline void unexpected(char const *call) {
  std::fprintf(stderr, "stand-in: %s was called, which it does not know\n", call);
  std::abort();
}

// Queues work on a stream, or records it where the stream is being captured.
void launch(cudaStream_t stream, std::function<void()> work);
bool capturing(cudaStream_t stream);

inline char const *setting(char const *name, char const *otherwise) {
  char const *value = std::getenv(name);
  return value ? value : otherwise;
}

} // namespace standin
