// Work that the host has asked for and that has not been done: it is done as late as CUDA allows, when its
// stream is waited for. Work that needed a synchronisation that is not there then meets unwritten memory.
#pragma once

#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "machine.h"

namespace ptx {

using Work = std::function<void()>;

struct Graph {
  std::vector<Work> nodes;
};

struct Stream {
  bool blocking = true; // waits for the null stream and the null stream for it
  std::deque<Work> queue;
  Graph *capture = nullptr;
};

class Streams {
public:
  Stream *make(bool blocking);
  bool destroy(Stream *stream);
  Stream &null() { return null_; }
  // Adds to the graph that is captured, or to the queue.
  void add(Stream &stream, Work work);
  void drain(Stream &stream);
  void drain_all();
  bool begin(Stream &stream, bool global);
  Graph *end(Stream &stream);
  bool captures_globally() const { return global_captures_ > 0; }

private:
  Stream null_;
  std::vector<std::unique_ptr<Stream>> all_;
  int global_captures_ = 0;
};

Streams &streams();

// Every call of the runtime holds it.
std::recursive_mutex &runtime_lock();

} // namespace ptx
