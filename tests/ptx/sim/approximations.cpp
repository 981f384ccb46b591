// The special-function instructions: right to the last bit, or as wrong as PTX allows.
//
// approx_error 1 moves each result by the whole error that the PTX manual allows, up or down by a hash of the
// argument, so that the same argument gives the same result; 2 always up, 3 always down.
#include <algorithm>
#include <cmath>

#include "operations.h"
#include "settings.h"

namespace ptx {
namespace {

int direction(float argument) {
  switch (settings().approx_error) {
  case 0:
    return 0;
  case 1:
    return (bits_of(argument) * 2654435761u) >> 20 & 1 ? 1 : -1;
  default:
    return settings().approx_error == 2 ? 1 : -1;
  }
}

bool normal(float y) { return std::fabs(y) > 0x1p-120f && std::fabs(y) < 0x1p126f; }

// Off by some units in the last place.
float off_by(float y, int ulps, float argument) {
  const int sign = direction(argument);
  if (sign == 0 || !normal(y))
    return y;
  return bits_as<float>(bits_of(y) + static_cast<uint32_t>(sign * ulps));
}

float off_absolutely(float y, float error, float argument) {
  return std::isfinite(y) ? y + static_cast<float>(direction(argument)) * error : y;
}

float flushed(float x) {
  return (bits_of(x) & 0x7f800000u) == 0 ? bits_as<float>(bits_of(x) & 0x80000000u) : x;
}

// Without a call, so that the lanes go together: 2^x for |x| up to 200, far within half a unit of a float.
double two_to(double x) {
  const double clamped = std::min(std::max(x, -200.0), 200.0);
  const double shifted = clamped + 0x1.8p52; // its last bits: the nearest whole number
  const double f = (clamped - (shifted - 0x1.8p52)) * 0.693147180559945309417;
  double p = 1.0 / 3628800;
  p = p * f + 1.0 / 362880;
  p = p * f + 1.0 / 40320;
  p = p * f + 1.0 / 5040;
  p = p * f + 1.0 / 720;
  p = p * f + 1.0 / 120;
  p = p * f + 1.0 / 24;
  p = p * f + 1.0 / 6;
  p = p * f + 0.5;
  p = p * f + 1.0;
  p = p * f + 1.0;
  int64_t whole;
  std::memcpy(&whole, &shifted, sizeof whole);
  int64_t scale = (whole + 1023) << 52;
  double factor;
  std::memcpy(&factor, &scale, sizeof factor);
  return p * factor;
}

float ex2(float x) {
  const float y = static_cast<float>(two_to(x));
  return x != x ? x : y;
}

// Whole powers are exact on the device.
float ex2_off(float x) { return direction(x) == 0 || x == std::nearbyint(x) ? ex2(x) : off_by(ex2(x), 2, x); }

float lg2_off(float x) {
  const float y = static_cast<float>(std::log2(static_cast<double>(x)));
  if (direction(x) == 0)
    return y;
  return x >= 0.5f && x <= 2.0f ? off_absolutely(y, 0x1p-22f, x) : off_by(y, 2, x);
}

} // namespace

void add_approximations(Operations &all) {
  add(all, "ex2.approx.f32", [](float x) -> float { return ex2_off(x); });
  add(all, "ex2.approx.ftz.f32", [](float x) -> float { return flushed(ex2_off(flushed(x))); });
  add(all, "rcp.approx.f32", [](float x) -> float { return off_by(1.0f / x, 1, x); });
  add(all, "rcp.approx.ftz.f32", [](float x) -> float { return flushed(off_by(1.0f / flushed(x), 1, x)); });
  add(all, "lg2.approx.f32", [](float x) -> float { return lg2_off(x); });
  add(all, "lg2.approx.ftz.f32", [](float x) -> float { return flushed(lg2_off(flushed(x))); });
  for (const std::string ftz : {"", ".ftz"}) {
    const std::string end = ".approx" + ftz + ".f32";
    add(all, "sqrt" + end, [](float x) -> float { return off_by(std::sqrt(x), 1, x); });
    add(all, "rsqrt" + end, [](float x) -> float {
      return off_by(static_cast<float>(1.0 / std::sqrt(static_cast<double>(x))), 2, x);
    });
    add(all, "sin" + end, [](float x) -> float {
      return off_absolutely(static_cast<float>(std::sin(static_cast<double>(x))), 0x1.6ap-21f, x);
    });
    add(all, "cos" + end, [](float x) -> float {
      return off_absolutely(static_cast<float>(std::cos(static_cast<double>(x))), 0x1.6ap-21f, x);
    });
    add(all, "tanh" + end, [](float x) -> float {
      const float y = static_cast<float>(std::tanh(static_cast<double>(x)));
      return y + static_cast<float>(direction(x)) * 0x1p-11f * y;
    });
    add(all, "div" + end, [](float a, float b) -> float { return off_by(a / b, 2, b); });
    add(all, "div.full" + ftz + ".f32", [](float a, float b) -> float { return off_by(a / b, 2, b); });
  }
}

} // namespace ptx
