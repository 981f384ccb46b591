// A plugin library with a planted fault: everything goes on to the real library (REAL) but for one answer,
// which the environment variable FAULT names. IPluginV3 only.
#include <NvInfer.h>

#include <dlfcn.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

bool fault(const char *name) {
  const char *named = std::getenv("FAULT");
  return named && std::strcmp(named, name) == 0;
}

class Faulty final : public IPluginV3,
                     public IPluginV3OneCore,
                     public IPluginV3OneBuild,
                     public IPluginV3OneRuntime {
public:
  explicit Faulty(IPluginV3 *real)
      : real_(real), core_(get<IPluginV3OneCore>(PluginCapabilityType::kCORE)),
        build_(get<IPluginV3OneBuild>(PluginCapabilityType::kBUILD)),
        runtime_(get<IPluginV3OneRuntime>(PluginCapabilityType::kRUNTIME)) {}
  ~Faulty() override { delete real_; }
  IPluginCapability *getCapabilityInterface(PluginCapabilityType type) noexcept override {
    if (type == PluginCapabilityType::kCORE)
      return static_cast<IPluginV3OneCore *>(this);
    if (type == PluginCapabilityType::kBUILD)
      return static_cast<IPluginV3OneBuild *>(this);
    return static_cast<IPluginV3OneRuntime *>(this);
  }
  IPluginV3 *clone() noexcept override { return new Faulty(real_->clone()); }

  AsciiChar const *getPluginName() const noexcept override { return core_->getPluginName(); }
  AsciiChar const *getPluginVersion() const noexcept override { return core_->getPluginVersion(); }
  AsciiChar const *getPluginNamespace() const noexcept override {
    return fault("namespace") ? "" : core_->getPluginNamespace();
  }

  int32_t configurePlugin(DynamicPluginTensorDesc const *in, int32_t inputs,
                          DynamicPluginTensorDesc const *out, int32_t outputs) noexcept override {
    return build_->configurePlugin(in, inputs, out, outputs);
  }
  int32_t getOutputDataTypes(DataType *out, int32_t outputs, DataType const *in,
                             int32_t inputs) const noexcept override {
    const int32_t status = build_->getOutputDataTypes(out, outputs, in, inputs);
    if (fault("type") && outputs == 2)
      out[1] = out[0]; // last_state as T instead of float32
    return status;
  }
  int32_t getOutputShapes(DimsExprs const *in, int32_t inputs, DimsExprs const *shape, int32_t shapes,
                          DimsExprs *out, int32_t outputs, IExprBuilder &builder) noexcept override {
    const int32_t status = build_->getOutputShapes(in, inputs, shape, shapes, out, outputs, builder);
    if (fault("shape") && outputs == 2)
      out[1].d[0] = in[7].d[0]; // the batch of initial_state, which may be 1
    return status;
  }
  bool supportsFormatCombination(int32_t position, DynamicPluginTensorDesc const *all, int32_t inputs,
                                 int32_t outputs) noexcept override {
    if (fault("format") && position == 0 && all[0].desc.type == DataType::kINT8)
      return all[0].desc.format == TensorFormat::kLINEAR;
    return build_->supportsFormatCombination(position, all, inputs, outputs);
  }
  int32_t getNbOutputs() const noexcept override { return build_->getNbOutputs(); }
  size_t getWorkspaceSize(DynamicPluginTensorDesc const *in, int32_t inputs,
                          DynamicPluginTensorDesc const *out, int32_t outputs) const noexcept override {
    return fault("workspace") ? 0 : build_->getWorkspaceSize(in, inputs, out, outputs);
  }

  int32_t onShapeChange(PluginTensorDesc const *in, int32_t inputs, PluginTensorDesc const *out,
                        int32_t outputs) noexcept override {
    inputs_ = inputs;
    const int32_t status = runtime_->onShapeChange(in, inputs, out, outputs);
    return fault("misfit") ? 0 : status;
  }
  int32_t enqueue(PluginTensorDesc const *in, PluginTensorDesc const *out, void const *const *inputs,
                  void *const *outputs, void *workspace, cudaStream_t stream) noexcept override {
    if (fault("nothing"))
      return 0;
    std::vector<void const *> given(inputs, inputs + inputs_);
    if (fault("parts") && inputs_ == 9 && given[8] &&
        in[8].dims.d[2] > in[0].dims.d[2]) // a z that is part of a row
      given[8] = static_cast<char const *>(given[8]) + (in[8].type == DataType::kFLOAT ? 4 : 2);
    const int32_t status = runtime_->enqueue(in, out, given.data(), outputs, workspace, stream);
    // One value off by a tenth of a percent in float32 outputs of more than a thousand.
    int64_t size = 1;
    for (int32_t i = 0; i < out[0].dims.nbDims; ++i)
      size *= out[0].dims.d[i];
    if (status == 0 && out[0].type == DataType::kFLOAT && size > 1000) {
      float *y = static_cast<float *>(outputs[0]);
      if (fault("numbers"))
        y[size - 1] += 0.001f * (y[size - 1] > 0.0f ? 1.0f + y[size - 1] : y[size - 1] - 1.0f);
      if (fault("outside"))
        y[size] = 1.0f;
    }
    return status;
  }
  IPluginV3 *attachToContext(IPluginResourceContext *context) noexcept override {
    return new Faulty(runtime_->attachToContext(context));
  }
  PluginFieldCollection const *getFieldsToSerialize() noexcept override {
    const PluginFieldCollection *all = runtime_->getFieldsToSerialize();
    if (!fault("plan"))
      return all;
    fields_.assign(all->fields, all->fields + all->nbFields);
    for (PluginField &field : fields_) // forgotten, and neither wants more workspace than was given
      if (std::strcmp(field.name, "reverse") == 0 || std::strcmp(field.name, "weighting") == 0)
        field.data = &zero_;
    kept_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
    return &kept_;
  }

private:
  template <class T> T *get(PluginCapabilityType type) {
    return static_cast<T *>(real_->getCapabilityInterface(type));
  }

  IPluginV3 *real_;
  IPluginV3OneCore *core_;
  IPluginV3OneBuild *build_;
  IPluginV3OneRuntime *runtime_;
  int32_t inputs_ = 0;
  std::vector<PluginField> fields_;
  PluginFieldCollection kept_{};
  int32_t zero_ = 0;
};

class Creator final : public IPluginCreatorV3One {
public:
  explicit Creator(IPluginCreatorV3One *real) : real_(real) {
    const PluginFieldCollection *all = real->getFieldNames();
    fields_.assign(all->fields, all->fields + all->nbFields);
    if (fault("field-name"))
      fields_.back().name = "scale";
    if (fault("field-type"))
      fields_.back().type = PluginFieldType::kINT64;
    names_ = {static_cast<int32_t>(fields_.size()), fields_.data()};
  }
  InterfaceInfo getInterfaceInfo() const noexcept override { return real_->getInterfaceInfo(); }
  IPluginV3 *createPlugin(AsciiChar const *name, PluginFieldCollection const *fields,
                          TensorRTPhase phase) noexcept override {
    IPluginV3 *real = real_->createPlugin(name, fields, phase);
    return real ? new Faulty(real) : nullptr;
  }
  PluginFieldCollection const *getFieldNames() noexcept override { return &names_; }
  AsciiChar const *getPluginName() const noexcept override { return real_->getPluginName(); }
  AsciiChar const *getPluginVersion() const noexcept override { return real_->getPluginVersion(); }
  AsciiChar const *getPluginNamespace() const noexcept override { return real_->getPluginNamespace(); }

private:
  IPluginCreatorV3One *real_;
  std::vector<PluginField> fields_;
  PluginFieldCollection names_{};
};

void *real_library() {
  static void *const library = dlopen(REAL, RTLD_NOW | RTLD_LOCAL);
  return library;
}

} // namespace

extern "C" IPluginCreatorInterface *const *getCreators(int32_t &count) {
  static std::vector<IPluginCreatorInterface *> creators;
  if (creators.empty()) {
    const auto real = reinterpret_cast<IPluginCreatorInterface *const *(*)(int32_t &)>(
        dlsym(real_library(), "getCreators"));
    auto *const *all = real(count);
    for (int32_t i = 0; i < count; ++i) {
      static Creator wrapped[] = {Creator(static_cast<IPluginCreatorV3One *>(all[0])),
                                  Creator(static_cast<IPluginCreatorV3One *>(all[1]))};
      creators.push_back(&wrapped[i]);
    }
  }
  count = static_cast<int32_t>(creators.size());
  return creators.data();
}

extern "C" void setLoggerFinder(ILoggerFinder *finder) {
  if (!fault("silent"))
    reinterpret_cast<void (*)(ILoggerFinder *)>(dlsym(real_library(), "setLoggerFinder"))(finder);
}
