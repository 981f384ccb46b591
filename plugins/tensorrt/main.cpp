// The two symbols that TensorRT looks up in a plugin library (samples/trtexec/README.md of NVIDIA/TensorRT,
// --dynamicPlugins). Nothing here calls into libnvinfer, so one build serves every TensorRT from 10 on.
#include "creators.h"

#define MIMAMBA_EXPORT extern "C" __attribute__((visibility("default")))

MIMAMBA_EXPORT mimamba::CreatorInterface *const *getCreators(int32_t &count) {
  return mimamba::creators(count);
}

MIMAMBA_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder *finder) { mimamba::set_logger_finder(finder); }
