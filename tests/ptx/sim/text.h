// PTX text, statement by statement.
#pragma once

#include <string>
#include <vector>

namespace ptx {

// What the simulator does not know: refused, never guessed.
struct Unsupported {
  std::string what;
};

// `end` is what ended it: ';', ':' (a label), '{' or '}' (alone), '\n' (a directive of one line), '(' (the
// header of a kernel, up to its brace).
struct Statement {
  std::string text;
  char end = ';';
  int line = 0;
};

std::vector<Statement> statements(const std::string &text);

std::string trim(const std::string &text);
std::vector<std::string> words(const std::string &text);          // at blanks
std::vector<std::string> split(const std::string &text, char at); // outside of braces and brackets
bool starts_with(const std::string &text, const std::string &prefix);

} // namespace ptx
