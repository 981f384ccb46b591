// Memory of the runtime: allocations, copies, sets; and what a device says of itself.
#include <cstdio>
#include <cstring>

#include "findings.h"
#include "memory.h"
#include "runtime.h"
#include "settings.h"

using namespace ptx;

namespace {

thread_local cudaError_t last_error = cudaSuccess;

// A call that may not be made while a stream is captured.
bool forbidden_now() { return streams().captures_globally(); }

// Host memory, or inside of one allocation.
bool whole(const void *place, size_t bytes, const char *what) {
  Allocation *a = memory().find(reinterpret_cast<uint64_t>(place));
  const uint64_t offset = a ? reinterpret_cast<uint64_t>(place) - a->base : 0;
  if (!a || bytes <= a->bytes - offset)
    return true;
  tell_launch(what, Fault::kBounds,
              std::to_string(bytes) + " bytes from byte " + std::to_string(offset) + " of allocation " +
                  std::to_string(a->number) + ", which has " + std::to_string(a->bytes));
  return false;
}

cudaError_t copy(void *to, const void *from, size_t bytes) {
  if (!whole(to, bytes, "cudaMemcpy") || !whole(from, bytes, "cudaMemcpy"))
    return cudaErrorInvalidValue;
  std::memmove(to, from, bytes);
  memory().mark(to, bytes, Byte::kWritten);
  return cudaSuccess;
}

} // namespace

namespace ptx {

cudaError_t answer(cudaError_t error) {
  if (error != cudaSuccess)
    last_error = error;
  return error;
}

} // namespace ptx

extern "C" {

cudaError_t cudaGetLastError() {
  const cudaError_t error = last_error;
  last_error = cudaSuccess;
  return error;
}

cudaError_t cudaPeekAtLastError() { return last_error; }

const char *cudaGetErrorName(cudaError_t error) { return cudaGetErrorString(error); }

const char *cudaGetErrorString(cudaError_t error) {
  switch (error) {
  case cudaSuccess:
    return "no error";
  case cudaErrorInvalidValue:
    return "invalid argument";
  case cudaErrorInvalidConfiguration:
    return "invalid configuration argument";
  case cudaErrorMemoryAllocation:
    return "out of memory";
  case cudaErrorInvalidDevice:
    return "invalid device ordinal";
  case cudaErrorStreamCaptureUnsupported:
    return "operation not permitted when stream is capturing";
  default:
    return "an error of the simulated device";
  }
}

cudaError_t cudaMalloc(void **place, size_t bytes) {
  const Lock lock(runtime_lock());
  if (forbidden_now())
    return answer(cudaErrorStreamCaptureUnsupported);
  *place = bytes ? memory().allocate(bytes) : nullptr;
  return *place || !bytes ? cudaSuccess : answer(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void *place) {
  const Lock lock(runtime_lock());
  if (!place)
    return cudaSuccess;
  if (forbidden_now())
    return answer(cudaErrorStreamCaptureUnsupported);
  streams().drain_all(); // waits for the device
  return memory().release(place) ? cudaSuccess : answer(cudaErrorInvalidValue);
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind) {
  const Lock lock(runtime_lock());
  if (forbidden_now())
    return answer(cudaErrorStreamCaptureUnsupported);
  streams().add(streams().null(), [] {});
  streams().drain(streams().null());
  return answer(copy(to, from, bytes));
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width,
                         size_t height, cudaMemcpyKind kind) {
  for (size_t row = 0; row < height; ++row) {
    const cudaError_t error = cudaMemcpy(static_cast<uint8_t *>(to) + row * to_pitch,
                                         static_cast<const uint8_t *>(from) + row * from_pitch, width, kind);
    if (error != cudaSuccess)
      return error;
  }
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  const Lock lock(runtime_lock());
  streams().add(stream_of(stream), [=] { answer(copy(to, from, bytes)); });
  return cudaSuccess;
}

cudaError_t cudaMemset(void *place, int value, size_t bytes) {
  const Lock lock(runtime_lock());
  if (forbidden_now())
    return answer(cudaErrorStreamCaptureUnsupported);
  if (bytes && !memory().find(reinterpret_cast<uint64_t>(place)))
    return answer(cudaErrorInvalidValue);
  if (!whole(place, bytes, "cudaMemset"))
    return answer(cudaErrorInvalidValue);
  streams().add(streams().null(), [=] {
    std::memset(place, value, bytes);
    const Byte state = value == settings().poison   ? Byte::kUnwritten
                       : value == settings().canary ? Byte::kForbidden
                                                    : Byte::kWritten;
    memory().mark(place, bytes, state);
  });
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *free, size_t *total) {
  *total = static_cast<size_t>(settings().memory_limit);
  *free = *total - memory().in_use();
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int *number) {
  *number = 0;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int number) { return number == 0 ? cudaSuccess : answer(cudaErrorInvalidDevice); }

cudaError_t cudaGetDeviceCount(int *count) {
  *count = 1;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int number) {
  if (number != 0)
    return answer(cudaErrorInvalidDevice);
  switch (attribute) {
  case cudaDevAttrMultiProcessorCount:
    *value = static_cast<int>(settings().multiprocessors);
    break;
  case cudaDevAttrMaxSharedMemoryPerBlockOptin:
    *value = static_cast<int>(settings().shared_limit);
    break;
  case cudaDevAttrMaxSharedMemoryPerBlock:
    *value = 48 * 1024;
    break;
  case cudaDevAttrMaxThreadsPerBlock:
    *value = 1024;
    break;
  case cudaDevAttrComputeCapabilityMajor:
    *value = 8;
    break;
  case cudaDevAttrComputeCapabilityMinor:
  case cudaDevAttrIntegrated:
    *value = 0;
    break;
  default:
    std::fprintf(stderr, "ptxsim: attribute %d of a device is not known here\n", static_cast<int>(attribute));
    return answer(cudaErrorInvalidValue);
  }
  return cudaSuccess;
}

// Bytes of an allocation that nobody may touch. 0: they are not all in one allocation.
int ptxsim_forbid(const void *place, uint64_t bytes) {
  const Lock lock(runtime_lock());
  return memory().mark(place, bytes, Byte::kForbidden);
}

// Bytes that count as never written.
int ptxsim_unwrite(const void *place, uint64_t bytes) {
  const Lock lock(runtime_lock());
  return memory().mark(place, bytes, Byte::kUnwritten);
}

} // extern "C"
