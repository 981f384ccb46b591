// What may be run: the manifest beside a plan (MODEL.plan.json) and what is checked before a byte of the plan
// is deserialised. A plan is code that TensorRT executes, so its bytes must be the ones that the manifest
// names.
//
// SHA-256 is OpenSSL's: it is maintained, uses the SHA instructions of ARMv8 and x86 (a plan has tens of
// megabytes) and every JetPack carries it. JSON is nlohmann's (MIT, Debian's nlohmann-json3-dev).
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>
#include <openssl/evp.h>

namespace mimamba {

// An error that a user can meet: what happened, what was found, what would have been right, what to do.
class Fault : public std::runtime_error {
public:
  explicit Fault(std::string const &what, std::string const &got = "", std::string const &expected = "",
                 std::string const &todo = "")
      : std::runtime_error(what + line("got:      ", got) + line("expected: ", expected) +
                           line("do this:  ", todo)) {}

private:
  static std::string line(char const *name, std::string const &text) {
    return text.empty() ? "" : std::string("\n  ") + name + text;
  }
};

inline std::vector<char> readFile(std::filesystem::path const &path, std::string const &todo) {
  std::ifstream file(path, std::ios::binary);
  if (!std::filesystem::is_regular_file(path) || !file)
    throw Fault(path.string() + " cannot be read", "", "a file that this user may read", todo);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline std::string sha256(std::vector<char> const &bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) != 1)
    throw Fault("OpenSSL cannot compute SHA-256", "", "",
                "check the machine's OpenSSL (a policy may forbid it)");
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += "0123456789abcdef"[digest[i] >> 4];
    text += "0123456789abcdef"[digest[i] & 15];
  }
  return text;
}

// The part of a plan's manifest that a consumer needs. Written by `mimamba-edge build`.
struct Manifest {
  std::string planSha256, pluginSha256;
  std::string tensorrt; // what built the plan, "10.3.0" or longer; a plan runs in that version only
  int sm = 0;           // compute capability times ten of the device it was built on
  int multiprocessors = 0;
  std::map<std::string, int> ops; // custom op -> version
  std::vector<std::string> channels, classes;
  int64_t samples = 0, hop = 0; // of a window; between the starts of two windows
  double sfreq = 0, temperature = 1;
  std::string scaling;

  int64_t values() const { return static_cast<int64_t>(channels.size()) * samples; }

  static Manifest read(std::filesystem::path const &plan) {
    std::filesystem::path const path = plan.string() + ".json";
    auto const text = readFile(path, "copy MODEL.plan.json along with MODEL.plan");
    try {
      auto const json = nlohmann::json::parse(text.begin(), text.end());
      auto const &contract = json.at("contract");
      auto const &engine = json.at("engine");
      Manifest m;
      json.at("sha256").get_to(m.planSha256);
      json.at("ops").get_to(m.ops);
      engine.at("plugin_sha256").get_to(m.pluginSha256);
      engine.at("tensorrt").get_to(m.tensorrt);
      engine.at("sm").get_to(m.sm);
      engine.at("sm_count").get_to(m.multiprocessors);
      contract.at("ch_names").get_to(m.channels);
      contract.at("class_names").get_to(m.classes);
      contract.at("n_times").get_to(m.samples);
      contract.at("hop").get_to(m.hop);
      contract.at("sfreq").get_to(m.sfreq);
      contract.at("temperature").get_to(m.temperature);
      contract.at("scaling").at("kind").get_to(m.scaling);
      if (m.channels.empty() || m.classes.size() < 2 || m.samples < 1 || m.hop < 1 || !(m.temperature > 0))
        throw Fault("the contract in " + path.string() + " describes no model", "", "",
                    "build the plan again");
      return m;
    } catch (nlohmann::json::exception const &error) {
      throw Fault("the manifest " + path.string() + " is damaged or was not written by `mimamba-edge build`",
                  error.what(), "", "copy it again, or build the plan again");
    }
  }
};

inline void checkHash(std::filesystem::path const &path, std::vector<char> const &bytes,
                      std::string const &wanted) {
  std::string const found = sha256(bytes);
  if (found != wanted)
    throw Fault(path.string() + " is not the file that the plan's manifest names", "sha256 " + found,
                "sha256 " + wanted, "copy plan, manifest and plugin from one build, or build again");
}

} // namespace mimamba
