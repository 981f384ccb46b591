// One case of an op on memory with canaries.
#pragma once

#include <cstring>

#include "memory.h"
#include "ops.h"

namespace harness {

class Bench {
public:
  // `shift` moves every tensor by so many elements from its alignment.
  Bench(const std::vector<Array> &in, const std::vector<Desc> &out, size_t shift = 0) {
    for (const Array &array : in) {
      call_.in.push_back(array.desc);
      inputs_.emplace_back(array.desc.bytes(), shift * size_of(array.desc.type));
      call_.inputs.push_back(inputs_.back().data());
    }
    for (const Desc &desc : out) {
      call_.out.push_back(desc);
      outputs_.emplace_back(desc.bytes(), shift * size_of(desc.type));
      call_.outputs.push_back(outputs_.back().data());
    }
    call_.workspace = nullptr;
    call_.workspace_bytes = 0;
    call_.stream = stream_.get();
    load(in);
  }

  Call &call() { return call_; }
  const Stream &stream() const { return stream_; }

  void load(const std::vector<Array> &in) {
    for (size_t i = 0; i < in.size(); ++i)
      inputs_[i].write(store(in[i].v, in[i].desc.type));
  }

  // Exactly so many bytes; no pointer at all for none.
  void give_workspace(int64_t bytes) {
    workspace_.clear();
    if (bytes > 0)
      workspace_.emplace_back(static_cast<size_t>(bytes));
    call_.workspace = bytes > 0 ? workspace_[0].data() : nullptr;
    call_.workspace_bytes = bytes;
  }

  void poison() {
    for (Buffer &buffer : outputs_)
      buffer.poison();
    for (Buffer &buffer : workspace_)
      buffer.poison();
  }

  bool run(Op &op) {
    poison();
    const bool done = op.run(call_);
    stream_.wait();
    return done;
  }

  std::vector<uint8_t> bytes(size_t output) const { return outputs_[output].read(); }
  std::vector<double> values(size_t output) const {
    return harness::load(bytes(output), call_.out[output].type);
  }

  bool untouched() const {
    if (!poison_is_laid())
      return true;
    for (const Buffer &buffer : outputs_)
      for (uint8_t byte : buffer.read())
        if (byte != 0xff)
          return false;
    return true;
  }

  bool intact(const std::vector<Array> &in) const {
    bool all = true;
    for (const auto *group : {&inputs_, &outputs_, &workspace_})
      for (const Buffer &buffer : *group)
        all = all && buffer.intact();
    for (size_t i = 0; i < in.size(); ++i)
      all = all && inputs_[i].read() == store(in[i].v, in[i].desc.type);
    return all;
  }

private:
  Stream stream_;
  std::vector<Buffer> inputs_, outputs_, workspace_;
  Call call_{};
};

// Outputs, and the largest of the terms each is summed of.
struct Wanted {
  std::vector<std::vector<double>> values;
  std::vector<double> terms;
};

// Runs twice on a workspace of exactly the size asked for and compares with what is wanted: the same bits,
// nothing written outside, inputs as they were.
inline bool check_run(Checks &checks, Op &op, Bench &bench, const std::vector<Array> &in,
                      const Wanted &wanted, const std::string &what, int64_t steps = 1) {
  bool good = checks.expect(bench.run(op), what + ": refused" + op.reason());
  if (!good)
    return false;
  for (size_t i = 0; i < wanted.values.size(); ++i) {
    const Type type = bench.call().out[i].type;
    const double share =
        error_share(bench.values(i), wanted.values[i], type, arithmetic(steps), wanted.terms[i]);
    checks.error(share);
    good &= checks.expect(share <= 1.0, what + ": output " + std::to_string(i) + " is off by " +
                                            std::to_string(share) + " of what is allowed");
  }
  std::vector<std::vector<uint8_t>> first;
  for (size_t i = 0; i < wanted.values.size(); ++i)
    first.push_back(bench.bytes(i));
  good &= checks.expect(bench.run(op), what + ": refused the second time");
  for (size_t i = 0; i < wanted.values.size(); ++i)
    good &= checks.expect(bench.bytes(i) == first[i], what + ": two runs differ");
  return good & checks.expect(bench.intact(in), what + ": written outside its outputs and workspace");
}

} // namespace harness
