// mimamba_consumer: decisions from a TensorRT plan without Python.
//
//     mimamba_consumer PLUGIN.so MODEL.plan [WINDOWS.f32 | -]
//
// Reads windows from a file or from standard input and prints one JSON line for each.
//
// A window is n_chans x n_times float32, little-endian, channel by channel, nothing between two windows. It
// must have come through the signal path that the contract in MODEL.plan.json describes: channels in the
// order of ch_names, microvolts, causal filters with carried state, resampled to sfreq, a window every hop
// samples, scaled. The model was trained on nothing else; raw samples give answers too, and they mean
// nothing. `mimamba_edge/signal` is that path.
//
// Exit status: 0 done, 2 could not run.
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"
#include "manifest.h"

namespace {

using mimamba::Fault;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "windows are read as little-endian float32: swap them on this machine"
#endif

double millisecondsSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

double rounded(double value, double unit) { return std::round(value / unit) * unit; }

// False at the end of the input; a part of a window is an error.
bool readWindow(std::FILE *file, float *window, int64_t values, int64_t index) {
  size_t const wanted = static_cast<size_t>(values) * sizeof(float);
  size_t const got = std::fread(window, 1, wanted, file);
  if (got == 0 && !std::ferror(file))
    return false;
  std::string const name = "window " + std::to_string(index);
  if (got != wanted)
    throw Fault("the input ends within " + name, std::to_string(got) + " bytes of it",
                std::to_string(wanted) + " bytes",
                "check that the windows were made with this model's contract");
  for (int64_t i = 0; i < values; ++i)
    if (!std::isfinite(window[i]))
      throw Fault(name + " holds a value that is not finite", "value " + std::to_string(i),
                  "microvolts, scaled",
                  "leave out windows that the signal path calls invalid (gaps, railed or flat channels)");
  return true;
}

Json decision(float const *logits, mimamba::Manifest const &manifest) {
  size_t const count = manifest.classes.size();
  size_t const best = static_cast<size_t>(std::max_element(logits, logits + count) - logits);
  std::vector<double> p(count);
  double sum = 0;
  for (size_t i = 0; i < count; ++i) // the largest exponent is 0: nothing overflows
    sum += p[i] = std::exp((static_cast<double>(logits[i]) - logits[best]) / manifest.temperature);
  Json probs;
  for (size_t i = 0; i < count; ++i)
    probs[manifest.classes[i]] = rounded(p[i] / sum, 1e-6);
  return {{"label", manifest.classes[best]}, {"probs", probs}};
}

// The newest latencies, enough for quantiles, in memory that does not grow.
class Latencies {
public:
  void add(double milliseconds) { kept_[count_++ % kept_.size()] = milliseconds; }
  std::string summary() const {
    if (count_ == 0)
      return "no windows";
    std::vector<double> sorted(kept_.begin(),
                               kept_.begin() + static_cast<std::ptrdiff_t>(std::min(count_, kept_.size())));
    std::sort(sorted.begin(), sorted.end());
    auto const at = [&](double q) {
      return sorted[static_cast<size_t>(q * static_cast<double>(sorted.size() - 1) + 0.5)];
    };
    char text[160];
    std::snprintf(text, sizeof text, "%zu windows, latency p50 %.4f ms, p99 %.4f ms, max %.4f ms", count_,
                  at(0.5), at(0.99), sorted.back());
    return text;
  }

private:
  std::vector<double> kept_ = std::vector<double>(100000);
  size_t count_ = 0;
};

void decide(mimamba::Engine &engine, mimamba::Manifest const &manifest, std::FILE *file) {
  Latencies latencies;
  for (int64_t index = 0; readWindow(file, engine.input(), manifest.values(), index); ++index) {
    auto const start = Clock::now();
    engine.run();
    double const latency = millisecondsSince(start);
    latencies.add(latency);
    for (size_t i = 0; i < manifest.classes.size(); ++i)
      if (!std::isfinite(engine.output()[i]))
        throw Fault("the engine gave logits that are not finite for window " + std::to_string(index), "", "",
                    "run `mimamba-edge parity` on the plan");
    Json line{{"index", index}};
    line.update(decision(engine.output(), manifest));
    line["latency_ms"] = rounded(latency, 1e-4);
    if (!(std::cout << line.dump() << std::endl)) // flushed: who reads it decides now
      throw Fault("the decisions cannot be written to standard output");
  }
  std::cerr << latencies.summary() << (engine.graph() ? ", CUDA graph" : ", no CUDA graph") << "\n";
}

int run(std::vector<std::string> const &arguments) {
  char const *usage = "usage: mimamba_consumer PLUGIN.so MODEL.plan [WINDOWS.f32 | -]";
  if (arguments.size() == 1 && (arguments[0] == "-h" || arguments[0] == "--help")) {
    std::cout << usage << "\n";
    return 0;
  }
  if (arguments.size() < 2 || arguments.size() > 3)
    throw Fault(usage);
  auto const start = Clock::now();
  auto const manifest = mimamba::Manifest::read(arguments[1]);
  std::string const source = arguments.size() == 3 ? arguments[2] : "-";
  std::unique_ptr<std::FILE, mimamba::By<std::fclose>> opened;
  if (source != "-" && (opened.reset(std::fopen(source.c_str(), "rb")), !opened))
    throw Fault(source + " cannot be read", std::strerror(errno), "a file of windows", "check the path");
  mimamba::Engine engine(arguments[0], arguments[1], manifest);
  std::cerr << "ready after " << rounded(millisecondsSince(start), 1e-1) << " ms; windows of "
            << manifest.channels.size() << " x " << manifest.samples << " float32 at " << manifest.sfreq
            << " Hz, one every " << manifest.hop << " samples, scaling " << manifest.scaling << ", channels";
  for (auto const &name : manifest.channels)
    std::cerr << " " << name;
  std::cerr << "\n";
  decide(engine, manifest, opened ? opened.get() : stdin);
  return 0;
}

} // namespace

int main(int count, char **values) {
  try {
    return run({values + 1, values + count});
  } catch (std::exception const &error) {
    std::cerr << "mimamba_consumer: " << error.what() << "\n";
    return 2;
  }
}
