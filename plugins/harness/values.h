// Arrays of float64 whose values a storage type can hold, and the bytes that store them.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace harness {

enum class Type { kFloat32, kFloat16, kBFloat16 };
constexpr Type kTypes[] = {Type::kFloat32, Type::kFloat16, Type::kBFloat16};

inline const char *name(Type type) {
  return type == Type::kFloat32 ? "float32" : type == Type::kFloat16 ? "float16" : "bfloat16";
}
inline size_t size_of(Type type) { return type == Type::kFloat32 ? 4 : 2; }
// Half the distance between neighbours, relative to the value.
inline double half_step(Type type) {
  return type == Type::kFloat32 ? 0x1p-24 : type == Type::kFloat16 ? 0x1p-11 : 0x1p-8;
}

using Dims = std::vector<int64_t>;
int64_t volume(const Dims &dims);
std::string text(const Dims &dims);

struct Desc {
  Dims dims;
  Type type;
  size_t bytes() const { return static_cast<size_t>(volume(dims)) * size_of(type); }
};

struct Array {
  Desc desc;
  std::vector<double> v;
};

std::vector<uint8_t> store(const std::vector<double> &values, Type type);
std::vector<double> load(const std::vector<uint8_t> &bytes, Type type);

// `f` gives each value; it is rounded to the type.
template <class F> Array make(Dims dims, Type type, F &&f) {
  std::vector<double> values(static_cast<size_t>(volume(dims)));
  for (double &value : values)
    value = f();
  return {{std::move(dims), type}, load(store(values, type), type)};
}

// What is allowed for arithmetic in float32 where errors of `steps` dependent steps add up like a random
// walk, as a share of the largest value.
double arithmetic(int64_t steps);

// The largest error as a share of what is allowed: one rounding to the type, and `arithmetic` of the largest
// value, or of `largest_term` if the values are sums of larger numbers. Infinite where a value is not finite.
double error_share(const std::vector<double> &got, const std::vector<double> &wanted, Type type,
                   double arithmetic, double largest_term = 0.0);

} // namespace harness
