#include "streams.h"

#include <algorithm>

namespace ptx {

Streams &streams() {
  static Streams &one = *new Streams;
  return one;
}

std::recursive_mutex &runtime_lock() {
  static std::recursive_mutex &one = *new std::recursive_mutex;
  return one;
}

Stream *Streams::make(bool blocking) {
  all_.push_back(std::make_unique<Stream>());
  all_.back()->blocking = blocking;
  return all_.back().get();
}

bool Streams::destroy(Stream *stream) {
  const auto found = std::find_if(all_.begin(), all_.end(), [&](const auto &s) { return s.get() == stream; });
  if (found == all_.end())
    return false;
  drain(*stream);
  all_.erase(found);
  return true;
}

void Streams::add(Stream &stream, Work work) {
  if (stream.capture) {
    stream.capture->nodes.push_back(std::move(work));
    return;
  }
  // The null stream and the blocking ones run one after the other.
  if (&stream == &null_) {
    for (const auto &other : all_)
      if (other->blocking)
        drain(*other);
  } else if (stream.blocking) {
    drain(null_);
  }
  stream.queue.push_back(std::move(work));
}

void Streams::drain(Stream &stream) {
  if (&stream != &null_ && stream.blocking && !null_.queue.empty())
    drain(null_);
  while (!stream.queue.empty()) {
    const Work work = std::move(stream.queue.front());
    stream.queue.pop_front();
    work();
  }
}

void Streams::drain_all() {
  drain(null_);
  for (const auto &stream : all_)
    drain(*stream);
}

bool Streams::begin(Stream &stream, bool global) {
  if (&stream == &null_ || stream.capture)
    return false;
  stream.capture = new Graph;
  global_captures_ += global;
  return true;
}

Graph *Streams::end(Stream &stream) {
  Graph *graph = stream.capture;
  stream.capture = nullptr;
  global_captures_ = std::max(0, global_captures_ - 1);
  return graph;
}

} // namespace ptx
