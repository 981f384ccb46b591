// cvt: between the numeric types.
#include <cmath>
#include <limits>

#include "operations.h"

namespace ptx {
namespace {

// Half precision in integers and floats, without the host's instructions for it.
float from_half(uint16_t h) {
  const float magnitude = bits_as<float>((h & 0x7fffu) << 13) * 0x1p112f;
  const uint32_t bits = bits_of(magnitude) | (h & 0x7c00u) / 0x7c00u * 0x7f800000u;
  return bits_as<float>(bits | (h & 0x8000u) << 16);
}

uint16_t to_half(float x) {
  const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u)
    return 0x7fff;
  const uint32_t sign = bits >> 16 & 0x8000u;
  if (magnitude >= 0x477ff000u) // 65520 and above
    return static_cast<uint16_t>(sign | 0x7c00u);
  if (magnitude < 0x38800000u) // below 2^-14: steps of 2^-24; the sum rounds to even
    return static_cast<uint16_t>(sign | (bits_of(bits_as<float>(magnitude) + 0.5f) - bits_of(0.5f)));
  const uint32_t even = magnitude >> 13 & 1;
  return static_cast<uint16_t>(sign | ((magnitude - 0x38000000u + 0xfffu + even) >> 13));
}

uint16_t to_half_towards_zero(float x) {
  const uint16_t nearest = to_half(x);
  return std::fabs(from_half(nearest)) > std::fabs(x) ? static_cast<uint16_t>(nearest - 1) : nearest;
}

uint16_t to_bfloat(float x) {
  const uint32_t bits = bits_of(x);
  if ((bits & 0x7fffffffu) > 0x7f800000u)
    return 0x7fff;
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

float from_bfloat(uint16_t b) { return bits_as<float>(static_cast<uint32_t>(b) << 16); }

uint32_t pair(uint16_t high, uint16_t low) { return static_cast<uint32_t>(high) << 16 | low; }

// Of a number that is whole already: saturates, no number gives 0 (32 bits) or the lowest (64).
template <class T, class F> T saturated(F x) {
  if (x != x)
    return sizeof(T) == 8 ? static_cast<T>(0x8000000000000000ull) : T{0};
  const double v = static_cast<double>(x);
  if (v <= static_cast<double>(std::numeric_limits<T>::min()))
    return std::numeric_limits<T>::min();
  if (v >= static_cast<double>(std::numeric_limits<T>::max()))
    return std::numeric_limits<T>::max();
  return static_cast<T>(v);
}

template <class D, class S> void integer(Operations &all, const std::string &to, const std::string &from) {
  add(all, "cvt." + to + "." + from, [](S a) -> D { return static_cast<D>(a); });
}

template <class T, class F>
void integer_and_float(Operations &all, const std::string &type, const std::string &real) {
  add(all, "cvt.rn." + real + "." + type, [](T a) -> F { return static_cast<F>(a); });
  const std::string end = "." + type + "." + real;
  add(all, "cvt.rzi" + end, [](F a) -> T { return saturated<T>(std::trunc(a)); });
  add(all, "cvt.rni" + end, [](F a) -> T { return saturated<T>(std::nearbyint(a)); });
  add(all, "cvt.rmi" + end, [](F a) -> T { return saturated<T>(std::floor(a)); });
  add(all, "cvt.rpi" + end, [](F a) -> T { return saturated<T>(std::ceil(a)); });
}

template <class S> void from_integer(Operations &all, const std::string &from) {
  integer<int8_t, S>(all, "s8", from), integer<uint8_t, S>(all, "u8", from);
  integer<int16_t, S>(all, "s16", from), integer<uint16_t, S>(all, "u16", from);
  integer<int32_t, S>(all, "s32", from), integer<uint32_t, S>(all, "u32", from);
  integer<int64_t, S>(all, "s64", from), integer<uint64_t, S>(all, "u64", from);
  if constexpr (sizeof(S) > 1) {
    integer_and_float<S, float>(all, from, "f32");
    integer_and_float<S, double>(all, from, "f64");
  }
}

void floats(Operations &all) {
  add(all, "cvt.sat.f32.f32", [](float a) -> float { return a > 0.0f ? (a < 1.0f ? a : 1.0f) : 0.0f; });
  add(all, "cvt.rzi.f32.f32", [](float a) -> float { return std::trunc(a); });
  add(all, "cvt.rni.f32.f32", [](float a) -> float { return std::nearbyint(a); });
  add(all, "cvt.rmi.f32.f32", [](float a) -> float { return std::floor(a); });
  add(all, "cvt.rpi.f32.f32", [](float a) -> float { return std::ceil(a); });
  add(all, "cvt.rzi.f64.f64", [](double a) -> double { return std::trunc(a); });
  add(all, "cvt.rni.f64.f64", [](double a) -> double { return std::nearbyint(a); });
  add(all, "cvt.rmi.f64.f64", [](double a) -> double { return std::floor(a); });
  add(all, "cvt.rpi.f64.f64", [](double a) -> double { return std::ceil(a); });
  add(all, "cvt.f64.f32", [](float a) -> double { return a; });
  add(all, "cvt.rn.f32.f64", [](double a) -> float { return static_cast<float>(a); });
}

void halves(Operations &all) {
  add(all, "cvt.f32.f16", [](uint16_t a) -> float { return from_half(a); });
  add(all, "cvt.rn.f16.f32", [](float a) -> uint16_t { return to_half(a); });
  add(all, "cvt.rz.f16.f32", [](float a) -> uint16_t { return to_half_towards_zero(a); });
  add(all, "cvt.rn.f16x2.f32", [](float a, float b) -> uint32_t { return pair(to_half(a), to_half(b)); });
  add(all, "cvt.f32.bf16", [](uint16_t a) -> float { return from_bfloat(a); });
  add(all, "cvt.rn.bf16.f32", [](float a) -> uint16_t { return to_bfloat(a); });
  add(all, "cvt.rn.bf16x2.f32",
      [](float a, float b) -> uint32_t { return pair(to_bfloat(a), to_bfloat(b)); });
}

} // namespace

void add_conversions(Operations &all) {
  from_integer<int8_t>(all, "s8"), from_integer<uint8_t>(all, "u8");
  from_integer<int16_t>(all, "s16"), from_integer<uint16_t>(all, "u16");
  from_integer<int32_t>(all, "s32"), from_integer<uint32_t>(all, "u32");
  from_integer<int64_t>(all, "s64"), from_integer<uint64_t>(all, "u64");
  floats(all);
  halves(all);
}

const Operation *find_operation(const std::string &name) {
  static const Operations &all = []() -> Operations & {
    auto *made = new Operations;
    add_integer_operations(*made);
    add_float_operations(*made);
    add_double_operations(*made);
    add_approximations(*made);
    add_conversions(*made);
    return *made;
  }();
  const auto found = all.find(name);
  return found == all.end() ? nullptr : &found->second;
}

} // namespace ptx
