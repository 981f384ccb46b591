// Builds a Kernel: registers, constants, names of memory.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "kernel.h"
#include "text.h"

namespace ptx {

struct Symbol {
  Space space;
  uint64_t address; // in its space
};

// Names of a module that its kernels share.
struct Module {
  std::map<std::string, Symbol> symbols;
  std::map<std::string, std::pair<uint32_t, uint32_t>> shared; // static, of the module: bytes, alignment
  std::vector<std::string> dynamic;                            // extern shared
  std::vector<std::string> files;
};

class Builder {
public:
  Builder(Module &module, Kernel &kernel) : module_(module), kernel_(kernel) {}

  Kernel &kernel() { return kernel_; }
  [[noreturn]] void refuse(const std::string &why, const std::string &what) const {
    throw Unsupported{"PTX line " + std::to_string(source.line) + ": " + why + ": " + what};
  }

  void open_scope() { scopes_.emplace_back(); }
  bool close_scope() { // whether there is one left
    scopes_.pop_back();
    return !scopes_.empty();
  }

  void declare_registers(const std::string &text); // .reg .f32 %f<4>
  void declare_variable(const std::string &text);  // .local .align 4 .b8 depot[16]
  void declare_parameter(const std::string &text); // .param .u64 name

  // A register by name; makes one of the special registers when it is first asked for.
  Operand reg(const std::string &name);
  Operand temporary(uint8_t bytes);
  Operand constant(uint64_t value, uint8_t bytes);
  bool is_name(const std::string &text) const;
  Symbol symbol(const std::string &name);
  // A register, a number or the address of a name, of `bytes`.
  Operand value(const std::string &text, uint8_t bytes);

  void label(const std::string &name) { labels_[name] = static_cast<uint32_t>(kernel_.code.size()); }
  void table(const std::string &name, std::vector<std::string> targets) {
    tables_[name] = std::move(targets);
  }
  void jump(const std::string &label) { jumps_.push_back({kernel_.code.size(), label}); }
  void emit(const Instruction &instruction);
  void finish();

  Source source; // of what is emitted next

private:
  Operand make_register(uint8_t bytes);
  uint64_t static_shared(uint32_t bytes, uint32_t align);

  Module &module_;
  Kernel &kernel_;
  std::vector<std::map<std::string, Operand>> scopes_{1};
  std::map<std::string, Symbol> symbols_;
  std::map<std::string, uint32_t> labels_;
  std::map<std::string, std::vector<std::string>> tables_;
  std::vector<std::pair<size_t, std::string>> jumps_;
  std::map<std::pair<uint64_t, uint8_t>, Operand> constants_;
  bool uses_dynamic_ = false;
};

struct Declaration { // .align 16 .b8 name[100]
  std::string name;
  uint32_t align = 0, unit = 1, count = 1;
  bool is_extern = false, is_array = false;
  Space space = Space::kGeneric;
};
Declaration declaration(const std::string &text);

bool number(const std::string &text, uint64_t *value);

// Appends what one PTX instruction means to the kernel.
void decode(Builder &builder, const std::string &text);

} // namespace ptx
