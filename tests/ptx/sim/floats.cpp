// Floating-point instructions. IEEE arithmetic of the host is that of the device: compiled without
// contraction.
#include <cfenv>
#include <cmath>

#include "operations.h"

namespace ptx {
namespace {

float flushed(float x) {
  return (bits_of(x) & 0x7f800000u) == 0 ? bits_as<float>(bits_of(x) & 0x80000000u) : x;
}

// The other operand where one is no number; -0 is less than +0.
template <class T> T least(T a, T b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) ? b : a;
  return a == b ? (std::signbit(a) ? a : b) : a < b ? a : b;
}
template <class T> T most(T a, T b) {
  if (std::isnan(a) || std::isnan(b))
    return std::isnan(a) ? b : a;
  return a == b ? (std::signbit(a) ? b : a) : a > b ? a : b;
}

template <class T> void comparisons(Operations &all, const std::string &type) {
  const auto named = [&](const char *op) { return "setp." + (op + ("." + type)); };
  add(all, named("eq"), [](T a, T b) { return a == b; });
  add(all, named("ne"), [](T a, T b) { return a < b || a > b; });
  add(all, named("lt"), [](T a, T b) { return a < b; });
  add(all, named("le"), [](T a, T b) { return a <= b; });
  add(all, named("gt"), [](T a, T b) { return a > b; });
  add(all, named("ge"), [](T a, T b) { return a >= b; });
  // With a u: also true where one is no number.
  add(all, named("equ"), [](T a, T b) { return !(a < b || a > b); });
  add(all, named("neu"), [](T a, T b) { return !(a == b); });
  add(all, named("ltu"), [](T a, T b) { return !(a >= b); });
  add(all, named("leu"), [](T a, T b) { return !(a > b); });
  add(all, named("gtu"), [](T a, T b) { return !(a <= b); });
  add(all, named("geu"), [](T a, T b) { return !(a < b); });
  add(all, named("nan"), [](T a, T b) { return a != a || b != b; });
  add(all, named("num"), [](T a, T b) { return a == a && b == b; });
}

template <class T> void arithmetic(Operations &all, const std::string &type) {
  for (const std::string round : {"", ".rn"}) {
    const auto named = [&](const char *op) { return op + round + "." + type; };
    add(all, named("add"), [](T a, T b) -> T { return a + b; });
    add(all, named("sub"), [](T a, T b) -> T { return a - b; });
    add(all, named("mul"), [](T a, T b) -> T { return a * b; });
    add(all, named("fma"), [](T a, T b, T c) -> T { return std::fma(a, b, c); });
    add(all, named("mad"), [](T a, T b, T c) -> T { return std::fma(a, b, c); });
    add(all, named("div"), [](T a, T b) -> T { return a / b; });
    add(all, named("rcp"), [](T a) -> T { return 1 / a; });
    add(all, named("sqrt"), [](T a) -> T { return std::sqrt(a); });
  }
  const auto named = [&](const char *op) { return op + ("." + type); };
  add(all, named("min"), [](T a, T b) -> T { return least(a, b); });
  add(all, named("max"), [](T a, T b) -> T { return most(a, b); });
  add(all, named("min.NaN"), [](T a, T b) -> T { return a != a ? a : b != b ? b : least(a, b); });
  add(all, named("max.NaN"), [](T a, T b) -> T { return a != a ? a : b != b ? b : most(a, b); });
  add(all, named("neg"), [](T a) -> T { return -a; });
  add(all, named("abs"), [](T a) -> T { return std::fabs(a); });
  add(all, named("copysign"), [](T a, T b) -> T { return std::copysign(b, a); });
  add(all, named("mov"), [](T a) -> T { return a; });
  add(all, named("selp"), [](T a, T b, bool p) -> T { return p ? a : b; });
  add(all, "testp.finite." + type, [](T a) { return static_cast<bool>(std::isfinite(a)); });
  add(all, "testp.infinite." + type, [](T a) { return static_cast<bool>(std::isinf(a)); });
  add(all, "testp.notanumber." + type, [](T a) { return a != a; });
}

void flushing(Operations &all) {
  for (const std::string round : {"", ".rn"}) {
    const auto named = [&](const char *op) { return op + round + ".ftz.f32"; };
    add(all, named("add"), [](float a, float b) -> float { return flushed(flushed(a) + flushed(b)); });
    add(all, named("sub"), [](float a, float b) -> float { return flushed(flushed(a) - flushed(b)); });
    add(all, named("mul"), [](float a, float b) -> float { return flushed(flushed(a) * flushed(b)); });
    add(all, named("fma"), [](float a, float b, float c) -> float {
      return flushed(std::fma(flushed(a), flushed(b), flushed(c)));
    });
  }
}

// One operation under another rounding: rare, a few of expf and its like.
template <int mode, class F> float rounded(F &&f) {
  const int before = std::fegetround();
  std::fesetround(mode);
  volatile float result = f();
  std::fesetround(before);
  return result;
}

template <int mode> void directed(Operations &all, const std::string &round) {
  const auto named = [&](const char *op) { return op + ("." + round) + ".f32"; };
  // volatile: nothing is computed before the rounding is set, or after.
  add(all, named("add"), [](float a, float b) -> float {
    volatile float x = a, y = b;
    return rounded<mode>([&] { return x + y; });
  });
  add(all, named("sub"), [](float a, float b) -> float {
    volatile float x = a, y = b;
    return rounded<mode>([&] { return x - y; });
  });
  add(all, named("mul"), [](float a, float b) -> float {
    volatile float x = a, y = b;
    return rounded<mode>([&] { return x * y; });
  });
  add(all, named("fma"), [](float a, float b, float c) -> float {
    volatile float x = a, y = b, z = c;
    return rounded<mode>([&] { return std::fma(x, y, z); });
  });
}

} // namespace

void add_float_operations(Operations &all) {
  arithmetic<float>(all, "f32");
  comparisons<float>(all, "f32");
  flushing(all);
  directed<FE_TOWARDZERO>(all, "rz");
  directed<FE_DOWNWARD>(all, "rm");
  directed<FE_UPWARD>(all, "rp");
}

void add_double_operations(Operations &all) {
  arithmetic<double>(all, "f64");
  comparisons<double>(all, "f64");
}

} // namespace ptx
