// ld, st, atom, red and cp.async.
#include <algorithm>

#include "decoder.h"
#include "execute.h"

namespace ptx {

// [%rd1+8], [name], [%r2].
Operand Decoder::address(const std::string &text, int64_t *displacement) {
  if (text.size() < 3 || text[0] != '[')
    refuse("an address");
  const std::string inside = trim(text.substr(1, text.size() - 2));
  const size_t plus = inside.find('+');
  const std::string base = trim(inside.substr(0, plus));
  *displacement = plus == std::string::npos ? 0 : std::strtoll(inside.c_str() + plus + 1, nullptr, 0);
  const Operand out = b_.value(base, 8);
  if (out.bytes != 8 && out.bytes != 4)
    refuse("an address");
  return out;
}

// A register of at least `bytes`, or a number.
Operand Decoder::datum(const std::string &text, uint8_t bytes) {
  if (text == "_")
    return b_.temporary(std::max<uint8_t>(bytes, 2));
  const Operand out = b_.value(text, std::max<uint8_t>(bytes, 2));
  if (out.bytes < bytes || out.bytes == kPredicate)
    refuse("a register too small");
  return out;
}

void Decoder::qualifiers(Instruction &i, size_t from) {
  static const std::vector<std::string> ignored = {"volatile",
                                                   "weak",
                                                   "relaxed",
                                                   "gpu",
                                                   "cta",
                                                   "sys",
                                                   "ca",
                                                   "cg",
                                                   "cs",
                                                   "lu",
                                                   "cv",
                                                   "wb",
                                                   "wt",
                                                   "L1::evict_normal",
                                                   "L1::evict_first",
                                                   "L1::evict_last",
                                                   "L1::no_allocate",
                                                   "L1::evict_unchanged",
                                                   "L2::64B",
                                                   "L2::128B",
                                                   "L2::256B"};
  for (size_t n = from; n + 1 < parts_.size(); ++n) {
    const std::string &part = parts_[n];
    if (part == "param" || starts_with(part, "param::"))
      i.space = Space::kParam;
    else if (part == "global" || part == "const")
      i.space = Space::kGlobal;
    else if (part == "shared" || part == "shared::cta")
      i.space = Space::kShared;
    else if (part == "local")
      i.space = Space::kLocal;
    else if (part == "v2" || part == "v4")
      i.elements = static_cast<uint8_t>(part[1] - '0');
    else if (part == "nc")
      i.constant = true;
    else if (!std::count(ignored.begin(), ignored.end(), part))
      refuse("a qualifier that is not known here, " + part + ",");
  }
  const std::string &type = parts_.back();
  i.sign = type[0] == 's';
  i.bytes = static_cast<uint8_t>(std::atoi(type.c_str() + type.find_first_of("0123456789")) / 8);
  if (type.find_first_of("0123456789") == std::string::npos || (i.bytes & (i.bytes - 1)) || i.bytes > 8 ||
      !i.bytes)
    refuse("a type");
}

void Decoder::note_size(const Instruction &i) {
  Kernel &k = b_.kernel();
  if (i.space == Space::kGlobal || i.space == Space::kGeneric)
    k.least_global = std::min<uint32_t>(k.least_global, i.bytes);
  if (i.space == Space::kShared || i.space == Space::kGeneric)
    k.least_shared = std::min<uint32_t>(k.least_shared, i.bytes);
}

void Decoder::access() {
  need(2);
  const bool load = parts_[0] == "ld";
  Instruction i = guarded_;
  i.execute = load ? execute_load : execute_store;
  qualifiers(i, 1);
  note_size(i);
  i.in[i.ins++] = address(args_[load ? 0 + 1 : 0], &i.displacement);
  const std::vector<std::string> data = braced(args_[load ? 0 : 1]);
  if (data.size() != i.elements)
    refuse("a vector");
  for (const std::string &one : data) {
    const Operand operand = datum(one, i.bytes);
    if (load && operand.reg == Operand::kNone)
      refuse("a load into a number");
    (load ? i.out[i.outs++] : i.in[i.ins++]) = operand;
  }
  b_.emit(i);
}

// atom.global.add.u32 d, [a], b; atom.cas.b32 d, [a], b, c; red.global.add.f32 [a], b.
void Decoder::atomic() {
  Instruction i = guarded_;
  i.execute = execute_atomic;
  const bool result = parts_[0] == "atom";
  const std::string type = parts_.back();
  std::string op;
  std::vector<std::string> kept;
  for (const std::string &part : parts_)
    if (find_atomic(part + "." + type) >= 0)
      op = part;
    else
      kept.push_back(part);
  if (op.empty())
    refuse("an atomic operation that is not known here");
  i.target = static_cast<uint32_t>(find_atomic(op + "." + type));
  parts_ = kept;
  qualifiers(i, 1);
  note_size(i);
  need((result ? 3 : 2) + (op == "cas"));
  size_t at = 0;
  if (result)
    i.out[i.outs++] = datum(args_[at++], i.bytes);
  i.in[i.ins++] = address(args_[at++], &i.displacement);
  while (at < args_.size())
    i.in[i.ins++] = datum(args_[at++], i.bytes);
  b_.emit(i);
}

// cp.async.ca.shared.global [to], [from], 16, valid; cp.async.commit_group; cp.async.wait_group 1.
void Decoder::copy() {
  Instruction i = guarded_;
  if (op_ == "cp.async.commit_group") {
    need(0);
    i.execute = execute_commit;
    return b_.emit(i);
  }
  if (op_ == "cp.async.wait_group" || op_ == "cp.async.wait_all") {
    i.execute = execute_wait;
    need(op_ == "cp.async.wait_group" ? 1 : 0);
    i.displacement = args_.empty() ? -1 : std::atoi(args_[0].c_str());
    return b_.emit(i);
  }
  if (!starts_with(op_, "cp.async.ca.shared.global") && !starts_with(op_, "cp.async.cg.shared.global"))
    refuse("a copy that is not known here");
  if (args_.size() != 3 && args_.size() != 4)
    refuse("operands");
  i.execute = execute_copy;
  int64_t from = 0;
  i.in[0] = address(args_[0], &i.displacement);
  i.in[1] = address(args_[1], &from);
  i.target = static_cast<uint32_t>(from);
  i.bytes = static_cast<uint8_t>(std::atoi(args_[2].c_str()));
  if ((i.bytes != 4 && i.bytes != 8 && i.bytes != 16) || (parts_[2] == "cg" && i.bytes != 16))
    refuse("a size of cp.async");
  i.in[2] = args_.size() == 4 ? source(args_[3], 4, false) : b_.constant(i.bytes, 4);
  i.ins = 3;
  b_.emit(i);
}

} // namespace ptx
