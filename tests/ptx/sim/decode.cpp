#include "decoder.h"
#include "execute.h"
#include "operations.h"

namespace ptx {

bool is_vector(const std::string &text) { return !text.empty() && text[0] == '{'; }

std::vector<std::string> braced(const std::string &text) {
  return is_vector(text) ? split(text.substr(1, text.size() - 2), ',') : std::vector<std::string>{text};
}

void decode(Builder &builder, const std::string &text) { Decoder(builder, text).run(); }

Decoder::Decoder(Builder &builder, const std::string &text) : b_(builder), text_(text) {
  std::string rest = text;
  if (rest[0] == '@') {
    const size_t blank = rest.find(' ');
    const bool negated = rest[1] == '!';
    predicate_of(guarded_, rest.substr(negated ? 2 : 1, blank - (negated ? 2 : 1)), negated);
    rest = trim(rest.substr(blank));
  }
  const size_t blank = rest.find(' ');
  op_ = rest.substr(0, blank);
  if (blank != std::string::npos)
    args_ = split(trim(rest.substr(blank)), ',');
  parts_ = split(op_, '.');
}

void Decoder::predicate_of(Instruction &i, const std::string &name, bool negated) {
  i.guarded = true;
  i.negated = negated;
  i.guard = b_.reg(name);
  if (i.guard.bytes != kPredicate)
    refuse("a guard that is no predicate");
}

void Decoder::need(size_t args) const {
  if (args_.size() != args)
    refuse("operands");
}

void Decoder::run() {
  const std::string &name = parts_[0];
  if (control() || collective())
    return;
  if (name == "ld" || name == "st")
    return access();
  if (name == "atom" || name == "red")
    return atomic();
  if (name == "cp")
    return copy();
  if (name == "setp")
    return compare();
  if (name == "mov")
    return move();
  plain(op_, args_);
}

bool Decoder::control() {
  const std::string &name = parts_[0];
  Instruction i = guarded_;
  if (name == "bra") {
    need(1);
    i.kind = Kind::kBranch;
    b_.jump(args_[0]);
    b_.emit(i);
  } else if (op_ == "brx.idx" || op_ == "brx.idx.uni") {
    need(2);
    i.kind = Kind::kTable;
    i.in[0] = source(args_[0], 4, false);
    i.ins = 1;
    b_.jump(args_[1]);
    b_.emit(i);
  } else if (name == "ret" || name == "exit") {
    i.kind = Kind::kExit;
    b_.emit(i);
  } else if (name == "membar" || name == "fence" || name == "prefetch" || name == "nanosleep") {
    // Orders memory or hints: accesses here are in order, and a race is one with a fence as well.
  } else if (name == "bar" || name == "barrier") {
    barrier();
  } else {
    return false;
  }
  return true;
}

void Decoder::emit(const std::string &op, const Operand &out, const std::vector<Operand> &in) {
  const Operation *operation = find_operation(op);
  if (!operation)
    refuse("an instruction that is not known here");
  Instruction i = guarded_;
  i.execute = operation->execute;
  i.out[0] = out;
  i.outs = 1;
  for (const Operand &one : in)
    i.in[i.ins++] = one;
  b_.emit(i);
}

namespace {
std::string unsigned_type(uint8_t bytes) { return "u" + std::to_string(bytes * 8); }
} // namespace

Operand Decoder::source(const std::string &text, uint8_t bytes, bool may_be_wider) {
  if (text[0] == '!') {
    const Operand not_it = b_.temporary(kPredicate);
    emit("not.pred", not_it, {source(text.substr(1), kPredicate, false)});
    return not_it;
  }
  const Operand given = b_.value(text, bytes);
  if (given.bytes == bytes)
    return given;
  if (!may_be_wider || given.bytes < bytes || given.bytes == kPredicate)
    refuse("an operand of " + std::to_string(given.bytes) + " bytes for " + std::to_string(bytes));
  const Operand narrow = b_.temporary(bytes);
  emit("cvt." + unsigned_type(bytes) + "." + unsigned_type(given.bytes), narrow, {given});
  return narrow;
}

Operand Decoder::sink(const std::string &text, uint8_t bytes) {
  if (text == "_")
    return b_.temporary(bytes);
  const Operand out = b_.reg(text);
  if (out.bytes != bytes)
    refuse("a result of " + std::to_string(bytes) + " bytes for a register of " + std::to_string(out.bytes));
  return out;
}

void Decoder::plain(const std::string &op, const std::vector<std::string> &args) {
  const Operation *operation = find_operation(op);
  if (!operation)
    refuse("an instruction that is not known here");
  if (args.size() != 1 + operation->in.size() || is_vector(args[0]) || args[0].find('|') != std::string::npos)
    refuse("operands");
  const bool converts = starts_with(op, "cvt.");
  std::vector<Operand> in;
  for (size_t n = 0; n < operation->in.size(); ++n)
    in.push_back(source(args[1 + n], operation->in[n], converts));
  const uint8_t wide = args[0] == "_" ? operation->out : b_.reg(args[0]).bytes;
  if (!converts || wide <= operation->out || wide == kPredicate)
    return emit(op, sink(args[0], operation->out), in);
  // The type is narrower than the register: its sign, or zeros, fill the rest.
  const std::string &type = parts_[parts_.size() - 2];
  const Operand narrow = b_.temporary(operation->out);
  emit(op, narrow, in);
  emit("cvt." + std::string(type[0] == 's' ? "s" : "u") + std::to_string(wide * 8) + "." +
           (type[0] == 's' ? "s" : "u") + std::to_string(operation->out * 8),
       sink(args[0], wide), {narrow});
}

// setp.lt.f32 p, a, b; setp.lt.and.f32 p|q, a, b, !c.
void Decoder::compare() {
  const bool combined = parts_.size() == 4;
  need(combined ? 4 : 3);
  const std::string op = parts_[0] + "." + parts_[1] + "." + parts_.back();
  const std::vector<std::string> outs = split(args_[0], '|');
  const Operation *operation = find_operation(op);
  if (!operation)
    refuse("an instruction that is not known here");
  const std::vector<Operand> in{source(args_[1], operation->in[0], false),
                                source(args_[2], operation->in[1], false)};
  if (!combined && outs.size() == 1)
    return emit(op, sink(outs[0], kPredicate), in);
  const Operand result = b_.temporary(kPredicate), opposite = b_.temporary(kPredicate);
  emit(op, result, in);
  emit("not.pred", opposite, {result});
  const Operand other = combined ? source(args_[3], kPredicate, false) : b_.constant(1, kPredicate);
  const std::string joined = combined ? parts_[2] + ".pred" : "and.pred";
  emit(joined, sink(outs[0], kPredicate), {result, other});
  if (outs.size() > 1)
    emit(joined, sink(outs[1], kPredicate), {opposite, other});
}

void Decoder::move() {
  need(2);
  if (is_vector(args_[0]))
    return unpack(braced(args_[0]), args_[1]);
  if (is_vector(args_[1]))
    return pack(braced(args_[1]), args_[0]);
  plain(op_, args_);
}

void Decoder::pack(const std::vector<std::string> &parts, const std::string &whole) {
  Instruction i = guarded_;
  i.execute = execute_pack;
  i.out[i.outs++] = b_.reg(whole);
  if (parts.size() > 4 || i.out[0].bytes % parts.size())
    refuse("a vector");
  for (const std::string &part : parts)
    i.in[i.ins++] = source(part, static_cast<uint8_t>(i.out[0].bytes / parts.size()), false);
  b_.emit(i);
}

void Decoder::unpack(const std::vector<std::string> &parts, const std::string &whole) {
  Instruction i = guarded_;
  i.execute = execute_unpack;
  const uint8_t bytes = static_cast<uint8_t>(std::atoi(parts_[1].c_str() + 1) / 8);
  i.in[i.ins++] = source(whole, bytes, false);
  if (parts.size() > 4 || bytes % parts.size())
    refuse("a vector");
  for (const std::string &part : parts)
    i.out[i.outs++] = sink(part, static_cast<uint8_t>(bytes / parts.size()));
  b_.emit(i);
}

} // namespace ptx
