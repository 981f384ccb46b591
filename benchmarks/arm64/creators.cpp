// Prints the creators of a plugin library: name, version, namespace and fields. Nothing of TensorRT runs.
#include <NvInferRuntime.h>
#include <cstdio>
#include <dlfcn.h>

int main(int, char **argv) {
  void *const library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return std::fprintf(stderr, "%s\n", dlerror()), 1;
  using Creators = nvinfer1::IPluginCreatorInterface *const *(*)(int32_t &);
  const auto creators = reinterpret_cast<Creators>(dlsym(library, "getCreators"));
  if (!creators)
    return std::fprintf(stderr, "%s\n", dlerror()), 1;
  int32_t count = 0;
  auto *const *const found = creators(count);
  for (int32_t i = 0; i < count; ++i) {
    auto *const creator = static_cast<nvinfer1::IPluginCreatorV3One *>(found[i]);
    std::printf("%s::%s %s:", creator->getPluginNamespace(), creator->getPluginName(), creator->getPluginVersion());
    const nvinfer1::PluginFieldCollection *const fields = creator->getFieldNames();
    for (int32_t j = 0; j < fields->nbFields; ++j)
      std::printf(" %s", fields->fields[j].name);
    std::printf("\n");
  }
}
