// mimamba_trt86: proves file, parser, adapter and kernels in a real TensorRT builder. For tests on a GPU
// only: 8.6 is the one full TensorRT on the Python package index, and no supported target runs it.
//
//     mimamba_trt86 PLUGIN.so MODEL.trt.onnx fp32|fp16|int8 WINDOWS.f32 LOGITS.f32
//
// Builds an engine of batch 1 with the plugin library (plugin_v2.cpp, built with 8.6 headers), runs the
// windows (n, n_chans, n_times) with and without a CUDA graph, compares with the logits (n, n_outputs) that
// the checkpoint gave, times both ways, and prints one JSON object. Judging the figures is the caller's:
// benchmarks/gpu_tensorrt/wheel86.py.
//
// Exit status: 0 done, 2 could not run.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <NvInfer.h>
#include <NvOnnxParser.h>
#include <cuda_runtime_api.h>

namespace {

using namespace nvinfer1;
using Clock = std::chrono::steady_clock;

constexpr int kWarmUps = 200, kRuns = 3000;

[[noreturn]] void fail(std::string const &what, std::string const &todo = "") {
  throw std::runtime_error(what + (todo.empty() ? "" : "\n  do this:  " + todo));
}

void check(cudaError_t status, char const *call) {
  if (status != cudaSuccess)
    fail(std::string(call) + " failed: " + cudaGetErrorString(status),
         "run this on a machine with a CUDA GPU");
}

class Logger : public ILogger {
public:
  void log(Severity severity, char const *message) noexcept override {
    if (severity <= Severity::kERROR)
      last = message;
    if (severity <= Severity::kWARNING)
      std::fprintf(stderr, "TensorRT: %s\n", message);
  }
  std::string last = "TensorRT gave no reason";
} logger;

template <typename T> std::unique_ptr<T> made(T *object, char const *what, char const *todo = "") {
  if (!object)
    fail(std::string(what) + " failed\n  got:      " + logger.last, todo);
  return std::unique_ptr<T>(object);
}

std::vector<float> readFloats(char const *path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  auto const bytes = static_cast<std::streamoff>(file.tellg());
  if (!file || bytes % 4)
    fail(std::string(path) + " is not a file of float32");
  std::vector<float> values(static_cast<size_t>(bytes) / 4);
  file.seekg(0).read(reinterpret_cast<char *>(values.data()), bytes);
  return values;
}

size_t volume(Dims const &dims) { // of one window: the first dimension is the batch
  size_t values = 1;
  for (int i = 1; i < dims.nbDims; ++i)
    values *= static_cast<size_t>(dims.d[i]);
  return values;
}

// 8.6 has no strongly typed networks. What the file says is asked for layer by layer: the type of each
// layer's first output, as the parser inferred it from casts and Q/DQ, becomes the layer's precision.
void holdToTheFile(INetworkDefinition &network) {
  for (int i = 0; i < network.getNbLayers(); ++i) {
    ILayer &layer = *network.getLayer(i);
    switch (layer.getType()) {
    case LayerType::kCONSTANT:
    case LayerType::kSHAPE:
    case LayerType::kCAST:
    case LayerType::kIDENTITY:
    case LayerType::kQUANTIZE:
    case LayerType::kDEQUANTIZE:
    case LayerType::kPLUGIN_V2:
      continue;
    default:
      break;
    }
    auto const type = layer.getNbOutputs() > 0 ? layer.getOutput(0)->getType() : DataType::kINT32;
    if (type != DataType::kFLOAT && type != DataType::kHALF)
      continue;
    layer.setPrecision(type);
    for (int o = 0; o < layer.getNbOutputs(); ++o)
      if (layer.getOutput(o)->getType() == type)
        layer.setOutputType(o, type);
  }
}

struct Built {
  std::unique_ptr<IHostMemory> plan;
  std::string constraints;
  double seconds = 0;
  int layers = 0, plugins = 0;
};

Built build(char const *onnx, std::string const &precision) {
  auto const builder = made(createInferBuilder(logger), "creating a TensorRT builder",
                            "run this on a machine with a CUDA GPU that TensorRT 8.6 knows (sm_50 to sm_90)");
  auto const network =
      made(builder->createNetworkV2(1U << static_cast<int>(NetworkDefinitionCreationFlag::kEXPLICIT_BATCH)),
           "creating a network");
  auto const parser = made(nvonnxparser::createParser(*network, logger), "creating the ONNX parser");
  if (!parser->parseFromFile(onnx, static_cast<int>(ILogger::Severity::kWARNING))) {
    std::string text = std::string("TensorRT's parser refused ") + onnx;
    for (int i = 0; i < parser->getNbErrors(); ++i)
      text += std::string("\n  got:      ") + parser->getError(i)->desc();
    fail(text, "export the file again; it must be the .trt.onnx");
  }
  Built out;
  out.layers = network->getNbLayers();
  for (int i = 0; i < out.layers; ++i)
    out.plugins += network->getLayer(i)->getType() == LayerType::kPLUGIN_V2;
  holdToTheFile(*network);
  auto const config = made(builder->createBuilderConfig(), "creating a builder configuration");
  auto *profile = builder->createOptimizationProfile();
  for (int i = 0; i < network->getNbInputs(); ++i) {
    Dims dims = network->getInput(i)->getDimensions();
    dims.d[0] = 1;
    for (auto const which : {OptProfileSelector::kMIN, OptProfileSelector::kOPT, OptProfileSelector::kMAX})
      profile->setDimensions(network->getInput(i)->getName(), which, dims);
  }
  config->addOptimizationProfile(profile);
  config->clearFlag(BuilderFlag::kTF32); // on by default, and not float32
  if (precision != "fp32")
    config->setFlag(BuilderFlag::kFP16);
  if (precision == "int8")
    config->setFlag(BuilderFlag::kINT8);
  // With a plugin in the network 8.6 opens cuBLAS and cuDNN to hand them to it (NvInfer.h,
  // kDISABLE_EXTERNAL_TACTIC_SOURCES_FOR_CORE_0805). Ours use neither, and neither need be installed.
  TacticSources sources = config->getTacticSources();
  for (auto const source : {TacticSource::kCUBLAS, TacticSource::kCUBLAS_LT, TacticSource::kCUDNN})
    sources &= ~(1U << static_cast<uint32_t>(source));
  config->setTacticSources(sources);
  auto const start = Clock::now();
  for (auto const &[flag, name] : {std::pair{BuilderFlag::kOBEY_PRECISION_CONSTRAINTS, "obey"},
                                   std::pair{BuilderFlag::kPREFER_PRECISION_CONSTRAINTS, "prefer"}}) {
    config->clearFlag(BuilderFlag::kOBEY_PRECISION_CONSTRAINTS);
    config->setFlag(flag);
    out.plan.reset(builder->buildSerializedNetwork(*network, *config));
    out.constraints = name;
    if (out.plan)
      break;
  }
  out.seconds = std::chrono::duration<double>(Clock::now() - start).count();
  if (!out.plan)
    fail("the engine could not be built\n  got:      " + logger.last);
  return out;
}

struct Quantiles {
  double p50, p90, p99, max;
};

Quantiles quantiles(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  auto const at = [&](double q) {
    return values[static_cast<size_t>(q * static_cast<double>(values.size() - 1) + 0.5)];
  };
  return {at(0.5), at(0.9), at(0.99), values.back()};
}

// The engine with its buffers on one stream.
class Session {
public:
  explicit Session(IHostMemory const &plan) {
    runtime_ = made(createInferRuntime(logger), "creating a TensorRT runtime");
    engine_ = made(runtime_->deserializeCudaEngine(plan.data(), plan.size()), "deserialising the engine");
    context_ = made(engine_->createExecutionContext(), "creating an execution context");
    in = volume(engine_->getTensorShape("windows"));
    out = volume(engine_->getTensorShape("logits"));
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    check(cudaMalloc(&windows_, 4 * in), "cudaMalloc");
    check(cudaMalloc(&logits_, 4 * out), "cudaMalloc");
    check(cudaMallocHost(&hostIn_, 4 * in), "cudaMallocHost");
    check(cudaMallocHost(&hostOut_, 4 * out), "cudaMallocHost");
    for (auto &event : events_)
      check(cudaEventCreate(&event), "cudaEventCreate");
    Dims dims = engine_->getTensorShape("windows");
    dims.d[0] = 1;
    if (!context_->setInputShape("windows", dims) || !context_->setTensorAddress("windows", windows_) ||
        !context_->setTensorAddress("logits", logits_))
      fail("the engine has no tensors windows and logits\n  got:      " + logger.last);
  }

  size_t in = 0, out = 0; // values of a window and of its logits

  // Runs one window and leaves its logits in `to`; returns the GPU's time between the copies in
  // milliseconds.
  double run(float const *from, float *to, bool graph) {
    std::memcpy(hostIn_, from, 4 * in);
    check(cudaMemcpyAsync(windows_, hostIn_, 4 * in, cudaMemcpyHostToDevice, stream_), "cudaMemcpyAsync");
    check(cudaEventRecord(events_[0], stream_), "cudaEventRecord");
    if (graph)
      check(cudaGraphLaunch(graph_, stream_), "cudaGraphLaunch");
    else if (!context_->enqueueV3(stream_))
      fail("enqueueV3 failed\n  got:      " + logger.last);
    check(cudaEventRecord(events_[1], stream_), "cudaEventRecord");
    check(cudaMemcpyAsync(hostOut_, logits_, 4 * out, cudaMemcpyDeviceToHost, stream_), "cudaMemcpyAsync");
    check(cudaStreamSynchronize(stream_), "cudaStreamSynchronize");
    std::memcpy(to, hostOut_, 4 * out);
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, events_[0], events_[1]), "cudaEventElapsedTime");
    return milliseconds;
  }

  void capture() { // after a first run, which does TensorRT's deferred work
    cudaGraph_t recorded = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
    bool const queued = context_->enqueueV3(stream_);
    check(cudaStreamEndCapture(stream_, &recorded), "cudaStreamEndCapture");
    if (!queued)
      fail("enqueueV3 cannot be captured in a CUDA graph\n  got:      " + logger.last);
    check(cudaGraphInstantiate(&graph_, recorded, 0), "cudaGraphInstantiate");
  }

private: // released by the end of the process
  std::unique_ptr<IRuntime> runtime_;
  std::unique_ptr<ICudaEngine> engine_;
  std::unique_ptr<IExecutionContext> context_;
  cudaStream_t stream_ = nullptr;
  cudaGraphExec_t graph_ = nullptr;
  cudaEvent_t events_[2] = {};
  void *windows_ = nullptr, *logits_ = nullptr, *hostIn_ = nullptr, *hostOut_ = nullptr;
};

std::string json(char const *name, std::vector<double> const &values) {
  auto const q = quantiles(values);
  char text[200];
  std::snprintf(text, sizeof text, "\"%s\": {\"p50\": %.5f, \"p90\": %.5f, \"p99\": %.5f, \"max\": %.5f}",
                name, q.p50, q.p90, q.p99, q.max);
  return text;
}

std::string array(std::vector<float> const &values) {
  std::string text = "[";
  char number[40];
  for (size_t i = 0; i < values.size(); ++i) {
    std::snprintf(number, sizeof number, "%s%.9g", i ? ", " : "", static_cast<double>(values[i]));
    text += std::isfinite(values[i]) ? number : (i ? ", null" : "null");
  }
  return text + "]";
}

int run(int count, char **values) {
  if (count != 6)
    fail("usage: mimamba_trt86 PLUGIN.so MODEL.trt.onnx fp32|fp16|int8 WINDOWS.f32 LOGITS.f32");
  std::string const precision = values[3];
  // 8.6.1 moved functions within the interfaces: with its headers this library's would be called by wrong
  // slots.
  if (getInferLibVersion() != NV_TENSORRT_VERSION)
    fail("compiled with the headers of another TensorRT\n  got:      " + std::to_string(NV_TENSORRT_VERSION) +
             "\n  expected: " + std::to_string(getInferLibVersion()),
         "take include/ of the tag of NVIDIA/TensorRT that has the library's version");
  if (!getPluginRegistry()->loadLibrary(std::filesystem::absolute(values[1]).c_str()))
    fail(std::string(values[1]) + " could not be loaded\n  got:      " + logger.last,
         "build the plugin with these headers");
  int device = 0;
  check(cudaGetDevice(&device), "cudaGetDevice");
  cudaDeviceProp properties{};
  check(cudaGetDeviceProperties(&properties, device), "cudaGetDeviceProperties");
  auto const windows = readFloats(values[4]), wanted = readFloats(values[5]);
  auto const built = build(values[2], precision);

  Session session(*built.plan);
  size_t const in = session.in, out = session.out;
  size_t const n = windows.size() / in;
  if (n == 0 || n * in != windows.size() || n * out != wanted.size())
    fail("the reference does not fit the engine: " + std::to_string(windows.size()) + " values in, " +
         std::to_string(wanted.size()) + " out, for windows of " + std::to_string(in) + " and " +
         std::to_string(out));

  std::vector<float> logits[2];
  std::string timed;
  for (bool const graph : {false, true}) {
    std::vector<float> scratch(out);
    session.run(windows.data(), scratch.data(), false);
    if (graph)
      session.capture();
    logits[graph].resize(n * out);
    for (size_t i = 0; i < n; ++i)
      session.run(&windows[i * in], &logits[graph][i * out], graph);
    std::vector<double> latency, compute;
    for (int i = 0; i < kWarmUps + kRuns; ++i) { // another window every run
      auto const start = Clock::now();
      double const gpu = session.run(&windows[static_cast<size_t>(i) % n * in], scratch.data(), graph);
      if (i >= kWarmUps) {
        latency.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
        compute.push_back(gpu);
      }
    }
    timed += std::string(", \"") + (graph ? "graph" : "no_graph") + "\": {" + json("latency_ms", latency) +
             ", " + json("compute_ms", compute) + ", \"logits\": " + array(logits[graph]) + "}";
  }
  std::printf("{\"tensorrt\": \"%d\", \"device\": \"%s\", \"sm\": %d, \"precision\": \"%s\", "
              "\"constraints\": \"%s\", "
              "\"build_s\": %.2f, \"plan_bytes\": %zu, \"layers\": %d, \"plugins\": %d, \"runs\": %d, "
              "\"windows\": %zu%s}\n",
              getInferLibVersion(), properties.name, 10 * properties.major + properties.minor,
              precision.c_str(), built.constraints.c_str(), built.seconds, built.plan->size(), built.layers,
              built.plugins, kRuns, n, timed.c_str());
  return 0;
}

} // namespace

int main(int count, char **values) {
  try {
    return run(count, values);
  } catch (std::exception const &error) {
    std::fprintf(stderr, "mimamba_trt86: %s\n", error.what());
    return 2;
  }
}
