#include "text.h"

#include <cctype>

namespace ptx {
namespace {

class Reader {
public:
  explicit Reader(const std::string &text) : text_(text) {}

  bool next(Statement &out) {
    skip();
    if (at_ >= text_.size())
      return false;
    out = {"", ';', line_};
    const char first = text_[at_];
    if (first == '{' || first == '}') {
      ++at_;
      out.end = first;
      return true;
    }
    if (first == '.' && directive(out))
      return true;
    until_end(out);
    return true;
  }

private:
  bool comes(const char *what) const {
    return text_.compare(at_, std::char_traits<char>::length(what), what) == 0;
  }

  void advance() { line_ += text_[at_++] == '\n'; }

  bool comment() {
    if (comes("//")) {
      while (at_ < text_.size() && text_[at_] != '\n')
        ++at_;
      return true;
    }
    if (comes("/*")) {
      while (at_ < text_.size() && !comes("*/"))
        advance();
      at_ += 2;
      return true;
    }
    return false;
  }

  void skip() {
    while (at_ < text_.size() && (comment() || std::isspace(static_cast<unsigned char>(text_[at_]))))
      if (at_ < text_.size() && std::isspace(static_cast<unsigned char>(text_[at_])))
        advance();
  }

  // Directives that do not end with a semicolon.
  bool directive(Statement &out) {
    for (const char *name : {".loc", ".file", ".version", ".target", ".address_size"})
      if (comes(name) &&
          std::isspace(static_cast<unsigned char>(text_[at_ + std::char_traits<char>::length(name)]))) {
        while (at_ < text_.size() && text_[at_] != '\n')
          out.text += text_[at_++];
        out.text = trim(out.text.substr(0, out.text.find("//")));
        out.end = '\n';
        return true;
      }
    if (comes(".section")) {
      while (at_ < text_.size() && text_[at_] != '}')
        advance();
      ++at_;
      out.end = '\n';
      return true;
    }
    const size_t stop = text_.find_first_of(";{", at_);
    const std::string header = text_.substr(at_, stop == std::string::npos ? stop : stop - at_);
    if (header.find(".entry") == std::string::npos && header.find(".func") == std::string::npos)
      return false;
    while (at_ < stop && at_ < text_.size())
      if (!comment()) {
        out.text += text_[at_];
        advance();
      }
    out.end = '(';
    return true;
  }

  void until_end(Statement &out) {
    for (; at_ < text_.size(); advance()) {
      if (comment() && at_ >= text_.size())
        return;
      const char c = text_[at_];
      const bool label = c == ':' && text_.compare(at_, 2, "::") != 0 && text_[at_ - 1] != ':' &&
                         out.text.find_first_of(" \t\n") == std::string::npos;
      if (c == ';' || label) {
        out.end = c;
        ++at_;
        break;
      }
      out.text += std::isspace(static_cast<unsigned char>(c)) ? ' ' : c;
    }
    out.text = trim(out.text);
  }

  const std::string &text_;
  size_t at_ = 0;
  int line_ = 1;
};

} // namespace

std::vector<Statement> statements(const std::string &text) {
  Reader reader(text);
  std::vector<Statement> out;
  for (Statement one; reader.next(one);)
    out.push_back(std::move(one));
  return out;
}

std::string trim(const std::string &text) {
  const size_t first = text.find_first_not_of(" \t\r\n"), last = text.find_last_not_of(" \t\r\n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

std::vector<std::string> words(const std::string &text) {
  std::vector<std::string> out;
  for (size_t at = 0; (at = text.find_first_not_of(" \t\r\n", at)) != std::string::npos;) {
    const size_t end = text.find_first_of(" \t\r\n", at);
    out.push_back(text.substr(at, end == std::string::npos ? end : end - at));
    at = end;
  }
  return out;
}

std::vector<std::string> split(const std::string &text, char at) {
  std::vector<std::string> out;
  std::string one;
  int depth = 0;
  for (const char c : text) {
    depth += (c == '{' || c == '[') - (c == '}' || c == ']');
    if (c == at && depth == 0) {
      out.push_back(trim(one));
      one.clear();
    } else {
      one += c;
    }
  }
  if (!trim(one).empty() || !out.empty())
    out.push_back(trim(one));
  return out;
}

bool starts_with(const std::string &text, const std::string &prefix) {
  return text.compare(0, prefix.size(), prefix) == 0;
}

} // namespace ptx
