// Takes one PTX instruction apart and emits what executes it: often one Instruction, sometimes a few.
#pragma once

#include <string>
#include <vector>

#include "builder.h"

namespace ptx {

class Decoder {
public:
  Decoder(Builder &builder, const std::string &text);
  void run();

private:
  // decode.cpp
  bool control();
  void predicate_of(Instruction &i, const std::string &name, bool negated);
  void plain(const std::string &op, const std::vector<std::string> &args);
  void compare();
  void move();
  void pack(const std::vector<std::string> &parts, const std::string &whole);
  void unpack(const std::vector<std::string> &parts, const std::string &whole);
  void emit(const std::string &op, const Operand &out, const std::vector<Operand> &in);
  Operand source(const std::string &text, uint8_t bytes, bool may_be_wider);
  Operand sink(const std::string &text, uint8_t bytes);
  // decode_memory.cpp
  void access();
  void atomic();
  void copy();
  Operand address(const std::string &text, int64_t *displacement);
  Operand datum(const std::string &text, uint8_t bytes);
  void qualifiers(Instruction &i, size_t from);
  void note_size(const Instruction &i);
  // decode_warp.cpp
  bool collective();
  void barrier();
  void shuffle();
  void vote();
  void match_or_reduce();

  void need(size_t args) const;
  [[noreturn]] void refuse(const std::string &why) const { b_.refuse(why, text_); }

  Builder &b_;
  const std::string text_;
  std::string op_;
  std::vector<std::string> parts_, args_; // of the name, at dots; operands
  Instruction guarded_;                   // a blank instruction with the guard
};

std::vector<std::string> braced(const std::string &text); // {a, b}: its parts; else itself
bool is_vector(const std::string &text);

} // namespace ptx
