// Counts what holds and what does not: one line a group of checks, the failures of it before.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace harness {

enum class Extent { kSmall, kDefault, kFull };

// What is tested is so broken that nothing more can be asked of it.
struct Broken {
  const char *what;
};

class Checks {
public:
  Checks(Extent extent, uint64_t seed) : extent_(extent), random_(seed) {}

  Extent extent() const { return extent_; }
  std::mt19937_64 &random() { return random_; }

  // Checks belong to this group until the next one begins.
  void group(const std::string &name);

  // Returns `holds`. What does not is printed, the first ten of a group.
  bool expect(bool holds, const std::string &what);

  // How far an error went of what is allowed, and how many inputs were passed over: shown in the group's
  // line.
  void error(double share);
  void near_tie() { ++near_ties_; }

  // The group cannot be checked on this machine: its line says why, and it counts for nothing.
  void pass_over(const std::string &why);

  // Prints the last group and the count. Returns the exit status: 0 only if something was checked and all
  // holds.
  int finish();

private:
  void close();

  Extent extent_;
  std::mt19937_64 random_;
  std::string group_;
  int64_t passed_ = 0, failed_ = 0, near_ties_ = 0, all_passed_ = 0, all_failed_ = 0;
  double worst_ = -1.0;
};

} // namespace harness
