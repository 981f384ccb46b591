#include "checks.h"

#include <algorithm>
#include <cstdio>

namespace harness {

void Checks::group(const std::string &name) {
  close();
  group_ = name;
}

bool Checks::expect(bool holds, const std::string &what) {
  if (holds) {
    ++passed_;
    return true;
  }
  if (++failed_ <= 10)
    std::printf("  %s: %s\n", group_.c_str(), what.c_str());
  return false;
}

void Checks::error(double share) { worst_ = std::max(worst_, share); }

void Checks::pass_over(const std::string &why) {
  std::printf("%-6s  %s: %s\n", "-", group_.c_str(), why.c_str());
  group_.clear();
}

int Checks::finish() {
  close();
  std::printf("%lld checks passed, %lld failed\n", static_cast<long long>(all_passed_),
              static_cast<long long>(all_failed_));
  return all_failed_ == 0 && all_passed_ > 0 ? 0 : 1;
}

void Checks::close() {
  if (group_.empty())
    return;
  // A group that checked nothing says nothing: that is a fault of the harness.
  if (passed_ + failed_ == 0)
    expect(false, "nothing was checked");
  std::printf("%-6s  %s: %lld checks", failed_ ? "FAILED" : "ok", group_.c_str(),
              static_cast<long long>(passed_ + failed_));
  if (failed_)
    std::printf(", %lld failed", static_cast<long long>(failed_));
  if (worst_ >= 0.0)
    std::printf("; largest error %.2g of what is allowed", worst_);
  if (near_ties_)
    std::printf("; %lld inputs passed over: near-ties", static_cast<long long>(near_ties_));
  std::printf("\n");
  std::fflush(stdout);
  all_passed_ += passed_;
  all_failed_ += failed_;
  passed_ = failed_ = near_ties_ = 0;
  worst_ = -1.0;
  group_.clear();
}

} // namespace harness
