#include "plugin.h"

#include <dlfcn.h>

#include <algorithm>
#include <cstring>

#include "memory.h"

namespace harness {

using namespace nvinfer1;

namespace {

std::vector<std::string> &logged() {
  static std::vector<std::string> messages;
  return messages;
}

class Logger final : public ILogger {
  void log(Severity, const char *message) noexcept override { logged().emplace_back(message ? message : ""); }
};

class Finder final : public ILoggerFinder {
public:
  ILogger *findLogger() override { return &logger_; }

private:
  Logger logger_;
};

nvinfer1::Dims dims_of(const Dims &from, bool dynamic = false) {
  nvinfer1::Dims to{};
  to.nbDims = static_cast<int32_t>(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    to.d[i] = dynamic ? -1 : static_cast<std::decay_t<decltype(to.d[0])>>(from[i]);
  return to;
}

} // namespace

Field Field::integer(const std::string &name, int32_t value) {
  Field field{name, PluginFieldType::kINT32, std::vector<uint8_t>(4), 1};
  std::memcpy(field.bytes.data(), &value, 4);
  return field;
}

Field Field::real(const std::string &name, float value) {
  Field field{name, PluginFieldType::kFLOAT32, std::vector<uint8_t>(4), 1};
  std::memcpy(field.bytes.data(), &value, 4);
  return field;
}

Fields fields(const ScanFlags &flags, int64_t groups) {
  return {Field::integer("has_z", flags.has_z),
          Field::integer("delta_softplus", flags.delta_softplus),
          Field::integer("reverse", flags.reverse),
          Field::integer("return_last_state", flags.return_last_state),
          Field::integer("groups", static_cast<int32_t>(groups)),
          Field::integer("B_offset", static_cast<int32_t>(flags.B_offset)),
          Field::integer("C_offset", static_cast<int32_t>(flags.C_offset)),
          Field::integer("z_offset", static_cast<int32_t>(flags.z_offset))};
}

Fields fields(const MstbFlags &flags) {
  return {Field::integer("top_k", static_cast<int32_t>(flags.top_k)),
          Field::integer("min_bin", static_cast<int32_t>(flags.min_bin)),
          Field::integer("max_bin", static_cast<int32_t>(flags.max_bin)),
          Field::integer("weighting", static_cast<int32_t>(flags.weighting)),
          Field::real("amplitude_scale", flags.amplitude_scale),
          Field::integer("period_rule", flags.round_down),
          Field::integer("channel_first", flags.channel_first)};
}

DataType data_type(Type type) {
  if (type == Type::kBFloat16)
    return DataType::kBF16;
  return type == Type::kFloat16 ? DataType::kHALF : DataType::kFLOAT;
}

PluginTensorDesc describe(const Desc &desc) {
  return {dims_of(desc.dims), data_type(desc.type), TensorFormat::kLINEAR, 1.0f};
}

DynamicPluginTensorDesc describe_range(const Desc &desc, bool dynamic) {
  DynamicPluginTensorDesc range{};
  range.desc = describe(desc);
  range.min = range.max = range.desc.dims;
  range.opt = range.desc.dims;
  if (dynamic)
    range.desc.dims = dims_of(desc.dims, true);
  return range;
}

Library::Library(const char *path) : handle_(dlopen(path, RTLD_NOW | RTLD_LOCAL)) {
  if (!handle_)
    throw CannotRun{"the library cannot be loaded", dlerror()};
  using Creators = IPluginCreatorInterface *const *(*)(int32_t &);
  const char *const entry = "getCreators";
  const auto creators = reinterpret_cast<Creators>(dlsym(handle_, entry));
  const auto set_finder = reinterpret_cast<void (*)(ILoggerFinder *)>(dlsym(handle_, "setLoggerFinder"));
  if (!creators || !set_finder) {
    dlclose(handle_);
    throw CannotRun{"the library lacks an entry", creators ? "setLoggerFinder" : entry};
  }
  static Finder finder;
  set_finder(&finder);
  int32_t count = 0;
  auto *const *found = creators(count);
  for (int32_t i = 0; found && i < count; ++i)
    if (found[i])
      creators_.push_back(static_cast<RawCreator *>(found[i]));
}

Library::~Library() { dlclose(handle_); }

RawCreator *Library::creator(const std::string &name) const {
  for (RawCreator *creator : creators_)
    if (name == creator->getPluginName())
      return creator;
  throw Broken{"a creator is missing"};
}

std::vector<std::string> Library::messages() const {
  std::vector<std::string> all;
  all.swap(logged());
  return all;
}

} // namespace harness
