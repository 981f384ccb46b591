// A plugin library for tests: both creators of mimamba, which make nothing.
#include "standin.h"

using namespace nvinfer1;

#ifndef PLUGIN_VERSION
#define PLUGIN_VERSION "1"
#endif

namespace {
class Creator final : public IPluginCreatorV3One {
public:
  explicit Creator(char const *name) : name_(name) {}
  IPluginV3 *createPlugin(char const *, PluginFieldCollection const *, TensorRTPhase) noexcept override {
    return nullptr;
  }
  PluginFieldCollection const *getFieldNames() noexcept override { return &fields_; }
  char const *getPluginName() const noexcept override { return name_; }
  char const *getPluginVersion() const noexcept override { return PLUGIN_VERSION; }
  char const *getPluginNamespace() const noexcept override { return "mimamba"; }

private:
  char const *name_;
  PluginFieldCollection fields_{};
};
} // namespace

extern "C" IPluginCreatorInterface *const *getCreators(int32_t &count) {
  static Creator scan("SelectiveScan"), block("MultiScaleTemporalBlock");
  static IPluginCreatorInterface *const all[] = {&scan, &block};
  count = 2;
  return all;
}
