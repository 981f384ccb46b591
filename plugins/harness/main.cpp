// Drives a plugin library as TensorRT would, with TensorRT's public headers alone.
#include "options.h"
#include "plugin.h"

int main(int count, char **words) {
  using namespace harness;
  return run_main(count, words, "mimamba_harness", "LIBRARY", [](Checks &checks, const char *path) {
    std::printf("TensorRT headers %d.%d.%d\n", NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH);
    const Library library(path);
    check_creators(checks, library);
    check_refusals(checks, library);
    check_shapes(checks, library);
    check_types(checks, library);
    check_formats(checks, library);
    check_lives(checks, library);
    const std::unique_ptr<Ops> ops = plugin_ops(library);
    check_scan(checks, *ops);
    check_mstb(checks, *ops);
  });
}
