// Integer, bitwise and predicate instructions. Overflow wraps: compiled with -fwrapv.
#include "operations.h"

namespace ptx {
namespace {

template <class T> void arithmetic(Operations &all, const std::string &type) {
  using U = std::make_unsigned_t<T>;
  constexpr bool is_signed = std::is_signed_v<T>;
  constexpr uint32_t bits = sizeof(T) * 8;
  const auto named = [&](const char *op) { return op + ("." + type); };
  // 64 bits of unsigned arithmetic, so that two uint16_t are not multiplied as int.
  const auto product = [](U a, U b) -> U { return static_cast<U>(static_cast<uint64_t>(a) * b); };
  add(all, named("add"), [](U a, U b) -> U { return static_cast<U>(a + b); });
  add(all, named("sub"), [](U a, U b) -> U { return static_cast<U>(a - b); });
  add(all, named("mul.lo"), product);
  add(all, named("mad.lo"),
      [](U a, U b, U c) -> U { return static_cast<U>(static_cast<uint64_t>(a) * b + c); });
  add(all, named("min"), [](T a, T b) -> T { return a < b ? a : b; });
  add(all, named("max"), [](T a, T b) -> T { return a > b ? a : b; });
  // The device gives all ones for a division by zero, and the dividend for its remainder.
  add(all, named("div"), [](T a, T b) -> T {
    if (b == 0)
      return static_cast<T>(~U{0});
    return is_signed && b == static_cast<T>(-1) ? static_cast<T>(U{0} - static_cast<U>(a))
                                                : static_cast<T>(a / b);
  });
  add(all, named("rem"), [](T a, T b) -> T {
    if (b == 0)
      return a;
    return is_signed && b == static_cast<T>(-1) ? T{0} : static_cast<T>(a % b);
  });
  add(all, named("shr"), [](T a, uint32_t by) -> T {
    return by >= bits ? static_cast<T>(is_signed && a < 0 ? -1 : 0) : static_cast<T>(a >> by);
  });
  if constexpr (is_signed) {
    add(all, named("neg"), [](U a) -> U { return static_cast<U>(U{0} - a); });
    add(all, named("abs"),
        [](T a) -> T { return static_cast<T>(a < 0 ? U{0} - static_cast<U>(a) : static_cast<U>(a)); });
  }
  add(all, named("mov"), [](U a) -> U { return a; });
  add(all, named("selp"), [](U a, U b, bool p) -> U { return p ? a : b; });
  add(all, named("setp.eq"), [](T a, T b) { return a == b; });
  add(all, named("setp.ne"), [](T a, T b) { return a != b; });
  add(all, named("setp.lt"), [](T a, T b) { return a < b; });
  add(all, named("setp.le"), [](T a, T b) { return a <= b; });
  add(all, named("setp.gt"), [](T a, T b) { return a > b; });
  add(all, named("setp.ge"), [](T a, T b) { return a >= b; });
  if constexpr (!is_signed) { // other names of the comparisons
    add(all, named("setp.lo"), [](T a, T b) { return a < b; });
    add(all, named("setp.ls"), [](T a, T b) { return a <= b; });
    add(all, named("setp.hi"), [](T a, T b) { return a > b; });
    add(all, named("setp.hs"), [](T a, T b) { return a >= b; });
  }
}

template <class U> void bitwise(Operations &all, const std::string &type) {
  constexpr uint32_t bits = sizeof(U) * 8;
  const auto named = [&](const char *op) { return op + ("." + type); };
  add(all, named("and"), [](U a, U b) -> U { return a & b; });
  add(all, named("or"), [](U a, U b) -> U { return a | b; });
  add(all, named("xor"), [](U a, U b) -> U { return a ^ b; });
  add(all, named("not"), [](U a) -> U { return static_cast<U>(~a); });
  add(all, named("cnot"), [](U a) -> U { return a == 0 ? 1 : 0; });
  add(all, named("shl"), [](U a, uint32_t by) -> U { return by >= bits ? U{0} : static_cast<U>(a << by); });
  add(all, named("shr"), [](U a, uint32_t by) -> U { return by >= bits ? U{0} : static_cast<U>(a >> by); });
  add(all, named("mov"), [](U a) -> U { return a; });
  add(all, named("selp"), [](U a, U b, bool p) -> U { return p ? a : b; });
  add(all, named("setp.eq"), [](U a, U b) { return a == b; });
  add(all, named("setp.ne"), [](U a, U b) { return a != b; });
}

template <class Narrow, class Wide> void widening(Operations &all, const std::string &type) {
  add(all, "mul.wide." + type,
      [](Narrow a, Narrow b) -> Wide { return static_cast<Wide>(a) * static_cast<Wide>(b); });
  add(all, "mad.wide." + type,
      [](Narrow a, Narrow b, Wide c) -> Wide { return static_cast<Wide>(a) * static_cast<Wide>(b) + c; });
}

template <class T, class Wide> void high(Operations &all, const std::string &type) {
  constexpr int bits = sizeof(T) * 8;
  add(all, "mul.hi." + type,
      [](T a, T b) -> T { return static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> bits); });
  add(all, "mad.hi." + type, [](T a, T b, T c) -> T {
    return static_cast<T>(static_cast<T>((static_cast<Wide>(a) * static_cast<Wide>(b)) >> bits) + c);
  });
}

uint32_t low_bits(uint32_t count) { return count >= 32 ? ~0u : (1u << count) - 1; }

uint32_t permuted(uint32_t a, uint32_t b, uint32_t selector) {
  const uint64_t bytes = static_cast<uint64_t>(b) << 32 | a;
  uint32_t out = 0;
  for (int i = 0; i < 4; ++i) {
    const uint32_t choice = selector >> (4 * i) & 0xf;
    uint32_t byte = static_cast<uint32_t>(bytes >> (8 * (choice & 7)) & 0xff);
    if (choice & 8) // the sign of that byte, eight times
      byte = byte & 0x80 ? 0xff : 0;
    out |= byte << (8 * i);
  }
  return out;
}

uint32_t by_table(uint32_t a, uint32_t b, uint32_t c, uint32_t table) {
  uint32_t out = 0;
  for (uint32_t row = 0; row < 8; ++row)
    if (table >> row & 1)
      out |= (row & 4 ? a : ~a) & (row & 2 ? b : ~b) & (row & 1 ? c : ~c);
  return out;
}

void fields(Operations &all) {
  add(all, "prmt.b32", [](uint32_t a, uint32_t b, uint32_t c) -> uint32_t { return permuted(a, b, c); });
  add(all, "lop3.b32",
      [](uint32_t a, uint32_t b, uint32_t c, uint32_t t) -> uint32_t { return by_table(a, b, c, t); });
  add(all, "bfe.u32", [](uint32_t a, uint32_t from, uint32_t count) -> uint32_t {
    return (from & 255) > 31 ? 0u : a >> (from & 255) & low_bits(count & 255);
  });
  add(all, "bfe.s32", [](int32_t a, uint32_t from, uint32_t count) -> int32_t {
    from &= 255, count &= 255;
    if (count == 0)
      return 0;
    const uint32_t last = from + count - 1 < 31 ? from + count - 1 : 31;
    const uint32_t value = from > 31 ? 0u : static_cast<uint32_t>(a) >> from & low_bits(count);
    const bool negative = static_cast<uint32_t>(a) >> last & 1;
    const uint32_t kept = last >= from ? last - from + 1 : 0;
    return static_cast<int32_t>(negative ? value | ~low_bits(kept) : value);
  });
  add(all, "bfi.b32", [](uint32_t a, uint32_t b, uint32_t from, uint32_t count) -> uint32_t {
    from &= 255, count &= 255;
    const uint32_t mask = from > 31 ? 0u : low_bits(count) << from;
    return (b & ~mask) | (from > 31 ? 0u : a << from & mask);
  });
  add(all, "shf.l.wrap.b32", [](uint32_t a, uint32_t b, uint32_t by) -> uint32_t {
    return static_cast<uint32_t>(((static_cast<uint64_t>(b) << 32 | a) << (by & 31)) >> 32);
  });
  add(all, "shf.r.wrap.b32", [](uint32_t a, uint32_t b, uint32_t by) -> uint32_t {
    return static_cast<uint32_t>((static_cast<uint64_t>(b) << 32 | a) >> (by & 31));
  });
  add(all, "shf.l.clamp.b32", [](uint32_t a, uint32_t b, uint32_t by) -> uint32_t {
    return by >= 32 ? a : static_cast<uint32_t>(((static_cast<uint64_t>(b) << 32 | a) << by) >> 32);
  });
  add(all, "shf.r.clamp.b32", [](uint32_t a, uint32_t b, uint32_t by) -> uint32_t {
    return by >= 32 ? b : static_cast<uint32_t>((static_cast<uint64_t>(b) << 32 | a) >> by);
  });
  add(all, "popc.b32", [](uint32_t a) -> uint32_t { return static_cast<uint32_t>(__builtin_popcount(a)); });
  add(all, "popc.b64", [](uint64_t a) -> uint32_t { return static_cast<uint32_t>(__builtin_popcountll(a)); });
  add(all, "clz.b32",
      [](uint32_t a) -> uint32_t { return a ? static_cast<uint32_t>(__builtin_clz(a)) : 32; });
  add(all, "clz.b64",
      [](uint64_t a) -> uint32_t { return a ? static_cast<uint32_t>(__builtin_clzll(a)) : 64; });
  add(all, "brev.b32", [](uint32_t a) -> uint32_t {
    uint32_t out = 0;
    for (int i = 0; i < 32; ++i)
      out |= (a >> i & 1) << (31 - i);
    return out;
  });
  add(all, "bfind.u32",
      [](uint32_t a) -> uint32_t { return a ? 31u - static_cast<uint32_t>(__builtin_clz(a)) : ~0u; });
}

void predicates(Operations &all) {
  add(all, "and.pred", [](bool a, bool b) { return a && b; });
  add(all, "or.pred", [](bool a, bool b) { return a || b; });
  add(all, "xor.pred", [](bool a, bool b) { return a != b; });
  add(all, "not.pred", [](bool a) { return !a; });
  add(all, "mov.pred", [](bool a) { return a; });
}

void addresses(Operations &all) {
  for (const char *type : {".u64", ".s64", ".b64"}) {
    const std::string t = type;
    add(all, "cvta.to.global" + t, [](uint64_t a) -> uint64_t { return a; });
    add(all, "cvta.global" + t, [](uint64_t a) -> uint64_t { return a; });
    add(all, "cvta.shared" + t, [](uint64_t a) -> uint64_t { return a + kSharedWindow; });
    add(all, "cvta.to.shared" + t, [](uint64_t a) -> uint64_t { return a - kSharedWindow; });
    add(all, "cvta.local" + t, [](uint64_t a) -> uint64_t { return a + kLocalWindow; });
    add(all, "cvta.to.local" + t, [](uint64_t a) -> uint64_t { return a - kLocalWindow; });
    add(all, "cvta.param" + t, [](uint64_t a) -> uint64_t { return a + kParamWindow; });
    add(all, "cvta.to.param" + t, [](uint64_t a) -> uint64_t { return a - kParamWindow; });
  }
}

} // namespace

void add_integer_operations(Operations &all) {
  arithmetic<int16_t>(all, "s16"), arithmetic<uint16_t>(all, "u16");
  arithmetic<int32_t>(all, "s32"), arithmetic<uint32_t>(all, "u32");
  arithmetic<int64_t>(all, "s64"), arithmetic<uint64_t>(all, "u64");
  bitwise<uint16_t>(all, "b16"), bitwise<uint32_t>(all, "b32"), bitwise<uint64_t>(all, "b64");
  widening<int16_t, int32_t>(all, "s16"), widening<uint16_t, uint32_t>(all, "u16");
  widening<int32_t, int64_t>(all, "s32"), widening<uint32_t, uint64_t>(all, "u32");
  high<int32_t, int64_t>(all, "s32"), high<uint32_t, uint64_t>(all, "u32");
  high<int64_t, __int128>(all, "s64"), high<uint64_t, unsigned __int128>(all, "u64");
  fields(all);
  predicates(all);
  addresses(all);
}

} // namespace ptx
