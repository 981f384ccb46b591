// One TensorRT engine, ready to decide: plugin library, plan, buffers and CUDA graph. All is made in the
// constructor; run() allocates nothing. Public API only, one source for TensorRT 10.3 to 11.
#pragma once

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include <NvInferRuntime.h>
#include <NvInferVersion.h>
#include <cuda_runtime_api.h>

#include "manifest.h"

#if NV_TENSORRT_MAJOR < 10
#error "TensorRT 10.3 or newer is needed"
#endif

namespace mimamba {

constexpr char const *kWindows = "windows", *kLogits = "logits", *kNamespace = "mimamba";

inline void cudaCheck(cudaError_t status, char const *call) {
  if (status != cudaSuccess)
    throw Fault(std::string(call) + " failed",
                std::string(cudaGetErrorName(status)) + ": " + cudaGetErrorString(status), "",
                "check the GPU and its driver (`mimamba-edge doctor`)");
}

// Prints TensorRT's warnings and keeps its last error: its API itself answers with null or false only.
class Logger : public nvinfer1::ILogger {
public:
  void log(Severity severity, char const *message) noexcept override {
    if (severity <= Severity::kERROR)
      std::snprintf(last_, sizeof last_, "%s", message);
    if (severity <= Severity::kWARNING)
      std::fprintf(stderr, "TensorRT: %s\n", message);
  }
  std::string last() const { return last_[0] ? last_ : "TensorRT gave no reason"; }

private:
  char last_[1024] = "";
};

// The plugin library, in the registry for as long as an engine may need it.
class PluginLibrary {
public:
  PluginLibrary(std::filesystem::path const &path, Manifest const &manifest, Logger const &logger) {
    auto *registry = getPluginRegistry();
    // An absolute path: the dynamic linker would look for a bare name in its own folders.
    handle_.reset(registry->loadLibrary(std::filesystem::absolute(path).c_str()));
    // Null means failed, or loaded in this process before: what counts is whether the creators are there.
    for (auto const &[op, version] : manifest.ops)
      if (!registry->getCreator(op.c_str(), std::to_string(version).c_str(), kNamespace))
        throw Fault(path.string() + " does not give the plugin " + kNamespace + "::" + op,
                    handle_ ? "no version " + std::to_string(version) + " of it" : logger.last(),
                    "a plugin library built for this TensorRT, with the op versions of the plan",
                    "run `mimamba-edge plugin build` with the mimamba-edge version that built the plan");
  }

private:
  struct Deregister {
    void operator()(void *handle) const { getPluginRegistry()->deregisterLibrary(handle); }
  };
  std::unique_ptr<void, Deregister> handle_;
};

// Calls a CUDA function when the owner goes.
template <auto Release> struct By {
  template <typename T> void operator()(T *held) const { static_cast<void>(Release(held)); }
};

class Engine {
public:
  Engine(std::filesystem::path const &plugin, std::filesystem::path const &plan, Manifest const &manifest)
      : values_(static_cast<size_t>(manifest.values())), classes_(manifest.classes.size()) {
    checkMachine(manifest);
    auto const blob = readFile(plan, "check the path, or run `mimamba-edge build`");
    checkHash(plan, blob, manifest.planSha256);
    checkHash(plugin, readFile(plugin, "run `mimamba-edge plugin path`"), manifest.pluginSha256);
    runtime_.reset(nvinfer1::createInferRuntime(logger_));
    if (!runtime_)
      throw Fault("TensorRT cannot start", logger_.last(), "a CUDA device and its driver",
                  "run `mimamba-edge doctor`");
    // Loaded after the runtime was made, so that what the registry says reaches our logger.
    library_ = std::make_unique<PluginLibrary>(plugin, manifest, logger_);
    engine_.reset(runtime_->deserializeCudaEngine(blob.data(), blob.size()));
    if (!engine_)
      throw Fault(plan.string() + " cannot be deserialised", logger_.last(), "",
                  "build the plan again on this machine");
    checkTensor(kWindows, nvinfer1::TensorIOMode::kINPUT,
                {3, {1, static_cast<int64_t>(manifest.channels.size()), manifest.samples}});
    checkTensor(kLogits, nvinfer1::TensorIOMode::kOUTPUT, {2, {1, static_cast<int64_t>(classes_)}});
    if (engine_->getNbIOTensors() != 2)
      throw Fault("the plan has other tensors", std::to_string(engine_->getNbIOTensors()) + " of them",
                  "windows and logits", "build it from a file that `mimamba-edge export` wrote");
    context_.reset(engine_->createExecutionContext());
    if (!context_)
      throw Fault("TensorRT cannot make an execution context", logger_.last(), "", "free GPU memory");
    makeBuffers();
    nvinfer1::Dims const shape{3, {1, static_cast<int64_t>(manifest.channels.size()), manifest.samples}};
    if (!context_->setInputShape(kWindows, shape) || !context_->setTensorAddress(kWindows, deviceWindows_) ||
        !context_->setTensorAddress(kLogits, deviceLogits_))
      throw Fault("the engine takes no single window", logger_.last(), "batch 1 in its profile",
                  "run `mimamba-edge build --batch 1`");
    run(); // TensorRT does deferred work in the first enqueue after a change of shapes: it must precede the
           // capture
    capture();
  }

  // Pinned host memory: fill input() with (n_chans, n_times), call run(), read output(), (n_outputs).
  float *input() { return hostWindows_.get(); }
  float const *output() const { return hostLogits_.get(); }
  bool graph() const { return graph_ != nullptr; }

  void run() {
    if (graph_)
      cudaCheck(cudaGraphLaunch(graph_.get(), stream_.get()), "cudaGraphLaunch");
    else if (!enqueue())
      throw Fault("TensorRT could not enqueue the network", logger_.last());
    cudaCheck(cudaStreamSynchronize(stream_.get()), "cudaStreamSynchronize");
  }

private:
  static int attribute(cudaDeviceAttr which) {
    int device = 0, value = 0;
    cudaCheck(cudaGetDevice(&device), "cudaGetDevice");
    cudaCheck(cudaDeviceGetAttribute(&value, which, device), "cudaDeviceGetAttribute");
    return value;
  }

  static void checkMachine(Manifest const &manifest) {
    // The classes' virtual tables change between majors: a call across them does not fail, it crashes.
    if (getInferLibMajorVersion() != NV_TENSORRT_MAJOR)
      throw Fault("this program was compiled for another TensorRT",
                  "major " + std::to_string(getInferLibMajorVersion()),
                  "major " + std::to_string(NV_TENSORRT_MAJOR), "compile it again on this machine");
    std::string const here = std::to_string(getInferLibMajorVersion()) + "." +
                             std::to_string(getInferLibMinorVersion()) + "." +
                             std::to_string(getInferLibPatchVersion());
    if (manifest.tensorrt != here && manifest.tensorrt.rfind(here + ".", 0) != 0)
      throw Fault("the plan was built by another TensorRT", manifest.tensorrt, here,
                  "build the plan again here");
    int const sm =
        10 * attribute(cudaDevAttrComputeCapabilityMajor) + attribute(cudaDevAttrComputeCapabilityMinor);
    int const multiprocessors = attribute(cudaDevAttrMultiProcessorCount);
    auto const text = [](int capability, int count) {
      return "sm_" + std::to_string(capability) + " with " + std::to_string(count) + " multiprocessors";
    };
    // An Orin Nano and an AGX Orin are both sm_87; what tells them apart is the number of multiprocessors.
    if (manifest.sm != sm || manifest.multiprocessors != multiprocessors)
      throw Fault("the plan was built on another device", text(manifest.sm, manifest.multiprocessors),
                  text(sm, multiprocessors), "build the plan again here");
  }

  void checkTensor(char const *name, nvinfer1::TensorIOMode mode, nvinfer1::Dims const &wanted) const {
    auto const shape = engine_->getTensorShape(name);
    bool fits = engine_->getTensorIOMode(name) == mode && shape.nbDims == wanted.nbDims;
    for (int i = 0; fits && i < shape.nbDims; ++i)
      fits = shape.d[i] == wanted.d[i] || (i == 0 && shape.d[i] == -1);
    fits = fits && engine_->getTensorDataType(name) == nvinfer1::DataType::kFLOAT &&
           engine_->getTensorFormat(name) == nvinfer1::TensorFormat::kLINEAR;
    auto const text = [](nvinfer1::Dims const &dims) {
      std::string out;
      for (int i = 0; i < dims.nbDims; ++i)
        out += (i ? " x " : "") + std::to_string(dims.d[i]);
      return out.empty() ? std::string("none of that name") : out;
    };
    if (!fits)
      throw Fault(std::string("the plan's tensor ") + name + " is not that of its contract", text(shape),
                  text(wanted) + ", float32, linear", "run `mimamba-edge build --batch 1`");
  }

  void makeBuffers() {
    cudaStream_t stream = nullptr;
    cudaCheck(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    stream_.reset(stream);
    // A Jetson's CPU and GPU share their memory: the GPU reads the host's buffer where it lies, nothing is
    // copied.
    copies_ = !attribute(cudaDevAttrIntegrated);
    deviceWindows_ = makeBuffer(values_ * sizeof(float), hostWindows_, ownWindows_);
    deviceLogits_ = makeBuffer(classes_ * sizeof(float), hostLogits_, ownLogits_);
    std::fill_n(hostWindows_.get(), values_, 0.0f);
  }

  using Host = std::unique_ptr<float, By<cudaFreeHost>>;
  using Device = std::unique_ptr<void, By<cudaFree>>;

  void *makeBuffer(size_t bytes, Host &host, Device &own) {
    void *pointer = nullptr;
    cudaCheck(cudaHostAlloc(&pointer, bytes, copies_ ? cudaHostAllocDefault : cudaHostAllocMapped),
              "cudaHostAlloc");
    host.reset(static_cast<float *>(pointer));
    if (!copies_) {
      cudaCheck(cudaHostGetDevicePointer(&pointer, host.get(), 0), "cudaHostGetDevicePointer");
      return pointer;
    }
    cudaCheck(cudaMalloc(&pointer, bytes), "cudaMalloc");
    own.reset(pointer);
    return pointer;
  }

  bool enqueue() {
    size_t const in = values_ * sizeof(float), out = classes_ * sizeof(float);
    auto *stream = stream_.get();
    if (copies_)
      cudaCheck(cudaMemcpyAsync(deviceWindows_, hostWindows_.get(), in, cudaMemcpyHostToDevice, stream),
                "H2D copy");
    if (!context_->enqueueV3(stream))
      return false;
    if (copies_)
      cudaCheck(cudaMemcpyAsync(hostLogits_.get(), deviceLogits_, out, cudaMemcpyDeviceToHost, stream),
                "D2H copy");
    return true;
  }

  // Records the work of one window once; run() then replays it with a single launch. Where that cannot be
  // done the program goes on without, and says so: the decisions are the same, only later.
  void capture() {
    std::string reason;
    cudaGraph_t recorded = nullptr;
    cudaGraphExec_t graph = nullptr;
    try {
      cudaCheck(cudaStreamBeginCapture(stream_.get(), cudaStreamCaptureModeThreadLocal),
                "cudaStreamBeginCapture");
      if (!enqueue())
        reason = logger_.last();
    } catch (Fault const &fault) {
      reason = fault.what();
    }
    // A capture that began must be ended, whatever came of it.
    cudaError_t status = cudaStreamEndCapture(stream_.get(), &recorded);
    if (reason.empty() && status == cudaSuccess)
      status = cudaGraphInstantiate(&graph, recorded, 0);
    if (recorded)
      cudaGraphDestroy(recorded);
    if (reason.empty() && status == cudaSuccess) {
      graph_.reset(graph);
      return;
    }
    cudaGetLastError(); // reported here, so it must not surface in a later call
    std::fprintf(stderr, "WARNING: no CUDA graph, every window is enqueued call by call (slower): %s\n",
                 reason.empty() ? cudaGetErrorString(status) : reason.c_str());
  }

  // Destroyed from last to first: the registry keeps the library until engine and runtime are gone.
  size_t values_, classes_;
  bool copies_ = true;
  Logger logger_;
  std::unique_ptr<PluginLibrary> library_;
  std::unique_ptr<nvinfer1::IRuntime> runtime_;
  std::unique_ptr<nvinfer1::ICudaEngine> engine_;
  Host hostWindows_, hostLogits_;
  Device ownWindows_, ownLogits_;
  void *deviceWindows_ = nullptr, *deviceLogits_ = nullptr;
  std::unique_ptr<CUstream_st, By<cudaStreamDestroy>> stream_;
  std::unique_ptr<nvinfer1::IExecutionContext> context_;
  std::unique_ptr<CUgraphExec_st, By<cudaGraphExecDestroy>> graph_;
};

} // namespace mimamba
