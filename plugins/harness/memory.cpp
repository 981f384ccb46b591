#include "memory.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

namespace harness {
namespace {

constexpr size_t kPad = 256;
constexpr uint8_t kCanary = 0x5a;
bool poisoned = true;

#ifdef MIMAMBA_HOST_KERNELS

uint8_t *allocate(size_t bytes) {
  void *memory = std::aligned_alloc(kPad, (bytes + kPad - 1) / kPad * kPad);
  if (!memory)
    throw CannotRun{"memory was not to be had", "aligned_alloc answered null"};
  return static_cast<uint8_t *>(memory);
}
void release(uint8_t *memory) { std::free(memory); }
void copy(void *to, const void *from, size_t bytes) { std::memcpy(to, from, bytes); }
void fill(void *to, uint8_t value, size_t bytes) { std::memset(to, value, bytes); }

#else

void check(cudaError_t error, const char *what) {
  if (error != cudaSuccess)
    throw CannotRun{what, cudaGetErrorString(error)};
}
uint8_t *allocate(size_t bytes) {
  void *memory = nullptr;
  check(cudaMalloc(&memory, bytes), "cudaMalloc");
  return static_cast<uint8_t *>(memory);
}
void release(uint8_t *memory) { cudaFree(memory); }
void fill(void *to, uint8_t value, size_t bytes) {
  check(cudaMemset(to, value, bytes), "cudaMemset");
  check(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

#endif

} // namespace

#ifndef MIMAMBA_HOST_KERNELS
void copy(void *to, const void *from, size_t bytes) {
  check(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "cudaMemcpy");
}

void copy_column(void *to, const void *from, size_t size, size_t stride, size_t count) {
  check(cudaMemcpy2D(to, size, from, stride, size, count, cudaMemcpyDefault), "cudaMemcpy2D");
}
#endif

void lay_no_poison() { poisoned = false; }
bool poison_is_laid() { return poisoned; }

Buffer::Buffer(size_t bytes, size_t shift)
    : base_(allocate(kPad + shift + bytes + kPad)), start_(base_ + kPad + shift), bytes_(bytes),
      before_(kPad + shift) {
  fill(base_, kCanary, before_);
  fill(start_ + bytes, kCanary, kPad);
  // On the host the address sanitizer then sees reads outside, too.
  ASAN_POISON_MEMORY_REGION(base_, before_);
  ASAN_POISON_MEMORY_REGION(start_ + bytes, kPad);
  poison();
}

Buffer::~Buffer() {
  if (!base_)
    return;
  ASAN_UNPOISON_MEMORY_REGION(base_, before_ + bytes_ + kPad);
  release(base_);
}

Buffer::Buffer(Buffer &&other) noexcept
    : base_(std::exchange(other.base_, nullptr)), start_(other.start_), bytes_(other.bytes_),
      before_(other.before_) {}

void Buffer::write(const std::vector<uint8_t> &from) {
  copy(start_, from.data(), std::min(from.size(), bytes_));
}

std::vector<uint8_t> Buffer::read() const {
  std::vector<uint8_t> to(bytes_);
  copy(to.data(), start_, bytes_);
  return to;
}

void Buffer::poison() {
  if (poisoned)
    fill(start_, 0xff, bytes_);
}

bool Buffer::intact() const {
  const auto clean = [](const uint8_t *at, size_t bytes) {
    std::vector<uint8_t> pad(bytes);
    ASAN_UNPOISON_MEMORY_REGION(at, bytes);
    copy(pad.data(), at, bytes);
    ASAN_POISON_MEMORY_REGION(at, bytes);
    return std::all_of(pad.begin(), pad.end(), [](uint8_t byte) { return byte == kCanary; });
  };
  return clean(base_, before_) && clean(start_ + bytes_, kPad);
}

#ifdef MIMAMBA_HOST_KERNELS

Stream::Stream() = default;
Stream::~Stream() = default;
void Stream::wait() const {}
void require_device() {}
size_t free_memory() { return size_t{1} << 30; }

#else

Stream::Stream() { check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreate"); }
Stream::~Stream() { cudaStreamDestroy(stream_); }
void Stream::wait() const { check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize"); }

void require_device() { check(cudaFree(nullptr), "no CUDA device can be used"); }

size_t free_memory() {
  size_t free = 0, total = 0;
  check(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
  return free;
}

// The strictest mode: what allocates or waits fails.
void Graph::begin() {
  check(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeGlobal), "cudaStreamBeginCapture");
}

void Graph::end() {
  check(cudaStreamEndCapture(stream_.get(), &graph_), "cudaStreamEndCapture");
  check(cudaGraphGetNodes(graph_, nullptr, &nodes_), "cudaGraphGetNodes");
  check(cudaGraphInstantiate(&executable_, graph_, 0), "cudaGraphInstantiate");
}

Graph::~Graph() {
  if (executable_)
    cudaGraphExecDestroy(executable_);
  if (graph_)
    cudaGraphDestroy(graph_);
}

void Graph::replay() const { check(cudaGraphLaunch(executable_, stream_.get()), "cudaGraphLaunch"); }

#endif

} // namespace harness
