// What a TensorRT plugin of each op must know, without TensorRT: attributes, shapes, types, workspace,
// launch. The adapter (adapter.h, plugin_v3.h) translates, and decides nothing.
#pragma once

#include <optional>

#include "kernels.h"

namespace mimamba {

// A Status that may name tensors and numbers. The text lies inside: nothing is allocated, not in enqueue
// either.
struct Report {
  Code code = Code::kOk;
  char text[240] = "";
  Report() = default;
  Report(const Status &status);
  bool ok() const { return code == Code::kOk; }
};

Report bad(const char *format, ...) __attribute__((format(printf, 1, 2)));

constexpr int32_t kMaxDims = 8, kMaxInputs = 9, kMaxOutputs = 2, kMaxTensors = kMaxInputs + kMaxOutputs;

// A size under 0 is not known yet.
struct Shape {
  int32_t rank = 0;
  int64_t d[kMaxDims] = {};
};

// One letter an axis: axes of one letter have one size throughout the op.
struct Tensor {
  const char *name;
  const char *axes;
  bool is_t; // of type T; else float32
};

struct Signature {
  const char *op;
  const Tensor *inputs, *outputs;
  int32_t input_count, output_count;

  // Inputs first, outputs behind, as TensorRT numbers them.
  const Tensor &tensor(int32_t position) const {
    return position < input_count ? inputs[position] : outputs[position - input_count];
  }
  // The input whose type is T.
  int32_t first_t() const;
};

class Sizes {
public:
  Sizes();
  int64_t operator[](char axis) const { return of_[axis - 'a']; }
  int64_t &operator[](char axis) { return of_[axis - 'a']; }
  // Whether every axis of the signature has a size.
  bool known(const Signature &signature) const;

private:
  int64_t of_[26];
};

// Finds the sizes of a node's axes; refuses wrong counts, ranks, and sizes that contradict each other.
// `outputs` may be null.
Report bind(const Signature &signature, const Shape *inputs, int32_t input_count, const Shape *outputs,
            int32_t output_count, Sizes *sizes);

// Where an output's axis takes its size from.
struct Axis {
  int32_t input, axis;
};
Axis source(const Signature &signature, int32_t output, int32_t axis);

struct Format {
  bool linear;
  std::optional<Dtype> type; // none: not one of the three
};

// Whether the tensor at `position` may have this format where those before it have theirs.
bool supports(const Signature &signature, int32_t position, const Format *formats, int32_t input_count,
              int32_t output_count);

// Facts of the current device: to be asked once.
Status query_current_device(Device *device);

// An op: its attributes under the names they have in a file for TensorRT. visit() calls f(name, value) for
// each, an int32_t or a float.
//
// B, C and z come as the tensors they are parts of, (b, l, any width): an offset is the place in a row where
// the part begins. Those of B and C hold `groups` times n numbers, that of z holds d.
struct ScanOp {
  int32_t has_z = 0, delta_softplus = 0, reverse = 0, return_last_state = 0;
  int32_t groups = 1, B_offset = 0, C_offset = 0, z_offset = 0;

  static constexpr const char *kName = "SelectiveScan";
  static constexpr int32_t kAttributes = 8;
  template <class Self, class F> static void visit(Self &self, F &&f) {
    f("has_z", self.has_z);
    f("delta_softplus", self.delta_softplus);
    f("reverse", self.reverse);
    f("return_last_state", self.return_last_state);
    f("groups", self.groups);
    f("B_offset", self.B_offset);
    f("C_offset", self.C_offset);
    f("z_offset", self.z_offset);
  }
  Report check() const;
  Signature signature() const;
  Report check(const Sizes &sizes) const;
  int64_t workspace(const Sizes &sizes) const;
  Status enqueue(const Sizes &sizes, Dtype type, const Device &device, const void *const *inputs,
                 void *const *outputs, void *workspace, cudaStream_t stream) const;
};

// channel_first: x and y are (b, c, l) in place of (b, l, c).
struct MstbOp {
  int32_t top_k = 0, min_bin = 0, max_bin = 0, weighting = 0;
  float amplitude_scale = 0.0f;
  int32_t period_rule = 0, channel_first = 0;

  static constexpr const char *kName = "MultiScaleTemporalBlock";
  static constexpr int32_t kAttributes = 7;
  template <class Self, class F> static void visit(Self &self, F &&f) {
    f("top_k", self.top_k);
    f("min_bin", self.min_bin);
    f("max_bin", self.max_bin);
    f("weighting", self.weighting);
    f("amplitude_scale", self.amplitude_scale);
    f("period_rule", self.period_rule);
    f("channel_first", self.channel_first);
  }
  Report check() const;
  Signature signature() const;
  Report check(const Sizes &sizes) const;
  int64_t workspace(const Sizes &sizes) const;
  Status enqueue(const Sizes &sizes, Dtype type, const Device &device, const void *const *inputs,
                 void *const *outputs, void *workspace, cudaStream_t stream) const;
};

// One node: an op with its attributes, and the device it runs on once that is known.
template <class Op> struct Node {
  Op op;
  Device device;
  bool device_known = false;

  Report prepare_device() {
    if (!device_known)
      if (const Report asked = query_current_device(&device); !asked.ok())
        return asked;
    device_known = true;
    return {};
  }

  // Shapes as far as they are known.
  Report check(const Shape *inputs, int32_t input_count, const Shape *outputs, int32_t output_count,
               Sizes *sizes) const {
    const Signature signature = op.signature();
    if (const Report bound = bind(signature, inputs, input_count, outputs, output_count, sizes); !bound.ok())
      return bound;
    return sizes->known(signature) ? op.check(*sizes) : Report();
  }

  Report enqueue(const Shape *inputs, const Shape *outputs, std::optional<Dtype> type,
                 const void *const *input, void *const *output, void *workspace, cudaStream_t stream) const {
    if (!device_known)
      return bad("%s: enqueue before the shapes were given", Op::kName);
    if (!type)
      return bad("%s: T must be float32, float16 or bfloat16", Op::kName);
    if (reinterpret_cast<uintptr_t>(workspace) % 16 != 0)
      return bad("%s: the workspace is not 16-byte aligned", Op::kName);
    const Signature signature = op.signature();
    Sizes sizes;
    if (const Report bound =
            bind(signature, inputs, signature.input_count, outputs, signature.output_count, &sizes);
        !bound.ok())
      return bound;
    if (const Report checked = op.check(sizes); !checked.ok()) // before anything is computed from the sizes
      return checked;
    return op.enqueue(sizes, *type, device, input, output, workspace, stream);
  }
};

} // namespace mimamba
