// Memory that an op reads and writes, with canaries on both sides: of the device in a CUDA build, of the host
// where there are no kernels (MIMAMBA_HOST_KERNELS).
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <vector>

namespace harness {

// A failure of the machine, not of what is tested: no device, no memory.
struct CannotRun {
  const char *what, *why;
};

// Poison counts as written where a tool looks for reads of what nothing wrote: from now on none is laid.
void lay_no_poison();
bool poison_is_laid();

class Buffer {
public:
  // Poisoned: every byte 0xff, a NaN in all three types. `shift` bytes past an alignment of 256.
  explicit Buffer(size_t bytes, size_t shift = 0);
  ~Buffer();
  Buffer(Buffer &&other) noexcept;
  Buffer(const Buffer &) = delete;
  Buffer &operator=(const Buffer &) = delete;
  Buffer &operator=(Buffer &&) = delete;

  void *data() const { return start_; }
  size_t bytes() const { return bytes_; }

  void write(const std::vector<uint8_t> &from);
  std::vector<uint8_t> read() const;
  void poison();
  // Whether nothing was written before or behind.
  bool intact() const;

private:
  uint8_t *base_, *start_;
  size_t bytes_, before_;
};

// A stream of its own, since the default one cannot be captured.
class Stream {
public:
  Stream();
  ~Stream();
  Stream(const Stream &) = delete;
  Stream &operator=(const Stream &) = delete;
  cudaStream_t get() const { return stream_; }
  void wait() const;

private:
  cudaStream_t stream_ = nullptr;
};

// Throws CannotRun where no device can be used.
void require_device();

// Bytes that may be taken at once.
size_t free_memory();

#ifndef MIMAMBA_HOST_KERNELS
void copy(void *to, const void *from, size_t bytes);
// `count` elements of `size` bytes that lie `stride` bytes apart.
void copy_column(void *to, const void *from, size_t size, size_t stride, size_t count);

// What a call enqueues on a stream, captured once and replayed.
class Graph {
public:
  template <class F> Graph(const Stream &stream, F &&f) : stream_(stream) {
    begin();
    f();
    end();
  }
  ~Graph();
  Graph(const Graph &) = delete;
  Graph &operator=(const Graph &) = delete;
  size_t nodes() const { return nodes_; }
  void replay() const;

private:
  void begin();
  void end();

  const Stream &stream_;
  cudaGraph_t graph_ = nullptr;
  cudaGraphExec_t executable_ = nullptr;
  size_t nodes_ = 0;
};
#endif

} // namespace harness
