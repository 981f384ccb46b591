// Stands in for ONNX Runtime: the places of its table that the ops use, by the numbers of ort_abi.h. Memory
// is a class made of a number of bytes, with data(), write(bytes) and read().
#pragma once

#include "ops.h"
#include "values.h"

#include <algorithm>
#include <map>

namespace fake {

using namespace mimamba;

inline int number(harness::Type type) {
  return type == harness::Type::kFloat32   ? int{ort::kFloat}
         : type == harness::Type::kFloat16 ? int{ort::kFloat16}
                                           : int{ort::kBFloat16};
}

// What the opaque pointers of the interface point to here.
template <class Memory> struct HostTensor {
  int type;
  std::vector<int64_t> dims;
  Memory memory;
  bool null = false; // has a shape and no memory

  HostTensor(int element, std::vector<int64_t> sizes)
      : type(element), dims(std::move(sizes)), memory(count() * (type == ort::kFloat ? 4 : 2)) {}
  HostTensor(const harness::Array &array) : HostTensor(number(array.desc.type), array.desc.dims) {
    memory.write(harness::store(array.v, array.desc.type));
  }
  size_t count() const { return static_cast<size_t>(harness::volume(dims)); }
};

template <class Memory> struct Call {
  std::vector<HostTensor<Memory> *> inputs;
  std::map<size_t, std::unique_ptr<HostTensor<Memory>>> outputs;
  size_t output_count = 0;
  int output_type = 0; // of the first output
};

template <class Memory> struct Node {
  std::map<std::string, double> attributes;
  std::vector<HostTensor<Memory> *> constants;
};

inline ort::Status *said(int, const char *text) {
  return reinterpret_cast<ort::Status *>(new std::string(text));
}

// The words of a Status, which ends here; null for no error.
inline std::unique_ptr<std::string> words(ort::Status *status) {
  return std::unique_ptr<std::string>(reinterpret_cast<std::string *>(status));
}

class Table {
public:
  Table() : at_(300, nullptr) {}
  template <class F> void set(size_t place, F function) { at_[place] = reinterpret_cast<void *>(+function); }
  const void *data() const { return at_.data(); }

private:
  std::vector<void *> at_;
};

// A call that finds its outputs, of the right sizes, gets them again.
template <class Memory> Table table() {
  using Tensor = HostTensor<Memory>;
  using Call = Call<Memory>;
  using Node = Node<Memory>;
  Table at;
  at.set(0, said);
  at.set(93, [](ort::Status *status) { words(status); });
  at.set(85, [](const Node *n, const char *name, float *out) -> ort::Status * {
    if (!n->attributes.count(name))
      return said(1, "no such attribute");
    *out = static_cast<float>(n->attributes.at(name));
    return nullptr;
  });
  at.set(86, [](const Node *n, const char *name, int64_t *out) -> ort::Status * {
    if (!n->attributes.count(name))
      return said(1, "no such attribute");
    *out = static_cast<int64_t>(n->attributes.at(name));
    return nullptr;
  });
  at.set(249, [](const Node *n, size_t i, int *constant, const Tensor **out) -> ort::Status * {
    *out = i < n->constants.size() ? n->constants[i] : nullptr;
    *constant = *out != nullptr;
    return nullptr;
  });
  at.set(88, [](const Call *c, size_t *out) -> ort::Status * { return *out = c->inputs.size(), nullptr; });
  at.set(89, [](const Call *c, size_t *out) -> ort::Status * { return *out = c->output_count, nullptr; });
  at.set(90, [](const Call *c, size_t i, const Tensor **out) -> ort::Status * {
    return *out = c->inputs[i], nullptr;
  });
  at.set(91, [](Call *c, size_t i, const int64_t *dims, size_t rank, Tensor **out) -> ort::Status * {
    const std::vector<int64_t> sizes(dims, dims + rank);
    auto &made = c->outputs[i];
    if (!made || made->dims != sizes)
      made = std::make_unique<Tensor>(i ? int{ort::kFloat} : c->output_type, sizes);
    return *out = made.get(), nullptr;
  });
  at.set(51, [](Tensor *t, void **out) -> ort::Status * {
    return *out = t->null ? nullptr : t->memory.data(), nullptr;
  });
  at.set(65, [](const Tensor *t, const Tensor **out) -> ort::Status * { return *out = t, nullptr; });
  at.set(60, [](const Tensor *t, int *out) -> ort::Status * { return *out = t->type, nullptr; });
  at.set(61, [](const Tensor *t, size_t *out) -> ort::Status * { return *out = t->dims.size(), nullptr; });
  at.set(62, [](const Tensor *t, int64_t *out, size_t rank) -> ort::Status * {
    return std::copy_n(t->dims.begin(), rank, out), nullptr;
  });
  at.set(99, [](const Tensor *) {});
  return at;
}

} // namespace fake
