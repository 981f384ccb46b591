// Tensors of a call as plain views, and errors as exceptions that become a Status at the boundary.
#pragma once

#include "kernels.h"
#include "ort_abi.h"

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

namespace mimamba {

// What a node was given that does not fit.
struct Refusal : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

// A Status of ONNX Runtime's own on its way back to it.
struct Failed {
  ort::Status *status;
};

inline void check(ort::Status *status) {
  if (status)
    throw Failed{status};
}

struct Tensor {
  const void *data = nullptr; // null: left out
  int type = 0;
  std::vector<int64_t> dims;

  explicit operator bool() const { return data != nullptr || !dims.empty(); }
  const float *floats() const { return static_cast<const float *>(data); }
};

std::string shown(const std::vector<int64_t> &dims);

Tensor view(const ort::Api &api, const ort::Value *value);

// Input `index` of a call; an empty Tensor where it is left out.
Tensor input(const ort::Api &api, const ort::KernelContext *context, size_t index);

// Output `index`; null where nobody takes it.
void *output(const ort::Api &api, ort::KernelContext *context, size_t index,
             const std::vector<int64_t> &dims);

// An integer attribute, or what it is where a node has none. Throws Refusal outside [least, most].
int64_t attribute(const ort::Api &api, const ort::KernelInfo *info, const char *op, const char *name,
                  int64_t least, int64_t most, std::optional<int64_t> otherwise = {});

// Throws Refusal unless a tensor is there, of this type and these sizes; -1 stands for any size.
void expect(const char *op, const char *name, const Tensor &tensor, int type,
            const std::vector<int64_t> &dims);

// Runs `work` and turns what it throws into a Status.
template <class Work> ort::Status *guarded(const ort::Api &api, Work &&work) {
  try {
    work();
    return nullptr;
  } catch (const Failed &failed) {
    return failed.status;
  } catch (const Refusal &refusal) {
    return api.create_status(ort::kInvalidArgument, refusal.what());
  } catch (const std::bad_alloc &) {
    return api.create_status(ort::kFail, "mimamba: out of memory");
  } catch (const std::exception &error) {
    return api.create_status(ort::kFail, error.what());
  }
}

// Calls `work(i)` for i below `total`: on the session's threads where it is worth handing out, else here.
// What it throws must be std::bad_alloc, and is thrown again here: nothing may leave another thread.
template <class Work>
void for_each(const ort::Api &api, const ort::KernelContext *context, int64_t total, bool parallel,
              const Work &work) {
  if (!parallel || total < 2) {
    for (int64_t i = 0; i < total; ++i)
      work(i);
    return;
  }
  struct Call {
    const Work &work;
    std::atomic<bool> failed{false};
  } call{work};
  const auto one = [](void *data, size_t i) {
    Call &call = *static_cast<Call *>(data);
    try {
      call.work(static_cast<int64_t>(i));
    } catch (...) {
      call.failed = true;
    }
  };
  // One by one: who is early takes more of them.
  check(api.parallel_for(context, one, static_cast<size_t>(total), static_cast<size_t>(total), &call));
  if (call.failed)
    throw std::bad_alloc();
}

// Memory for vectors; not initialised. Throws std::bad_alloc.
class Scratch {
public:
  explicit Scratch(size_t bytes) : data_(std::aligned_alloc(64, (bytes + 63) / 64 * 64 + 64)) {
    if (!data_)
      throw std::bad_alloc();
  }
  float *floats() const { return static_cast<float *>(data_.get()); }

private:
  struct Free {
    void operator()(void *data) const { std::free(data); }
  };
  std::unique_ptr<void, Free> data_;
};

} // namespace mimamba
