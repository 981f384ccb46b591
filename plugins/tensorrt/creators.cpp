#include "creators.h"

#include <atomic>
#include <cstdio>

namespace mimamba {
namespace {
std::atomic<nvinfer1::ILoggerFinder *> logger_finder{nullptr};
} // namespace

void set_logger_finder(nvinfer1::ILoggerFinder *finder) noexcept { logger_finder = finder; }

void log_error(const char *text) noexcept {
  nvinfer1::ILogger *logger = nullptr;
  try { // findLogger() is not noexcept, and nothing may leave a plugin as an exception
    if (nvinfer1::ILoggerFinder *finder = logger_finder)
      logger = finder->findLogger();
  } catch (...) {
  }
  if (logger)
    logger->log(nvinfer1::ILogger::Severity::kERROR, text);
  else
    std::fprintf(stderr, "[mimamba] %s\n", text);
}

std::optional<Dtype> dtype_of(nvinfer1::DataType type) noexcept {
  switch (type) {
  case nvinfer1::DataType::kFLOAT:
    return Dtype::kFloat32;
  case nvinfer1::DataType::kHALF:
    return Dtype::kFloat16;
  case nvinfer1::DataType::kBF16:
    return Dtype::kBFloat16;
  default:
    return std::nullopt;
  }
}

// The ONNX parser hands an INT over as one kINT32; Python callers easily make a kINT64.
bool read_field(const nvinfer1::PluginField &field, int32_t *value) noexcept {
  if (field.type == nvinfer1::PluginFieldType::kINT32) {
    std::memcpy(value, field.data, sizeof *value);
    return true;
  }
  if (field.type == nvinfer1::PluginFieldType::kINT64) {
    int64_t wide;
    std::memcpy(&wide, field.data, sizeof wide);
    *value = static_cast<int32_t>(wide);
    return *value == wide;
  }
  return false;
}

CreatorInterface *const *creators(int32_t &count) noexcept {
  static Creator<ScanOp> scan;
  static Creator<MstbOp> mstb;
  static CreatorInterface *const all[] = {&scan, &mstb};
  count = 2;
  return all;
}

} // namespace mimamba
