#include "values.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace harness {
namespace {

double value_of(uint16_t bits, Type type) {
  const int exponent_bits = type == Type::kFloat16 ? 5 : 8, mantissa_bits = 15 - exponent_bits;
  const int exponent = (bits & 0x7fff) >> mantissa_bits, mantissa = bits & ((1 << mantissa_bits) - 1);
  const int bias = (1 << (exponent_bits - 1)) - 1;
  double magnitude;
  if (exponent == (1 << exponent_bits) - 1)
    magnitude = mantissa ? std::nan("") : std::numeric_limits<double>::infinity();
  else if (exponent == 0)
    magnitude = std::ldexp(mantissa, 1 - bias - mantissa_bits);
  else
    magnitude = std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
  return bits & 0x8000 ? -magnitude : magnitude;
}

// The values that are not negative, by their bits; computed once, since they are looked up for every number.
const std::vector<double> &magnitudes(Type type) {
  const auto all = [](Type of) {
    std::vector<double> values(0x8000);
    for (size_t bits = 0; bits < values.size(); ++bits)
      values[bits] = value_of(static_cast<uint16_t>(bits), of);
    return values;
  };
  static const std::vector<double> half = all(Type::kFloat16), brain = all(Type::kBFloat16);
  return type == Type::kFloat16 ? half : brain;
}

// The stored values that are not negative grow with their bits: the nearest is found by halving.
uint16_t nearest(double value, Type type) {
  const std::vector<double> &values = magnitudes(type);
  const double magnitude = std::fabs(value);
  size_t low = 0, high = type == Type::kFloat16 ? 0x7bff : 0x7f7f;
  while (high - low > 1) {
    const size_t middle = (low + high) / 2;
    (values[middle] <= magnitude ? low : high) = middle;
  }
  const double below = magnitude - values[low], above = values[high] - magnitude;
  const size_t bits = below < above || (below == above && low % 2 == 0) ? low : high;
  return static_cast<uint16_t>(bits | (std::signbit(value) ? 0x8000 : 0));
}

} // namespace

int64_t volume(const Dims &dims) {
  int64_t size = 1;
  for (int64_t d : dims)
    size *= d;
  return size;
}

std::string text(const Dims &dims) {
  std::string all = "(";
  for (size_t i = 0; i < dims.size(); ++i)
    all += (i ? ", " : "") + std::to_string(dims[i]);
  return all + ")";
}

std::vector<uint8_t> store(const std::vector<double> &values, Type type) {
  std::vector<uint8_t> bytes(values.size() * size_of(type));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == Type::kFloat32) {
      const float value = static_cast<float>(values[i]);
      std::memcpy(&bytes[4 * i], &value, 4);
    } else {
      const uint16_t value = nearest(values[i], type);
      std::memcpy(&bytes[2 * i], &value, 2);
    }
  }
  return bytes;
}

std::vector<double> load(const std::vector<uint8_t> &bytes, Type type) {
  std::vector<double> values(bytes.size() / size_of(type));
  for (size_t i = 0; i < values.size(); ++i) {
    if (type == Type::kFloat32) {
      float value;
      std::memcpy(&value, &bytes[4 * i], 4);
      values[i] = value;
    } else {
      uint16_t value;
      std::memcpy(&value, &bytes[2 * i], 2);
      values[i] = value_of(value, type);
    }
  }
  return values;
}

double arithmetic(int64_t steps) {
  return 1e-5 * std::sqrt(std::max(1.0, static_cast<double>(steps) / 128.0));
}

double error_share(const std::vector<double> &got, const std::vector<double> &wanted, Type type,
                   double arithmetic, double largest_term) {
  double largest = largest_term, share = 0.0;
  for (double w : wanted)
    largest = std::max(largest, std::fabs(w));
  for (size_t i = 0; i < wanted.size(); ++i) {
    // Below its normal numbers float16 has steps of 2^-24.
    const double rounding = half_step(type) * std::fabs(wanted[i]) + (type == Type::kFloat16 ? 0x1p-25 : 0.0);
    const double allowed = rounding + arithmetic * largest, error = std::fabs(got[i] - wanted[i]);
    if (!std::isfinite(got[i]))
      return std::numeric_limits<double>::infinity();
    if (error > 0.0)
      share = std::max(share, error / allowed);
  }
  return got.size() == wanted.size() ? share : std::numeric_limits<double>::infinity();
}

} // namespace harness
