// Launches, streams and graphs of the runtime.
#include <algorithm>
#include <cstring>

#include "findings.h"
#include "modules.h"
#include "runtime.h"
#include "settings.h"

#undef cudaGraphInstantiate

using namespace ptx;

namespace {

struct Configuration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
};
thread_local std::vector<Configuration> configurations;

uint64_t launches = 0;

// What a driver says to a launch.
cudaError_t refused(const Kernel &k, dim3 grid, dim3 block, size_t shared) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  const uint64_t blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (!blocks || !threads || grid.x > 0x7fffffffu || grid.y > 65535 || grid.z > 65535 || threads > 1024 ||
      block.z > 64)
    return cudaErrorInvalidConfiguration;
  if (threads > k.max_threads)
    return cudaErrorInvalidValue;
  const auto room = std::max<int64_t>(k.dynamic_limit, 48 * 1024 - int64_t{k.shared_bytes});
  if (static_cast<int64_t>(shared) > room ||
      static_cast<int64_t>(shared) + k.shared_bytes > std::max<int64_t>(settings().shared_limit, 48 * 1024))
    return cudaErrorInvalidValue;
  return cudaSuccess;
}

cudaError_t launch(Kernel *k, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream) {
  const Lock lock(runtime_lock());
  if (!k)
    return answer(cudaErrorInvalidDeviceFunction);
  if (const cudaError_t error = refused(*k, grid, block, shared))
    return answer(error);
  Launch one{k, {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, shared, 0, {}};
  one.parameters.resize(k->parameter_bytes);
  for (size_t i = 0; i < k->parameters.size(); ++i)
    std::memcpy(&one.parameters[k->parameters[i].offset], arguments[i], k->parameters[i].bytes);
  streams().add(stream_of(stream), [one]() mutable {
    ++launches;
    run(one);
  });
  return cudaSuccess;
}

} // namespace

extern "C" {

uint64_t ptxsim_launches() { return launches; }

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st *stream) {
  configurations.push_back({grid, block, shared, stream});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3 *grid, dim3 *block, size_t *shared, void *stream) {
  const Configuration one = configurations.back();
  configurations.pop_back();
  *grid = one.grid;
  *block = one.block;
  *shared = one.shared;
  *static_cast<cudaStream_t *>(stream) = one.stream;
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t *out, const void *function) {
  *out = reinterpret_cast<cudaKernel_t>(kernel_of(function));
  return *out ? cudaSuccess : answer(cudaErrorInvalidDeviceFunction);
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared,
                               cudaStream_t stream) {
  return launch(reinterpret_cast<Kernel *>(kernel), grid, block, arguments, shared, stream);
}

cudaError_t cudaLaunchKernel(const void *function, dim3 grid, dim3 block, void **arguments, size_t shared,
                             cudaStream_t stream) {
  return launch(kernel_of(function), grid, block, arguments, shared, stream);
}

cudaError_t cudaFuncSetAttribute(const void *function, cudaFuncAttribute attribute, int value) {
  const Lock lock(runtime_lock());
  Kernel *k = kernel_of(function);
  if (!k || attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || value < 0 ||
      value + int64_t{k->shared_bytes} > settings().shared_limit)
    return answer(cudaErrorInvalidValue);
  k->dynamic_limit = value;
  return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
  const Lock lock(runtime_lock());
  if (streams().captures_globally())
    return answer(cudaErrorStreamCaptureUnsupported);
  streams().drain_all();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags) {
  const Lock lock(runtime_lock());
  *stream = reinterpret_cast<cudaStream_t>(streams().make(!(flags & cudaStreamNonBlocking)));
  return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream) { return cudaStreamCreateWithFlags(stream, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  const Lock lock(runtime_lock());
  return streams().destroy(&stream_of(stream)) ? cudaSuccess : answer(cudaErrorInvalidResourceHandle);
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  const Lock lock(runtime_lock());
  if (stream_of(stream).capture || streams().captures_globally())
    return answer(cudaErrorStreamCaptureUnsupported);
  streams().drain(stream_of(stream));
  return cudaSuccess;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  const Lock lock(runtime_lock());
  const bool began = streams().begin(stream_of(stream), mode == cudaStreamCaptureModeGlobal);
  return began ? cudaSuccess : answer(cudaErrorStreamCaptureUnsupported);
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  const Lock lock(runtime_lock());
  *graph = reinterpret_cast<cudaGraph_t>(streams().end(stream_of(stream)));
  return *graph ? cudaSuccess : answer(cudaErrorIllegalState);
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t *, size_t *count) {
  *count = reinterpret_cast<Graph *>(graph)->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long) {
  *made = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph *>(graph)));
  return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t stream) {
  const Lock lock(runtime_lock());
  for (const Work &node : reinterpret_cast<Graph *>(graph)->nodes)
    streams().add(stream_of(stream), node);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t graph) {
  delete reinterpret_cast<Graph *>(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete reinterpret_cast<Graph *>(graph);
  return cudaSuccess;
}

} // extern "C"
