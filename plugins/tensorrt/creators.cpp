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

CreatorInterface *const *creators(int32_t &count) noexcept {
  static Creator<ScanOp> scan;
  static Creator<MstbOp> mstb;
  static CreatorInterface *const all[] = {&scan, &mstb};
  count = 2;
  return all;
}

} // namespace mimamba
