#include "expr.h"

#include <algorithm>

namespace harness {

int64_t Expr::value(const std::vector<int64_t> &symbols) const {
  if (kind_ == Kind::kConstant)
    return value_;
  if (kind_ == Kind::kSymbol)
    return symbols.at(static_cast<size_t>(value_));
  return apply(operation_, first_->value(symbols), second_->value(symbols));
}

int64_t Expr::apply(nvinfer1::DimensionOperation operation, int64_t a, int64_t b) {
  using Operation = nvinfer1::DimensionOperation;
  switch (operation) {
  case Operation::kSUM:
    return a + b;
  case Operation::kPROD:
    return a * b;
  case Operation::kMAX:
    return std::max(a, b);
  case Operation::kMIN:
    return std::min(a, b);
  case Operation::kSUB:
    return a - b;
  case Operation::kEQUAL:
    return a == b;
  case Operation::kLESS:
    return a < b;
  case Operation::kFLOOR_DIV:
    return a / b;
  case Operation::kCEIL_DIV:
    return (a + b - 1) / b;
  }
  return -1;
}

} // namespace harness
