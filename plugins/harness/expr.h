// Symbolic sizes and their builder. TensorRT's own come with libnvinfer only; both classes only pass calls on
// to what their protected mImpl points to (NvInferRuntime.h, NvInferImpl.h), which is all that is needed
// here.
#pragma once

#include <NvInfer.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

namespace harness {

class Expr final : public nvinfer1::IDimensionExpr {
public:
  enum class Kind { kConstant, kSymbol, kOperation };

  Expr(Kind kind, int64_t value) : kind_(kind), value_(value), impl_(*this) { mImpl = &impl_; }
  Expr(nvinfer1::DimensionOperation operation, const Expr &first, const Expr &second)
      : Expr(Kind::kOperation, 0) {
    operation_ = operation;
    first_ = &first;
    second_ = &second;
  }

  Kind kind() const { return kind_; }
  // Its value where symbol number i stands for symbols[i].
  int64_t value(const std::vector<int64_t> &symbols) const;
  static int64_t apply(nvinfer1::DimensionOperation operation, int64_t a, int64_t b);

private:
  struct Impl final : nvinfer1::apiv::VDimensionExpr {
    explicit Impl(const Expr &of) : of(of) {}
    bool isConstant() const override { return of.kind_ == Kind::kConstant; }
    // TensorRT's answer for what is not constant: the least value of the type.
    int64_t getConstantValue() const override {
      return isConstant() ? of.value_ : std::numeric_limits<int64_t>::min();
    }
    bool isSizeTensor() const override { return false; }
    const Expr &of;
  };

  Kind kind_;
  int64_t value_;
  nvinfer1::DimensionOperation operation_{};
  const Expr *first_ = nullptr, *second_ = nullptr;
  Impl impl_;
};

class ExprBuilder final : public nvinfer1::IExprBuilder {
public:
  ExprBuilder() : impl_(*this) { mImpl = &impl_; }

  const Expr *constant_of(int64_t value) {
    return keep(std::make_unique<Expr>(Expr::Kind::kConstant, value));
  }
  const Expr *symbol(int64_t number) { return keep(std::make_unique<Expr>(Expr::Kind::kSymbol, number)); }

private:
  struct Impl final : nvinfer1::apiv::VExprBuilder {
    explicit Impl(ExprBuilder &of) : of(of) {}
    const nvinfer1::IDimensionExpr *constant(int64_t value) override { return of.constant_of(value); }
    const nvinfer1::IDimensionExpr *operation(nvinfer1::DimensionOperation operation,
                                              const nvinfer1::IDimensionExpr &first,
                                              const nvinfer1::IDimensionExpr &second) override {
      const Expr &a = static_cast<const Expr &>(first), &b = static_cast<const Expr &>(second);
      if (a.kind() == Expr::Kind::kConstant && b.kind() == Expr::Kind::kConstant)
        return of.constant_of(Expr::apply(operation, a.value({}), b.value({})));
      return of.keep(std::make_unique<Expr>(operation, a, b));
    }
    const nvinfer1::IDimensionExpr *declareSizeTensor(int32_t, const nvinfer1::IDimensionExpr &,
                                                      const nvinfer1::IDimensionExpr &) override {
      return nullptr; // an output whose size is known only at run time: neither op has one
    }
    ExprBuilder &of;
  };

  const Expr *keep(std::unique_ptr<Expr> expr) {
    kept_.push_back(std::move(expr));
    return kept_.back().get();
  }

  std::vector<std::unique_ptr<Expr>> kept_;
  Impl impl_;
};

} // namespace harness
