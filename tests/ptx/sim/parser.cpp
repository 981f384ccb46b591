#include "parser.h"

#include <cstdlib>
#include <cstring>
#include <cxxabi.h>

#include "builder.h"
#include "memory.h"

namespace ptx {
namespace {

std::string readable(const std::string &mangled) {
  int status = 0;
  char *plain = abi::__cxa_demangle(mangled.c_str(), nullptr, nullptr, &status);
  std::string out = status == 0 ? plain : mangled;
  std::free(plain);
  // void ns::(anonymous namespace)::kernel<...>(args): kernel<...>
  for (const std::string drop : {"(anonymous namespace)::", "mimamba::", "void "})
    for (size_t at; (at = out.find(drop)) != std::string::npos;)
      out.erase(at, drop.size());
  return out.substr(0, out.rfind('('));
}

class Parser {
public:
  explicit Parser(const std::string &text) : all_(statements(text)) {}

  std::vector<std::unique_ptr<Kernel>> run() {
    for (at_ = 0; at_ < all_.size(); ++at_)
      outside(all_[at_]);
    for (auto &kernel : kernels_)
      kernel->files = module_.files; // they stand at the end
    return std::move(kernels_);
  }

private:
  [[noreturn]] void refuse(const std::string &why, const Statement &s) const {
    throw Unsupported{"PTX line " + std::to_string(s.line) + ": " + why + ": " + s.text};
  }

  void outside(const Statement &s) {
    if (s.end == '\n') {
      if (starts_with(s.text, ".file"))
        file(s.text);
    } else if (s.end == '(') {
      if (s.text.find(".entry") == std::string::npos)
        refuse("a function that is called", s);
      kernel(s);
    } else if (s.text.find(".shared") != std::string::npos) {
      const Declaration d = declaration(s.text);
      if (d.is_extern)
        module_.dynamic.push_back(d.name);
      else
        module_.shared[d.name] = {d.unit * d.count, d.align};
    } else if (s.text.find(".global") != std::string::npos || s.text.find(".const") != std::string::npos) {
      variable(s);
    } else {
      refuse("a directive", s);
    }
  }

  void file(const std::string &text) { // .file 3 "path"
    const size_t number = static_cast<size_t>(std::atoi(text.c_str() + 5)), quote = text.find('"');
    if (module_.files.size() <= number)
      module_.files.resize(number + 1);
    module_.files[number] = text.substr(quote + 1, text.rfind('"') - quote - 1);
  }

  // .global .align 4 .b8 name[4] = {1, 2}: bytes of memory.
  void variable(const Statement &s) {
    const Declaration d = declaration(s.text);
    const uint64_t bytes = uint64_t{d.unit} * d.count;
    auto *place = static_cast<uint8_t *>(memory().allocate(bytes));
    std::memset(place, 0, bytes);
    memory().mark(place, bytes, Byte::kWritten);
    module_.symbols[d.name] = {Space::kGlobal, reinterpret_cast<uint64_t>(place)};
    const size_t equals = s.text.find('=');
    if (equals == std::string::npos)
      return;
    std::string values = trim(s.text.substr(equals + 1));
    if (values[0] == '{')
      values = values.substr(1, values.size() - 2);
    size_t at = 0;
    for (const std::string &value : split(values, ',')) {
      uint64_t bits;
      if (!number(value, &bits) || at >= bytes)
        refuse("an initial value", s);
      std::memcpy(place + at, &bits, d.unit);
      at += d.unit;
    }
  }

  void kernel(const Statement &header) {
    auto kernel = std::make_unique<Kernel>();
    Builder builder(module_, *kernel);
    builder.source.line = header.line;
    const std::string &text = header.text;
    const size_t name = text.find(".entry") + 6, open = text.find('('), close = text.find(')');
    kernel->name = trim(text.substr(name, open == std::string::npos ? open : open - name));
    kernel->plain = readable(kernel->name);
    if (open != std::string::npos)
      for (const std::string &one : split(text.substr(open + 1, close - open - 1), ','))
        if (!one.empty())
          builder.declare_parameter(one);
    for (const char *limit : {".maxntid", ".reqntid"}) {
      const size_t at = text.find(limit);
      if (at == std::string::npos)
        continue;
      kernel->max_threads = 1;
      for (const std::string &size :
           split(text.substr(at + 8, text.find_first_of("\n.", at + 8) - at - 8), ','))
        kernel->max_threads *= static_cast<uint32_t>(std::atoi(size.c_str()));
    }
    if (++at_ >= all_.size() || all_[at_].end != '{')
      refuse("a kernel without a body", header);
    while (++at_ < all_.size() && inside(builder, all_[at_]))
      ;
    builder.finish();
    kernels_.push_back(std::move(kernel));
  }

  // Whether the kernel goes on.
  bool inside(Builder &builder, const Statement &s) {
    builder.source.line = s.line;
    builder.source.text = s.text;
    if (s.end == '{')
      builder.open_scope();
    else if (s.end == '}')
      return builder.close_scope();
    else if (s.end == ':')
      label(builder, s);
    else if (s.end == '\n')
      location(builder.source, s.text);
    else if (starts_with(s.text, ".reg"))
      builder.declare_registers(s.text);
    else if (starts_with(s.text, ".local") || starts_with(s.text, ".shared"))
      builder.declare_variable(s.text);
    else if (!s.text.empty() && !starts_with(s.text, ".pragma"))
      decode(builder, s.text);
    return true;
  }

  void label(Builder &builder, const Statement &s) {
    const bool table = at_ + 1 < all_.size() && starts_with(all_[at_ + 1].text, ".branchtargets");
    if (!table)
      return builder.label(s.text);
    builder.table(s.text, split(trim(all_[++at_].text.substr(14)), ','));
  }

  static void location(Source &source, const std::string &text) {
    int column = 0;
    if (std::sscanf(text.c_str(), ".loc %d %d %d", &source.file, &source.row, &column) != 3)
      return;
    source.inlined_file = source.inlined_row = 0;
    const size_t inlined = text.find("inlined_at");
    if (inlined != std::string::npos)
      std::sscanf(text.c_str() + inlined, "inlined_at %d %d", &source.inlined_file, &source.inlined_row);
  }

  std::vector<Statement> all_;
  size_t at_ = 0;
  Module module_;
  std::vector<std::unique_ptr<Kernel>> kernels_;
};

} // namespace

std::vector<std::unique_ptr<Kernel>> parse(const std::string &text) { return Parser(text).run(); }

} // namespace ptx
