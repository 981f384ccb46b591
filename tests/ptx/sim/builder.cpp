#include "builder.h"

#include <cstdlib>
#include <cstring>

namespace ptx {

const char *const kSpecialNames[kSpecials] = {"%tid.x",    "%tid.y",    "%tid.z",   "%ntid.x",  "%ntid.y",
                                              "%ntid.z",   "%ctaid.x",  "%ctaid.y", "%ctaid.z", "%nctaid.x",
                                              "%nctaid.y", "%nctaid.z", "%laneid",  "%warpid"};

namespace {

uint32_t up(uint32_t value, uint32_t to) { return (value + to - 1) / to * to; }

uint8_t type_bytes(const std::string &type) {
  if (type == ".pred")
    return kPredicate;
  return static_cast<uint8_t>(std::atoi(type.c_str() + 2) / 8);
}

uint32_t storage(uint8_t bytes) { return bytes == kPredicate ? sizeof(Mask) : bytes * kLanes; }

} // namespace

bool number(const std::string &text, uint64_t *value) {
  if (text.size() > 2 && text[0] == '0' && std::strchr("fFdD", text[1])) {
    *value = std::strtoull(text.c_str() + 2, nullptr, 16);
    return true;
  }
  char *end = nullptr;
  *value = text[0] == '-' ? static_cast<uint64_t>(std::strtoll(text.c_str(), &end, 0))
                          : std::strtoull(text.c_str(), &end, 0);
  end += *end == 'U';
  return end != text.c_str() && *end == '\0' && !text.empty();
}

Declaration declaration(const std::string &text) {
  Declaration out;
  const std::vector<std::string> all = words(text.substr(0, text.find('=')));
  for (size_t i = 0; i < all.size(); ++i) {
    const std::string &word = all[i];
    if (word == ".extern")
      out.is_extern = true;
    else if (word == ".shared")
      out.space = Space::kShared;
    else if (word == ".local")
      out.space = Space::kLocal;
    else if (word == ".global" || word == ".const")
      out.space = Space::kGlobal;
    else if (word == ".align")
      out.align = static_cast<uint32_t>(std::atoi(all.at(++i).c_str()));
    else if (word == ".param" || word == ".ptr" || word == ".visible" || word == ".weak")
      continue;
    else if (word[0] == '.')
      out.unit = type_bytes(word);
    else
      out.name = word;
  }
  const size_t bracket = out.name.find('[');
  if (bracket != std::string::npos) {
    out.is_array = true;
    out.count = static_cast<uint32_t>(std::atoi(out.name.c_str() + bracket + 1));
    out.name.resize(bracket);
  }
  if (out.align == 0)
    out.align = out.unit;
  return out;
}

Operand Builder::make_register(uint8_t bytes) {
  kernel_.register_bytes = up(kernel_.register_bytes, bytes == kPredicate ? sizeof(Mask) : 64);
  const Operand out{kernel_.register_bytes, static_cast<uint16_t>(kernel_.registers++), bytes};
  if (kernel_.registers >= Operand::kNone)
    refuse("too many registers", kernel_.plain);
  kernel_.register_bytes += storage(bytes);
  return out;
}

Operand Builder::temporary(uint8_t bytes) { return make_register(bytes); }

void Builder::declare_registers(const std::string &text) {
  const std::vector<std::string> all = words(text);
  const uint8_t bytes = type_bytes(all.at(1));
  if (bytes != kPredicate && bytes != 1 && bytes != 2 && bytes != 4 && bytes != 8)
    refuse("a register of this type", text);
  for (const std::string &name : split(text.substr(text.find(all[1]) + all[1].size()), ',')) {
    const size_t at = name.find('<');
    const int count = at == std::string::npos ? 1 : std::atoi(name.c_str() + at + 1);
    for (int i = 0; i < count; ++i)
      scopes_.back()[at == std::string::npos ? name : name.substr(0, at) + std::to_string(i)] =
          make_register(bytes);
  }
}

void Builder::declare_variable(const std::string &text) {
  const Declaration d = declaration(text);
  const uint32_t bytes = d.unit * d.count;
  if (d.space == Space::kLocal) {
    kernel_.local_bytes = up(kernel_.local_bytes, d.align);
    symbols_[d.name] = {Space::kLocal, kernel_.local_bytes};
    kernel_.local_bytes += bytes;
  } else if (d.space == Space::kShared && !d.is_extern) {
    symbols_[d.name] = {Space::kShared, static_shared(bytes, d.align)};
  } else {
    refuse("a variable of this kind", text);
  }
}

uint64_t Builder::static_shared(uint32_t bytes, uint32_t align) {
  kernel_.shared_bytes = up(kernel_.shared_bytes, align);
  const uint64_t address = kSharedBase + kernel_.shared_bytes;
  kernel_.shared_bytes += bytes;
  return address;
}

void Builder::declare_parameter(const std::string &text) {
  const Declaration d = declaration(text);
  // The alignment of what a pointer points to is not its own.
  const bool pointer = text.find(".ptr") != std::string::npos;
  kernel_.parameter_bytes = up(kernel_.parameter_bytes, pointer ? d.unit : d.align);
  symbols_[d.name] = {Space::kParam, kernel_.parameter_bytes};
  kernel_.parameters.push_back({d.unit * d.count, kernel_.parameter_bytes});
  kernel_.parameter_bytes += d.unit * d.count;
}

Operand Builder::reg(const std::string &name) {
  for (size_t i = scopes_.size(); i-- > 0;) {
    const auto found = scopes_[i].find(name);
    if (found != scopes_[i].end())
      return found->second;
  }
  for (int which = 0; which < kSpecials; ++which)
    if (name == kSpecialNames[which]) {
      const Operand out = scopes_.front()[name] = make_register(4);
      kernel_.specials.push_back({which, out});
      return out;
    }
  refuse("a register that is not known", name);
}

Operand Builder::constant(uint64_t value, uint8_t bytes) {
  const auto found = constants_.find({value, bytes});
  if (found != constants_.end())
    return found->second;
  const uint32_t at = up(static_cast<uint32_t>(kernel_.constants.size()), 64);
  kernel_.constants.resize(at + storage(bytes));
  if (bytes == kPredicate) {
    const Mask mask = value ? kAllLanes : 0;
    std::memcpy(&kernel_.constants[at], &mask, sizeof mask);
  } else {
    for (uint32_t lane = 0; lane < kLanes; ++lane)
      std::memcpy(&kernel_.constants[at + lane * bytes], &value, bytes);
  }
  return constants_[{value, bytes}] = Operand{at | Operand::kConstant, Operand::kNone, bytes};
}

bool Builder::is_name(const std::string &text) const {
  return symbols_.count(text) || module_.symbols.count(text) || module_.shared.count(text) ||
         std::count(module_.dynamic.begin(), module_.dynamic.end(), text);
}

Symbol Builder::symbol(const std::string &name) {
  const auto own = symbols_.find(name);
  if (own != symbols_.end())
    return own->second;
  const auto global = module_.symbols.find(name);
  if (global != module_.symbols.end())
    return global->second;
  const auto shared = module_.shared.find(name);
  if (shared != module_.shared.end())
    return symbols_[name] = {Space::kShared, static_shared(shared->second.first, shared->second.second)};
  if (is_name(name)) { // dynamic: behind all that is static, which is known at the end
    uses_dynamic_ = true;
    return {Space::kShared, kSharedBase + up(kernel_.shared_bytes, 16)};
  }
  refuse("a name that is not known", name);
}

Operand Builder::value(const std::string &text, uint8_t bytes) {
  uint64_t bits;
  if (text[0] == '%' || (!is_name(text) && !number(text, &bits)))
    return reg(text);
  if (number(text, &bits))
    return constant(bits, bytes);
  return constant(symbol(text).address, bytes);
}

void Builder::emit(const Instruction &instruction) {
  if (kernel_.sources.empty() || kernel_.sources.back().line != source.line ||
      kernel_.sources.back().text != source.text)
    kernel_.sources.push_back(source);
  kernel_.code.push_back(instruction);
  kernel_.code.back().source = static_cast<uint32_t>(kernel_.sources.size() - 1);
}

void Builder::finish() {
  const auto at = [&](const std::string &label) {
    const auto found = labels_.find(label);
    if (found == labels_.end())
      refuse("a label that is not known", label);
    return found->second;
  };
  for (const auto &[index, label] : jumps_) {
    Instruction &i = kernel_.code[index];
    if (i.kind == Kind::kBranch) {
      i.target = at(label);
      continue;
    }
    i.target = static_cast<uint32_t>(kernel_.tables.size());
    kernel_.tables.emplace_back();
    for (const std::string &one : tables_.at(label))
      kernel_.tables.back().push_back(at(one));
  }
  source.text = "(end of the kernel)";
  Instruction end;
  end.kind = Kind::kExit;
  emit(end);
  kernel_.executed.assign(kernel_.code.size(), 0);
  kernel_.register_bytes = up(kernel_.register_bytes, 64);
  kernel_.constants.resize(kernel_.constants.size() + 64);
  kernel_.files = module_.files;
}

} // namespace ptx
