//===- Evaluate.h - What the interpreter's op cases share -------*- C++ -*-===//
//
// One overload of `evaluate` per nn op. The interpreter dispatches over the
// dialect's generated op list, so a missing overload does not compile.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_REFERENCE_EVALUATE_H
#define PARE_PASSES_REFERENCE_EVALUATE_H

#include "passes/reference/Interpreter.h"
#include "llvm/ADT/DenseMap.h"

namespace pare::reference {

/// The values of one run.
class Frame {
public:
  Frame(const WeightStore *weights, llvm::ArrayRef<int64_t> symbols,
        ProbeFn probe, CacheState *caches)
      : weights(weights), symbols(symbols), caches(caches), probe(probe) {}

  const HostTensor &operator[](mlir::Value value) const {
    auto it = values.find(value);
    assert(it != values.end() && "value was not computed");
    return it->second;
  }
  void set(mlir::Value value, HostTensor tensor) {
    if (probe)
      probe(value, tensor);
    values[value] = std::move(tensor);
  }
  void drop(mlir::Value value) { values.erase(value); }

  /// The value's type under this run's dimensions.
  mlir::RankedTensorType typeOf(mlir::Value value) const;

  const WeightStore *weights;
  llvm::ArrayRef<int64_t> symbols;
  CacheState *caches; ///< null where ops on caches are not run

private:
  ProbeFn probe;
  llvm::DenseMap<mlir::Value, HostTensor> values;
};

/// Runs a block whose arguments are set; values are dropped after their last
/// use.
llvm::Error evaluateBlock(mlir::Block &block, Frame &frame);

/// An error that starts with the name of the op's result and the op's name.
llvm::Error fail(mlir::Operation *op, const llvm::Twine &message);

/// The code of x as `codes` stores it.
int64_t encode(float x, float scale, mlir::Type codes, int64_t zero = 0);

/// Row-major strides of a shape, in elements.
llvm::SmallVector<int64_t> getStrides(llvm::ArrayRef<int64_t> shape);
/// Strides with which a tensor of shape `from` is read as one of shape `to`
/// (0 along broadcast axes); nullopt if it does not broadcast.
std::optional<llvm::SmallVector<int64_t>>
getBroadcastStrides(llvm::ArrayRef<int64_t> from, llvm::ArrayRef<int64_t> to);
/// Calls `fn(offset of each stride set)` for every index of `shape` in
/// row-major order.
void forEachIndex(llvm::ArrayRef<int64_t> shape,
                  llvm::ArrayRef<llvm::ArrayRef<int64_t>> strides,
                  llvm::function_ref<void(llvm::ArrayRef<int64_t>)> fn);
/// Copies the elements at `offset` + index · strides of `x`, for all indices of
/// the result's shape.
HostTensor copyStrided(const HostTensor &x, mlir::RankedTensorType type,
                       int64_t offset, llvm::ArrayRef<int64_t> strides);
/// Product of a part of a shape.
int64_t count(llvm::ArrayRef<int64_t> shape);

/// Sums are in double for floats, in 64 bits for integers.
template <typename T>
using Sum = std::conditional_t<std::is_integral_v<T>, int64_t, double>;

/// c[m, n] = a[m, k] · b[k, n], all row-major.
template <typename T>
void multiply(const T *a, const T *b, T *c, int64_t m, int64_t n, int64_t k);

/// Calls `fn` with a zero of the type that elements are computed in: float for
/// f32 and narrower, double for f64, int64_t for integers and booleans.
template <typename Fn> auto withCompute(mlir::Type element, Fn fn) {
  if (element.isF64())
    return fn(double());
  if (llvm::isa<mlir::FloatType>(element))
    return fn(float());
  return fn(int64_t());
}

llvm::Error evaluate(nn::WeightOp op, Frame &frame);
llvm::Error evaluate(nn::ParamOp op, Frame &frame);
llvm::Error evaluate(nn::ConstantOp op, Frame &frame);
llvm::Error evaluate(nn::DimValuesOp op, Frame &frame);
llvm::Error evaluate(nn::UnaryOp op, Frame &frame);
llvm::Error evaluate(nn::BinaryOp op, Frame &frame);
llvm::Error evaluate(nn::SelectOp op, Frame &frame);
llvm::Error evaluate(nn::CastOp op, Frame &frame);
llvm::Error evaluate(nn::MatMulOp op, Frame &frame);
llvm::Error evaluate(nn::ConvOp op, Frame &frame);
llvm::Error evaluate(nn::ConvTransposeOp op, Frame &frame);
llvm::Error evaluate(nn::PoolOp op, Frame &frame);
llvm::Error evaluate(nn::ReduceOp op, Frame &frame);
llvm::Error evaluate(nn::SoftmaxOp op, Frame &frame);
llvm::Error evaluate(nn::LayerNormOp op, Frame &frame);
llvm::Error evaluate(nn::RmsNormOp op, Frame &frame);
llvm::Error evaluate(nn::BatchNormOp op, Frame &frame);
llvm::Error evaluate(nn::AttentionOp op, Frame &frame);
llvm::Error evaluate(nn::RopeOp op, Frame &frame);
llvm::Error evaluate(nn::CacheOp op, Frame &frame);
llvm::Error evaluate(nn::CacheAppendOp op, Frame &frame);
llvm::Error evaluate(nn::CachedAttentionOp op, Frame &frame);
llvm::Error evaluate(nn::RouteOp op, Frame &frame);
llvm::Error evaluate(nn::GroupByExpertOp op, Frame &frame);
llvm::Error evaluate(nn::ExpertMatMulOp op, Frame &frame);
llvm::Error evaluate(nn::GatherOp op, Frame &frame);
llvm::Error evaluate(nn::ReshapeOp op, Frame &frame);
llvm::Error evaluate(nn::TransposeOp op, Frame &frame);
llvm::Error evaluate(nn::ConcatOp op, Frame &frame);
llvm::Error evaluate(nn::SliceOp op, Frame &frame);
llvm::Error evaluate(nn::ExpandOp op, Frame &frame);
llvm::Error evaluate(nn::PadOp op, Frame &frame);
llvm::Error evaluate(nn::ResizeOp op, Frame &frame);
llvm::Error evaluate(nn::QuantizeOp op, Frame &frame);
llvm::Error evaluate(nn::DynamicQuantizeOp op, Frame &frame);
llvm::Error evaluate(nn::DequantizeOp op, Frame &frame);
llvm::Error evaluate(nn::FusedOp op, Frame &frame);
llvm::Error evaluate(nn::YieldOp op, Frame &frame);

} // namespace pare::reference

#endif
