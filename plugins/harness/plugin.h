// One plugin (IPluginV3) and the library it comes from: what the checks call.
#pragma once

#include <NvInfer.h>

#include <memory>
#include <string>
#include <vector>

#include "ops.h"

namespace harness {

using RawPlugin = nvinfer1::IPluginV3;
using RawCreator = nvinfer1::IPluginCreatorV3One;

// A field with its bytes.
struct Field {
  std::string name;
  nvinfer1::PluginFieldType type;
  std::vector<uint8_t> bytes;
  int32_t length; // elements

  static Field integer(const std::string &name, int32_t value);
  static Field real(const std::string &name, float value);
};
using Fields = std::vector<Field>;

// Tensors as TensorRT describes them.
nvinfer1::PluginTensorDesc describe(const Desc &desc);
// As a build sees them: min, opt and max as given, the sizes themselves -1 where `dynamic`.
nvinfer1::DynamicPluginTensorDesc describe_range(const Desc &desc, bool dynamic);
nvinfer1::DataType data_type(Type type);

class Plugin {
public:
  explicit Plugin(RawPlugin *raw) : raw_(raw) {}

  // The library's answers. Where one says "refused" it is false, a null, or not 0.
  int32_t outputs() const;
  std::string id() const; // name, version, namespace
  bool shapes(const std::vector<nvinfer1::DimsExprs> &in, std::vector<nvinfer1::DimsExprs> &out,
              nvinfer1::IExprBuilder &builder);
  bool types(const std::vector<nvinfer1::DataType> &in, std::vector<nvinfer1::DataType> &out);
  bool supports(int32_t position, const std::vector<nvinfer1::DynamicPluginTensorDesc> &all, int32_t inputs);
  bool configure(const std::vector<Desc> &in, const std::vector<Desc> &out, bool dynamic);
  size_t workspace(const std::vector<Desc> &in, const std::vector<Desc> &out);
  bool shape_change(const std::vector<Desc> &in, const std::vector<Desc> &out);
  bool enqueue(const Call &call);
  Plugin clone() const;
  // What an execution context runs.
  Plugin attach();
  // What a plan keeps of it.
  std::vector<uint8_t> serialised();
  explicit operator bool() const { return raw_ != nullptr; }
  RawPlugin *raw() const {
    if (!raw_)
      throw Broken{"there is no plugin: a creator, clone or attachToContext answered null"};
    return raw_.get();
  }

private:
  struct Destroy {
    void operator()(RawPlugin *raw) const;
  };
  std::unique_ptr<RawPlugin, Destroy> raw_;
};

class Library {
public:
  // Throws CannotRun where the file cannot be loaded or lacks an entry.
  explicit Library(const char *path);
  ~Library();
  Library(const Library &) = delete;
  Library &operator=(const Library &) = delete;

  const std::vector<RawCreator *> &creators() const { return creators_; }
  RawCreator *creator(const std::string &name) const;

  // createPlugin while a network is built; `fields` null: no collection at all.
  Plugin create(const std::string &name, const Fields *fields) const;
  // What a plan does: from what serialised() gave.
  Plugin restore(const std::string &name, const std::vector<uint8_t> &bytes) const;

  // The messages the library sent its logger since the last call.
  std::vector<std::string> messages() const;

private:
  void *handle_;
  std::vector<RawCreator *> creators_;
};

Fields fields(const ScanFlags &flags, int64_t groups);
Fields fields(const MstbFlags &flags);
constexpr const char *kScan = "SelectiveScan", *kMstb = "MultiScaleTemporalBlock", *kNamespace = "mimamba",
                     *kVersion = "1";

// The checks of everything but numbers.
void check_creators(Checks &checks, const Library &library);
void check_refusals(Checks &checks, const Library &library);
void check_shapes(Checks &checks, const Library &library);
void check_types(Checks &checks, const Library &library);
void check_formats(Checks &checks, const Library &library);
void check_lives(Checks &checks, const Library &library);

// Both ops through plugins that went the way of a plan: built, configured, serialised, restored, attached.
std::unique_ptr<Ops> plugin_ops(const Library &library);

} // namespace harness
