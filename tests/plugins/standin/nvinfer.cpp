// libnvinfer for tests. Its plan is a text: the word toy-plan, batch (-1: dynamic), n_chans, n_times,
// n_outputs, the type of the input ("float" or "half"), a bias for each output, the weights (n_outputs,
// n_chans, n_times). logits = weights @ windows + bias, in float64.
#include "stubs.h"

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <sstream>
#include <string>
#include <vector>

using namespace nvinfer1;

namespace {

ILogger *logger = nullptr;

std::nullptr_t refuse(std::string const &why) {
  if (logger)
    logger->log(ILogger::Severity::kERROR, why.c_str());
  return nullptr;
}

struct Toy {
  int64_t batch = 0, chans = 0, times = 0, outputs = 0;
  std::string type;
  std::vector<float> bias, weights;
  Dims shape(std::string const &name) const {
    return name == "windows"  ? Dims{3, {batch, chans, times}}
           : name == "logits" ? Dims{2, {batch, outputs}}
                              : Dims{-1, {}};
  }
};

class Context final : public IExecutionContext, public VExecutionContextStub {
public:
  explicit Context(Toy const &toy) : toy_(toy) { mImpl = this; }
  bool setInputShape(char const *name, Dims const &dims) noexcept override {
    return std::string(name) == "windows" && dims.nbDims == 3 &&
           (toy_.batch == -1 || dims.d[0] == toy_.batch) && dims.d[0] == 1 && dims.d[1] == toy_.chans &&
           dims.d[2] == toy_.times;
  }
  bool setTensorAddress(char const *name, void *data) noexcept override {
    addresses_[name] = static_cast<float *>(data);
    return toy_.shape(name).nbDims > 0;
  }
  bool enqueueV3(cudaStream_t stream) noexcept override {
    if (standin::capturing(stream) && std::getenv("STANDIN_NO_CAPTURE")) {
      refuse("[toy.cpp] a layer synchronises");
      return false;
    }
    if (std::getenv("STANDIN_NO_ENQUEUE")) {
      refuse("[toy.cpp] a kernel failed");
      return false;
    }
    float const *in = addresses_.at("windows");
    float *out = addresses_.at("logits");
    standin::launch(stream, [this, in, out] {
      int64_t const values = toy_.chans * toy_.times;
      for (int64_t o = 0; o < toy_.outputs; ++o) {
        double sum = toy_.bias[static_cast<size_t>(o)];
        for (int64_t i = 0; i < values; ++i)
          sum += static_cast<double>(toy_.weights[static_cast<size_t>(o * values + i)]) * in[i];
        out[o] = static_cast<float>(sum);
      }
    });
    return true;
  }

private:
  Toy const &toy_;
  std::map<std::string, float *> addresses_;
};

class Engine final : public ICudaEngine, public VCudaEngineStub {
public:
  explicit Engine(Toy toy) : toy_(std::move(toy)) { mImpl = this; }
  int32_t getNbIOTensors() const noexcept override { return 2; }
  Dims getTensorShape(char const *name) const noexcept override { return toy_.shape(name); }
  DataType getTensorDataType(char const *name) const noexcept override {
    return std::string(name) == "windows" && toy_.type == "half" ? DataType::kHALF : DataType::kFLOAT;
  }
  TensorIOMode getTensorIOMode(char const *name) const noexcept override {
    return std::string(name) == "windows" ? TensorIOMode::kINPUT : TensorIOMode::kOUTPUT;
  }
  TensorFormat getTensorFormat(char const *) const noexcept override { return TensorFormat::kLINEAR; }
  IExecutionContext *createExecutionContext(ExecutionContextAllocationStrategy) noexcept override {
    if (std::getenv("STANDIN_NO_CONTEXT"))
      return refuse("[toy.cpp] out of memory");
    return new Context(toy_);
  }

private:
  Toy toy_;
};

class Registry final : public IPluginRegistryStub {
public:
  // Null where it fails and where the library is there already, as TensorRT's.
  PluginLibraryHandle loadLibrary(char const *path) noexcept override {
    if (path[0] != '/')
      return refuse("[toy.cpp] not an absolute path");
    void *handle = dlopen(path, RTLD_LAZY);
    if (!handle)
      return refuse(std::string("[toy.cpp] ") + dlerror());
    using GetCreators = IPluginCreatorInterface *const *(*)(int32_t &);
    auto const get = reinterpret_cast<GetCreators>(dlsym(handle, "getCreators"));
    if (!get)
      return refuse("[toy.cpp] the library exports no getCreators");
    int32_t count = 0;
    auto *const *const found = get(count);
    creators_.assign(found, found + count);
    return std::getenv("STANDIN_LOADED") ? nullptr : handle;
  }
  void deregisterLibrary(PluginLibraryHandle handle) noexcept override {
    creators_.clear();
    dlclose(handle);
  }
  IPluginCreatorInterface *getCreator(char const *name, char const *version,
                                      char const *space) noexcept override {
    for (auto *creator : creators_) {
      auto *one = static_cast<IPluginCreatorV3One *>(creator);
      if (!std::strcmp(one->getPluginName(), name) && !std::strcmp(one->getPluginVersion(), version) &&
          !std::strcmp(one->getPluginNamespace(), space))
        return creator;
    }
    return nullptr;
  }

private:
  std::vector<IPluginCreatorInterface *> creators_;
};

class Runtime final : public IRuntime, public VRuntimeStub {
public:
  Runtime() { mImpl = this; }
  ICudaEngine *deserializeCudaEngine(void const *blob, size_t size) noexcept override {
    if (!::getPluginRegistry()->getCreator("SelectiveScan", "1", "mimamba"))
      return refuse("[toy.cpp] no creator for SelectiveScan");
    std::istringstream text(std::string(static_cast<char const *>(blob), size));
    std::string magic;
    Toy toy;
    text >> magic >> toy.batch >> toy.chans >> toy.times >> toy.outputs >> toy.type;
    if (magic != "toy-plan")
      return refuse("[toy.cpp] Magic tag does not match");
    toy.bias.resize(static_cast<size_t>(toy.outputs));
    toy.weights.resize(static_cast<size_t>(toy.outputs * toy.chans * toy.times));
    for (auto *values : {&toy.bias, &toy.weights})
      for (auto &value : *values)
        text >> value;
    if (!text)
      return refuse("[toy.cpp] the plan ends early");
    return new Engine(std::move(toy));
  }
  IPluginRegistry &getPluginRegistry() noexcept override { return *::getPluginRegistry(); }
};

int part(int index) {
  int parts[3] = {NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH};
  if (char const *set = std::getenv("STANDIN_VERSION"))
    std::sscanf(set, "%d.%d.%d", &parts[0], &parts[1], &parts[2]);
  return parts[index];
}

} // namespace

extern "C" {
void *createInferRuntime_INTERNAL(void *log, int32_t) noexcept {
  logger = static_cast<ILogger *>(log);
  if (std::getenv("STANDIN_NO_RUNTIME"))
    return refuse("[toy.cpp] CUDA initialization failure");
  return static_cast<IRuntime *>(new Runtime);
}
IPluginRegistry *getPluginRegistry() noexcept {
  static Registry registry;
  return &registry;
}
int32_t getInferLibMajorVersion() noexcept { return part(0); }
int32_t getInferLibMinorVersion() noexcept { return part(1); }
int32_t getInferLibPatchVersion() noexcept { return part(2); }
}
