//===- Elementwise.cpp - Elementwise ops and casts ------------------------===//
#include "passes/reference/Evaluate.h"
#include <cmath>

using namespace mlir;

namespace pare::reference {

/// The operand's elements, computed in T and broadcast to `shape`.
template <typename T>
static llvm::Expected<std::vector<T>>
readBroadcast(Operation *op, const HostTensor &x, ArrayRef<int64_t> shape) {
  if (x.shape() == shape)
    return x.read<T>();
  std::optional<SmallVector<int64_t>> strides =
      getBroadcastStrides(x.shape(), shape);
  if (!strides)
    return fail(op, "operands do not broadcast at the given input shapes");
  std::vector<T> from = x.read<T>(), result;
  result.reserve(count(shape));
  forEachIndex(shape, {*strides},
               [&](ArrayRef<int64_t> at) { result.push_back(from[at[0]]); });
  return result;
}

template <typename T>
static T apply(nn::UnaryKind kind, T x, std::optional<float> alpha,
               std::optional<float> beta) {
  using K = nn::UnaryKind;
  switch (kind) {
  case K::abs:
    return x < 0 ? -x : x;
  case K::neg:
    return -x;
  case K::sign:
    return (x > 0) - (x < 0);
  case K::exp:
    return std::exp(x);
  case K::log:
    return std::log(x);
  case K::sqrt:
    return std::sqrt(x);
  case K::rsqrt:
    return 1 / std::sqrt(x);
  case K::reciprocal:
    return 1 / x;
  case K::erf:
    return std::erf(x);
  case K::sin:
    return std::sin(x);
  case K::cos:
    return std::cos(x);
  case K::floor:
    return std::floor(x);
  case K::ceil:
    return std::ceil(x);
  case K::round:
    return std::nearbyint(x);
  case K::relu:
    return x > 0 || std::isnan(double(x)) ? x : T(0);
  case K::sigmoid:
    return 1 / (1 + std::exp(-x));
  case K::tanh:
    return std::tanh(x);
  case K::gelu:
    return x * T(0.5) * (1 + std::erf(x * T(M_SQRT1_2)));
  case K::gelu_tanh: {
    T inner = T(std::sqrt(2 / M_PI)) * (x + T(0.044715) * x * x * x);
    return x * T(0.5) * (1 + std::tanh(inner));
  }
  case K::silu:
    return x / (1 + std::exp(-x));
  case K::softplus:
    return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
  case K::hard_sigmoid:
    return std::clamp<T>(x * T(alpha.value_or(0.2f)) + T(beta.value_or(0.5f)),
                         0, 1);
  case K::hard_swish:
    return x * std::clamp<T>(x * (T(1) / 6) + T(0.5), 0, 1);
  case K::leaky_relu:
    return x < 0 ? x * T(alpha.value_or(0.01f)) : x;
  case K::elu:
    return x < 0 ? T(alpha.value_or(1.0f)) * std::expm1(x) : x;
  case K::clip:
    if (alpha && x < T(*alpha))
      x = T(*alpha);
    return beta && x > T(*beta) ? T(*beta) : x;
  case K::logical_not:
    return x == 0;
  }
  llvm_unreachable("unknown unary kind");
}

/// Integers: what integer arithmetic defines; the rest through double.
static int64_t applyInteger(nn::UnaryKind kind, int64_t x,
                            std::optional<float> alpha,
                            std::optional<float> beta) {
  using K = nn::UnaryKind;
  switch (kind) {
  case K::abs:
    return x < 0 ? int64_t(-uint64_t(x)) : x;
  case K::neg:
    return int64_t(-uint64_t(x));
  case K::sign:
    return (x > 0) - (x < 0);
  case K::relu:
    return std::max<int64_t>(x, 0);
  case K::floor:
  case K::ceil:
  case K::round:
    return x;
  case K::logical_not:
    return x == 0;
  default: {
    double result = apply<double>(kind, double(x), alpha, beta);
    return std::isfinite(result) && std::abs(result) < 9.2e18 ? int64_t(result)
                                                              : 0;
  }
  }
}

llvm::Error evaluate(nn::UnaryOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  std::optional<float> alpha, beta;
  if (op.getAlpha())
    alpha = op.getAlpha()->convertToFloat();
  if (op.getBeta())
    beta = op.getBeta()->convertToFloat();
  HostTensor result(frame.typeOf(op));
  withCompute(x.element(), [&](auto zero) {
    using T = decltype(zero);
    std::vector<T> values = x.read<T>();
    for (T &value : values)
      if constexpr (std::is_integral_v<T>)
        value = applyInteger(op.getKind(), value, alpha, beta);
      else
        value = apply<T>(op.getKind(), value, alpha, beta);
    result.write<T>(values);
  });
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

template <typename T> static T apply(nn::BinaryKind kind, T a, T b) {
  using K = nn::BinaryKind;
  constexpr bool isInteger = std::is_integral_v<T>;
  // Integer arithmetic wraps.
  using W = std::conditional_t<isInteger, uint64_t, T>;
  switch (kind) {
  case K::add:
    return T(W(a) + W(b));
  case K::sub:
    return T(W(a) - W(b));
  case K::mul:
    return T(W(a) * W(b));
  case K::div:
    if constexpr (isInteger)
      return b == 0 ? 0 : b == -1 ? T(-W(a)) : a / b;
    else
      return a / b;
  case K::max:
    return a > b || a != a ? a : b;
  case K::min:
    return a < b || a != a ? a : b;
  case K::pow:
    if constexpr (isInteger) {
      double result = std::pow(double(a), double(b));
      return std::abs(result) < 9.2e18 ? T(result) : 0;
    } else {
      return std::pow(a, b);
    }
  case K::mod:
    // Integers take the divisor's sign, floats the dividend's (fmod).
    if constexpr (isInteger) {
      if (b == 0 || b == -1)
        return 0;
      T r = a % b;
      return r != 0 && (r < 0) != (b < 0) ? r + b : r;
    } else {
      return std::fmod(a, b);
    }
  case K::logical_and:
    return (a != 0) && (b != 0);
  case K::logical_or:
    return (a != 0) || (b != 0);
  case K::logical_xor:
    return (a != 0) != (b != 0);
  case K::equal:
    return a == b;
  case K::less:
    return a < b;
  case K::less_equal:
    return a <= b;
  case K::greater:
    return a > b;
  case K::greater_equal:
    return a >= b;
  case K::prelu:
    return a > 0 ? a : T(W(a) * W(b));
  }
  llvm_unreachable("unknown binary kind");
}

llvm::Error evaluate(nn::BinaryOp op, Frame &frame) {
  const HostTensor &lhs = frame[op.getLhs()], &rhs = frame[op.getRhs()];
  HostTensor result(frame.typeOf(op));
  llvm::Error error = withCompute(lhs.element(), [&](auto zero) -> llvm::Error {
    using T = decltype(zero);
    auto a = readBroadcast<T>(op, lhs, result.shape());
    if (!a)
      return a.takeError();
    auto b = readBroadcast<T>(op, rhs, result.shape());
    if (!b)
      return b.takeError();
    for (size_t i = 0; i < a->size(); ++i)
      (*a)[i] = apply<T>(op.getKind(), (*a)[i], (*b)[i]);
    result.write<T>(*a);
    return llvm::Error::success();
  });
  if (error)
    return error;
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::SelectOp op, Frame &frame) {
  const HostTensor &onTrue = frame[op.getOnTrue()],
                   &onFalse = frame[op.getOnFalse()];
  HostTensor result(frame.typeOf(op));
  auto condition =
      readBroadcast<int64_t>(op, frame[op.getCondition()], result.shape());
  if (!condition)
    return condition.takeError();
  llvm::Error error =
      withCompute(onTrue.element(), [&](auto zero) -> llvm::Error {
        using T = decltype(zero);
        auto a = readBroadcast<T>(op, onTrue, result.shape());
        if (!a)
          return a.takeError();
        auto b = readBroadcast<T>(op, onFalse, result.shape());
        if (!b)
          return b.takeError();
        for (size_t i = 0; i < a->size(); ++i)
          if (!(*condition)[i])
            (*a)[i] = (*b)[i];
        result.write<T>(*a);
        return llvm::Error::success();
      });
  if (error)
    return error;
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

llvm::Error evaluate(nn::CastOp op, Frame &frame) {
  const HostTensor &x = frame[op.getX()];
  HostTensor result(frame.typeOf(op));
  if (isa<FloatType>(x.element()))
    result.write<double>(x.read<double>());
  else
    result.write<int64_t>(x.read<int64_t>());
  frame.set(op, std::move(result));
  return llvm::Error::success();
}

} // namespace pare::reference
