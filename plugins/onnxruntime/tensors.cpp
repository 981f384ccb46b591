#include "tensors.h"

namespace mimamba {

std::string shown(const std::vector<int64_t> &dims) {
  std::string text = "(";
  for (size_t i = 0; i < dims.size(); ++i)
    text += (i ? ", " : "") + (dims[i] < 0 ? std::string("any") : std::to_string(dims[i]));
  return text + ")";
}

static const char *type_name(int type) {
  switch (type) {
  case ort::kFloat:
    return "float32";
  case ort::kFloat16:
    return "float16";
  case ort::kBFloat16:
    return "bfloat16";
  default:
    return "another type";
  }
}

Tensor view(const ort::Api &api, const ort::Value *value) {
  Tensor tensor;
  if (!value)
    return tensor;
  ort::ShapeInfo *info = nullptr;
  check(api.shape_info(value, &info));
  const auto release = [&api](ort::ShapeInfo *held) { api.release(held); };
  const std::unique_ptr<ort::ShapeInfo, decltype(release)> owner(info, release);
  size_t rank = 0;
  check(api.rank(info, &rank));
  tensor.dims.resize(rank);
  check(api.dims(info, tensor.dims.data(), rank));
  check(api.element_type(info, &tensor.type));
  void *data = nullptr;
  check(api.data(const_cast<ort::Value *>(value), &data));
  tensor.data = data;
  return tensor;
}

Tensor input(const ort::Api &api, const ort::KernelContext *context, size_t index) {
  size_t count = 0;
  check(api.input_count(context, &count));
  if (index >= count)
    return Tensor();
  const ort::Value *value = nullptr;
  check(api.input(context, index, &value));
  return view(api, value);
}

void *output(const ort::Api &api, ort::KernelContext *context, size_t index,
             const std::vector<int64_t> &dims) {
  size_t count = 0;
  check(api.output_count(context, &count));
  if (index >= count)
    return nullptr;
  ort::Value *value = nullptr;
  check(api.output(context, index, dims.data(), dims.size(), &value));
  if (!value)
    return nullptr;
  void *data = nullptr;
  check(api.data(value, &data));
  return data;
}

int64_t attribute(const ort::Api &api, const ort::KernelInfo *info, const char *op, const char *name,
                  int64_t least, int64_t most, std::optional<int64_t> otherwise) {
  int64_t value = 0;
  if (ort::Status *status = api.attribute(info, name, &value)) {
    if (!otherwise)
      throw Failed{status};
    api.release(status);
    value = *otherwise;
  }
  if (value < least || value > most)
    throw Refusal(std::string(op) + ": attribute " + name + " is " + std::to_string(value) + ", expected " +
                  std::to_string(least) + " to " + std::to_string(most));
  return value;
}

void expect(const char *op, const char *name, const Tensor &tensor, int type,
            const std::vector<int64_t> &dims) {
  const std::string what = std::string(op) + ": input " + name;
  if (!tensor)
    throw Refusal(what + " is missing, expected " + type_name(type) + " " + shown(dims));
  bool fits = tensor.type == type && tensor.dims.size() == dims.size();
  for (size_t i = 0; fits && i < dims.size(); ++i)
    fits = dims[i] < 0 || tensor.dims[i] == dims[i];
  if (!fits)
    throw Refusal(what + " is " + type_name(tensor.type) + " " + shown(tensor.dims) + ", expected " +
                  type_name(type) + " " + shown(dims));
}

} // namespace mimamba
