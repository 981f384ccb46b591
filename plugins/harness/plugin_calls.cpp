// The calls of one plugin, in IPluginV3's terms.
#include <algorithm>
#include <cstring>

#include "plugin.h"

namespace harness {

using namespace nvinfer1;

namespace {

template <class F> auto describe_all(const std::vector<Desc> &descs, F &&f) {
  std::vector<decltype(f(descs[0]))> all;
  for (const Desc &desc : descs)
    all.push_back(f(desc));
  return all;
}

int32_t size_of(const std::vector<Desc> &descs) { return static_cast<int32_t>(descs.size()); }

std::vector<PluginField> raw_fields(const Fields &fields) {
  std::vector<PluginField> raw;
  for (const Field &field : fields)
    raw.emplace_back(field.name.empty() ? nullptr : field.name.c_str(),
                     field.bytes.empty() ? nullptr : field.bytes.data(), field.type, field.length);
  return raw;
}

PluginFieldCollection collection(const std::vector<PluginField> &raw) {
  PluginFieldCollection all{};
  all.nbFields = static_cast<int32_t>(raw.size());
  all.fields = raw.empty() ? nullptr : raw.data();
  return all;
}

template <class Capability> Capability *capability(IPluginV3 *plugin, PluginCapabilityType type) {
  IPluginCapability *found = plugin->getCapabilityInterface(type);
  if (!found)
    throw Broken{"a plugin lacks a capability: getCapabilityInterface answered null"};
  return static_cast<Capability *>(found);
}
IPluginV3OneCore *core(IPluginV3 *p) { return capability<IPluginV3OneCore>(p, PluginCapabilityType::kCORE); }
IPluginV3OneBuild *build(IPluginV3 *p) {
  return capability<IPluginV3OneBuild>(p, PluginCapabilityType::kBUILD);
}
IPluginV3OneRuntime *runtime(IPluginV3 *p) {
  return capability<IPluginV3OneRuntime>(p, PluginCapabilityType::kRUNTIME);
}

class Context final : public IPluginResourceContext {
public:
  IGpuAllocator *getGpuAllocator() const noexcept override { return nullptr; }
  IErrorRecorder *getErrorRecorder() const noexcept override { return nullptr; }
};

size_t element_size(PluginFieldType type) {
  switch (type) {
  case PluginFieldType::kFLOAT32:
  case PluginFieldType::kINT32:
    return 4;
  case PluginFieldType::kFLOAT64:
  case PluginFieldType::kINT64:
    return 8;
  case PluginFieldType::kFLOAT16:
  case PluginFieldType::kBF16:
  case PluginFieldType::kINT16:
    return 2;
  case PluginFieldType::kDIMS:
    return sizeof(nvinfer1::Dims);
  default:
    return 1;
  }
}

// A plan's bytes of a plugin are TensorRT's affair; these stand for them. Numbers first, then the bytes.
template <class T> void put(std::vector<uint8_t> &to, const T *from, size_t count) {
  const uint64_t bytes = count * sizeof(T);
  const auto *size = reinterpret_cast<const uint8_t *>(&bytes),
             *data = reinterpret_cast<const uint8_t *>(from);
  to.insert(to.end(), size, size + sizeof bytes);
  to.insert(to.end(), data, data + bytes);
}

std::vector<uint8_t> take(const std::vector<uint8_t> &from, size_t &at) {
  uint64_t bytes = 0;
  std::memcpy(&bytes, &from.at(at), sizeof bytes);
  at += sizeof bytes;
  std::vector<uint8_t> taken(from.begin() + static_cast<std::ptrdiff_t>(at),
                             from.begin() + static_cast<std::ptrdiff_t>(at + bytes));
  at += bytes;
  return taken;
}

} // namespace

void Plugin::Destroy::operator()(RawPlugin *raw) const { delete raw; }

int32_t Plugin::outputs() const { return build(raw())->getNbOutputs(); }

std::string Plugin::id() const {
  IPluginV3OneCore *c = core(raw());
  return std::string(c->getPluginName()) + " " + c->getPluginVersion() + " " + c->getPluginNamespace();
}

bool Plugin::shapes(const std::vector<DimsExprs> &in, std::vector<DimsExprs> &out, IExprBuilder &builder) {
  return build(raw())->getOutputShapes(in.data(), static_cast<int32_t>(in.size()), nullptr, 0, out.data(),
                                       static_cast<int32_t>(out.size()), builder) == 0;
}

bool Plugin::types(const std::vector<DataType> &in, std::vector<DataType> &out) {
  return build(raw())->getOutputDataTypes(out.data(), static_cast<int32_t>(out.size()), in.data(),
                                          static_cast<int32_t>(in.size())) == 0;
}

bool Plugin::supports(int32_t position, const std::vector<DynamicPluginTensorDesc> &all, int32_t inputs) {
  return build(raw())->supportsFormatCombination(position, all.data(), inputs,
                                                 static_cast<int32_t>(all.size()) - inputs);
}

bool Plugin::configure(const std::vector<Desc> &in, const std::vector<Desc> &out, bool dynamic) {
  const auto range = [&](const Desc &desc) { return describe_range(desc, dynamic); };
  return build(raw())->configurePlugin(describe_all(in, range).data(), size_of(in),
                                       describe_all(out, range).data(), size_of(out)) == 0;
}

size_t Plugin::workspace(const std::vector<Desc> &in, const std::vector<Desc> &out) {
  const auto range = [&](const Desc &desc) { return describe_range(desc, true); };
  return build(raw())->getWorkspaceSize(describe_all(in, range).data(), size_of(in),
                                        describe_all(out, range).data(), size_of(out));
}

bool Plugin::shape_change(const std::vector<Desc> &in, const std::vector<Desc> &out) {
  return runtime(raw())->onShapeChange(describe_all(in, describe).data(), size_of(in),
                                       describe_all(out, describe).data(), size_of(out)) == 0;
}

bool Plugin::enqueue(const Call &call) {
  return runtime(raw())->enqueue(describe_all(call.in, describe).data(),
                                 describe_all(call.out, describe).data(), call.inputs.data(),
                                 call.outputs.data(), call.workspace, call.stream) == 0;
}

Plugin Plugin::clone() const { return Plugin(raw()->clone()); }

Plugin Plugin::attach() {
  static Context context;
  return Plugin(runtime(raw())->attachToContext(&context));
}

std::vector<uint8_t> Plugin::serialised() {
  const PluginFieldCollection *all = runtime(raw())->getFieldsToSerialize();
  std::vector<uint8_t> bytes;
  for (int32_t i = 0; all && i < all->nbFields; ++i) {
    const PluginField &field = all->fields[i];
    put(bytes, field.name, std::strlen(field.name));
    put(bytes, &field.type, 1);
    put(bytes, &field.length, 1);
    put(bytes, static_cast<const uint8_t *>(field.data),
        element_size(field.type) * static_cast<size_t>(field.length));
  }
  return bytes;
}

Plugin Library::create(const std::string &name, const Fields *fields) const {
  // No copy: raw fields point into it.
  const std::vector<PluginField> raw = fields ? raw_fields(*fields) : std::vector<PluginField>{};
  const PluginFieldCollection all = collection(raw);
  return Plugin(creator(name)->createPlugin("a layer", fields ? &all : nullptr, TensorRTPhase::kBUILD));
}

Plugin Library::restore(const std::string &name, const std::vector<uint8_t> &bytes) const {
  Fields fields;
  for (size_t at = 0; at < bytes.size();) {
    const std::vector<uint8_t> word = take(bytes, at), type = take(bytes, at), length = take(bytes, at);
    Field field{std::string(word.begin(), word.end()), {}, take(bytes, at), 0};
    std::memcpy(&field.type, type.data(), sizeof field.type);
    std::memcpy(&field.length, length.data(), sizeof field.length);
    fields.push_back(field);
  }
  const std::vector<PluginField> raw = raw_fields(fields);
  const PluginFieldCollection all = collection(raw);
  return Plugin(creator(name)->createPlugin("a layer", &all, TensorRTPhase::kRUNTIME));
}

} // namespace harness
