// Instructions that compute a value lane by lane: each is a C++ function of one lane.
#pragma once

#include <cstring>
#include <map>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "machine.h"

namespace ptx {

// How the decoder calls it: bytes of the result and of each operand; kPredicate for a predicate.
struct Operation {
  Execute execute;
  uint8_t out;
  std::vector<uint8_t> in;
};

const Operation *find_operation(const std::string &name); // null: not known

using Operations = std::map<std::string, Operation>;
void add_integer_operations(Operations &);
void add_float_operations(Operations &);
void add_double_operations(Operations &);
void add_approximations(Operations &);
void add_conversions(Operations &);

template <class T> T bits_as(uint32_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

inline uint32_t bits_of(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

namespace detail {

template <class T> struct Input {
  const T *at;
  Input(Warp &w, const Operand &o) : at(w.at<T>(o)) {}
  T operator[](int lane) const { return at[lane]; }
};

template <> struct Input<bool> {
  Mask bits;
  Input(Warp &w, const Operand &o) : bits(*w.at<Mask>(o)) {}
  bool operator[](int lane) const { return bits >> lane & 1; }
};

// The function of an instruction. It captures nothing: the compiler calls it without looking here.
template <class F> struct Held {
  static const F *function;
};
template <class F> const F *Held<F>::function = nullptr;

template <class F, class D, class... S> struct Lanes {
  template <size_t... I> static void run(Warp &w, const Instruction &i, Mask m, std::index_sequence<I...>) {
    const F &f = *Held<F>::function;
    const std::tuple<Input<S>...> in{Input<S>(w, i.in[I])...};
    (void)in;
    if constexpr (std::is_same_v<D, bool>) {
      Mask bits = 0;
      for (int l = 0; l < kLanes; ++l)
        bits |= static_cast<Mask>(f(std::get<I>(in)[l]...)) << l;
      Mask &out = *w.at<Mask>(i.out[0]);
      out = (out & ~m) | (bits & m);
    } else if (m == kAllLanes) {
      D *out = w.at<D>(i.out[0]);
#pragma GCC ivdep
      for (int l = 0; l < kLanes; ++l)
        out[l] = f(std::get<I>(in)[l]...);
    } else {
      D *out = w.at<D>(i.out[0]);
      for (Mask rest = m; rest; rest &= rest - 1) {
        const int l = __builtin_ctz(rest);
        out[l] = f(std::get<I>(in)[l]...);
      }
    }
  }
  static void execute(Warp &w, const Instruction &i, Mask m) {
    run(w, i, m, std::index_sequence_for<S...>{});
  }
};

template <class T> constexpr uint8_t bytes_of = std::is_same_v<T, bool> ? kPredicate : sizeof(T);

template <class F, class D, class... S>
void add(Operations &all, const std::string &name, const F &f, D (F::*)(S...) const) {
  Held<F>::function = new F(f);
  all[name] = {Lanes<F, D, S...>::execute, bytes_of<D>, {bytes_of<S>...}};
}

} // namespace detail

// add(all, "add.u32", [](uint32_t a, uint32_t b) { return a + b; }): the types say which registers it takes;
// bool is a predicate.
template <class F> void add(Operations &all, const std::string &name, const F &f) {
  detail::add(all, name, f, &F::operator());
}

} // namespace ptx
