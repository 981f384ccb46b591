// Registers the creators when the library is loaded, for programs that only dlopen: trtexec --staticPlugins,
// ONNX Runtime, Triton, DeepStream. The registry's class is not the same in every major version of TensorRT,
// so this library serves the one it was built for and refuses the others.
#include <NvInferVersion.h>

#include <dlfcn.h>

#include <cstdio>

#include "creators.h"

#define MIMAMBA_TEXT_(x) #x
#define MIMAMBA_TEXT(x) MIMAMBA_TEXT_(x)

namespace {

// Looked up, not linked: no libnvinfer is needed to build, and a host that loaded its TensorRT privately
// (RTLD_LOCAL, as Python and ONNX Runtime do) is found all the same, by soname.
struct TensorRt {
  nvinfer1::IPluginRegistry *(*registry)() noexcept = nullptr;
  nvinfer1::ILogger *(*logger)() noexcept = nullptr;
  int32_t (*major)() noexcept = nullptr;

  bool look_in(void *library) {
    find(library, "getPluginRegistry", registry);
    find(library, "getLogger", logger);
    find(library, "getInferLibMajorVersion", major);
    return registry && major;
  }
  bool look_in_file(const char *name, int flags) {
    void *const library = dlopen(name, RTLD_LAZY | flags);
    return library && look_in(library);
  }

private:
  template <class F> static void find(void *library, const char *name, F &function) {
    function = reinterpret_cast<F>(dlsym(library, name));
  }
};

TensorRt tensorrt;

bool find_tensorrt() {
  constexpr const char *kNames[] = {"libnvinfer.so." MIMAMBA_TEXT(NV_TENSORRT_MAJOR),
                                    "libnvinfer_lean.so." MIMAMBA_TEXT(NV_TENSORRT_MAJOR),
                                    "libnvinfer_dispatch.so." MIMAMBA_TEXT(NV_TENSORRT_MAJOR)};
  for (const char *name : kNames)
    if (tensorrt.look_in_file(name, RTLD_NOLOAD))
      return true;
  // Linked statically into the host, or not loaded yet.
  return tensorrt.look_in(RTLD_DEFAULT) || tensorrt.look_in_file(kNames[0], 0);
}

class HostLogger final : public nvinfer1::ILoggerFinder {
  nvinfer1::ILogger *findLogger() override { return tensorrt.logger ? tensorrt.logger() : nullptr; }
};

__attribute__((constructor)) void register_creators() {
  static HostLogger host_logger;
  if (!find_tensorrt()) {
    std::fprintf(stderr, "[mimamba] no TensorRT %d in this process: the plugins are not registered\n",
                 NV_TENSORRT_MAJOR);
    return;
  }
  if (tensorrt.major() != NV_TENSORRT_MAJOR) {
    std::fprintf(
        stderr,
        "[mimamba] this library is for TensorRT %d, the process has TensorRT %d: the plugins are not "
        "registered\n",
        NV_TENSORRT_MAJOR, tensorrt.major());
    return;
  }
  nvinfer1::IPluginRegistry *const registry = tensorrt.registry();
  if (!registry)
    return;
  mimamba::set_logger_finder(&host_logger);
  int32_t count = 0;
  mimamba::CreatorInterface *const *const creators = mimamba::creators(count);
  // False for a creator that is there already, which is as good: one of this name and version serves.
  for (int32_t i = 0; i < count; ++i)
    registry->registerCreator(*creators[i], mimamba::kNamespace);
}

} // namespace
