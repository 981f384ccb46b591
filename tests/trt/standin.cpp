// A plugin library without TensorRT's headers: two creators laid out as IPluginCreatorV3One of 10.0.1 to 11.1
// (NvInferRuntimeBase.h, NvInferRuntime.h), which make nothing.
#include <cstdint>
#include <initializer_list>
#include <vector>

struct Info {
  char const *kind;
  int32_t major, minor;
};

struct Field {
  char const *name;
  void const *data;
  int32_t type, length;
};

struct Fields {
  int32_t count;
  Field const *fields;
};

struct Creator {
  Creator(char const *name, std::initializer_list<char const *> names) : name{name} {
    for (char const *one : names)
      all.push_back({one, nullptr, 5, 1});
    fields = {static_cast<int32_t>(all.size()), all.data()};
  }
  virtual int32_t getAPILanguage() const noexcept { return 0; }
  virtual Info getInterfaceInfo() const noexcept { return {"PLUGIN CREATOR_V3ONE", 1, 0}; }
  virtual ~Creator() noexcept = default;
  virtual void *createPlugin(char const *, Fields const *, int32_t) noexcept { return nullptr; }
  virtual Fields const *getFieldNames() noexcept { return &fields; }
  virtual char const *getPluginName() const noexcept { return name; }
  virtual char const *getPluginVersion() const noexcept { return VERSION; }
  virtual char const *getPluginNamespace() const noexcept { return NAMESPACE; }

  char const *name;
  std::vector<Field> all;
  Fields fields{};
};

// The registry refuses a library that lacks either function.
extern "C" void setLoggerFinder(void *) {}

#ifdef ENTRY
extern "C" Creator *const *ENTRY(int32_t &count) {
  static Creator scan{"SelectiveScan", {SCAN_FIELDS}}, block{"MultiScaleTemporalBlock", {BLOCK_FIELDS}};
  static Creator *const all[] = {&scan, &block};
  count = COUNT;
  return all;
}
#endif
