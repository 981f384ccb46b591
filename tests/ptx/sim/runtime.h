// Of the functions that take libcudart's place.
#pragma once

#include <cuda_runtime_api.h>

#include "streams.h"

namespace ptx {

// Keeps an error for cudaGetLastError and returns it.
cudaError_t answer(cudaError_t error);

// A stream by its handle.
inline Stream &stream_of(cudaStream_t handle) {
  return handle ? *reinterpret_cast<Stream *>(handle) : streams().null();
}

using Lock = std::lock_guard<std::recursive_mutex>;

} // namespace ptx
