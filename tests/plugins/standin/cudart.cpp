// libcudart for tests: host memory, streams that run their work when synchronised, graphs that are lists of
// work. STANDIN_FAIL names a call that fails; STANDIN_TRACE a file that every call is written to.
#include "standin.h"

#include <cstring>
#include <fstream>
#include <set>
#include <string>
#include <vector>

struct CUgraph_st {
  std::vector<std::function<void()>> work;
};
struct CUgraphExec_st {
  std::vector<std::function<void()>> work;
};
struct CUstream_st {
  std::vector<std::function<void()>> queue;
  CUgraph_st *capture = nullptr;
};

namespace {

bool fails(char const *call) {
  if (char const *trace = std::getenv("STANDIN_TRACE"))
    std::ofstream(trace, std::ios::app) << call << "\n";
  return std::string(standin::setting("STANDIN_FAIL", "")) == call;
}

std::set<void *> mapped;

} // namespace

namespace standin {
void launch(cudaStream_t stream, std::function<void()> work) {
  (stream->capture ? stream->capture->work : stream->queue).push_back(std::move(work));
}
bool capturing(cudaStream_t stream) { return stream->capture != nullptr; }
} // namespace standin

#define CALL(name)                                                                                           \
  if (fails(#name))                                                                                          \
  return cudaErrorUnknown

extern "C" {
cudaError_t cudaGetDevice(int *device) {
  CALL(cudaGetDevice);
  *device = 0;
  return cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int *value, cudaDeviceAttr attribute, int) {
  CALL(cudaDeviceGetAttribute);
  int const sm = std::atoi(standin::setting("STANDIN_SM", "87"));
  switch (attribute) {
  case cudaDevAttrComputeCapabilityMajor:
    *value = sm / 10;
    return cudaSuccess;
  case cudaDevAttrComputeCapabilityMinor:
    *value = sm % 10;
    return cudaSuccess;
  case cudaDevAttrMultiProcessorCount:
    *value = 8;
    return cudaSuccess;
  case cudaDevAttrIntegrated:
    *value = std::atoi(standin::setting("STANDIN_INTEGRATED", "0"));
    return cudaSuccess;
  default:
    standin::unexpected("cudaDeviceGetAttribute of something else");
  }
}
cudaError_t cudaMalloc(void **pointer, size_t bytes) {
  CALL(cudaMalloc);
  *pointer = std::malloc(bytes);
  std::memset(*pointer, 0xff, bytes); // NaN: nobody may read what was not copied there
  return cudaSuccess;
}
cudaError_t cudaFree(void *pointer) {
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaHostAlloc(void **pointer, size_t bytes, unsigned int flags) {
  CALL(cudaHostAlloc);
  *pointer = std::malloc(bytes);
  std::memset(*pointer, 0xff, bytes);
  if (flags & cudaHostAllocMapped)
    mapped.insert(*pointer);
  return cudaSuccess;
}
cudaError_t cudaFreeHost(void *pointer) {
  std::free(pointer);
  return cudaSuccess;
}
cudaError_t cudaHostGetDevicePointer(void **device, void *host, unsigned int) {
  CALL(cudaHostGetDevicePointer);
  *device = host;
  return mapped.count(host) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMemcpyAsync(void *to, void const *from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  CALL(cudaMemcpyAsync);
  standin::launch(stream, [=] { std::memcpy(to, from, bytes); });
  return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned int) {
  CALL(cudaStreamCreateWithFlags);
  *stream = new CUstream_st;
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  CALL(cudaStreamSynchronize);
  for (auto const &work : stream->queue)
    work();
  stream->queue.clear();
  return cudaSuccess;
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode) {
  CALL(cudaStreamBeginCapture);
  stream->capture = new CUgraph_st;
  return cudaSuccess;
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph) {
  *graph = stream->capture;
  stream->capture = nullptr;
  CALL(cudaStreamEndCapture);
  return *graph ? cudaSuccess : cudaErrorIllegalState;
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long) {
  CALL(cudaGraphInstantiate);
  *exec = new CUgraphExec_st{graph->work};
  return cudaSuccess;
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph;
  return cudaSuccess;
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  delete exec;
  return cudaSuccess;
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t stream) {
  CALL(cudaGraphLaunch);
  for (auto const &work : exec->work)
    standin::launch(stream, work);
  return cudaSuccess;
}
cudaError_t cudaGetLastError() { return cudaSuccess; }
char const *cudaGetErrorName(cudaError_t) { return "cudaErrorUnknown"; }
char const *cudaGetErrorString(cudaError_t) { return "the stand-in was told to fail"; }
}
