//===- ProductMoments.cpp - Correlations of products' inputs --------------===//
#include "passes/calibrate/ProductMoments.h"
#include "frontend/ir/NN.h"
#include <cmath>

using namespace mlir;

namespace pare {

llvm::Expected<Executable *> CrossProducts::find(int64_t rows,
                                                 int64_t columns) {
  std::unique_ptr<Executable> &made = bySize[{rows, columns}];
  if (made)
    return made.get();
  constexpr int64_t kMaxRows = 1 << 20;
  OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&context));
  OpBuilder builder = OpBuilder::atBlockEnd(module->getBody());
  Type f32 = builder.getF32Type();
  nn::Dim samples = getAffineSymbolExpr(0, &context),
          n = nn::constant(rows, &context), k = nn::constant(columns, &context);
  RankedTensorType left = nn::getTensorType({samples, n}, f32),
                   right = nn::getTensorType({samples, k}, f32),
                   result = nn::getTensorType({n, k}, f32);
  auto loc = nn::getNamedLoc("cross product", &context);
  auto entry = func::FuncOp::create(
      builder, loc, "main", builder.getFunctionType({left, right}, {result}));
  entry->setAttr(nn::kDimNamesAttr, builder.getStrArrayAttr({"rows"}));
  entry->setAttr(nn::kDimMinAttr, builder.getDenseI64ArrayAttr({1}));
  entry->setAttr(nn::kDimMaxAttr, builder.getDenseI64ArrayAttr({kMaxRows}));
  Block *body = entry.addEntryBlock();
  builder.setInsertionPointToStart(body);
  Value transposed = nn::TransposeOp::create(builder, loc, body->getArgument(0),
                                             ArrayRef<int64_t>{1, 0});
  Value product = nn::MatMulOp::create(builder, loc, transposed,
                                       body->getArgument(1), false);
  func::ReturnOp::create(builder, loc, product);
  static const WeightStore none;
  auto compiled = executor.compile(std::move(module), none);
  if (!compiled)
    return compiled.takeError();
  made = std::move(*compiled);
  return made.get();
}

llvm::Error CrossProducts::add(const HostTensor &a, const HostTensor &b,
                               MutableArrayRef<double> sums) {
  assert(a.shape().front() == b.shape().front() && "rows of two sets");
  auto found = find(a.shape().back(), b.shape().back());
  if (!found)
    return found.takeError();
  auto product = (*found)->run({a, b});
  if (!product)
    return product.takeError();
  for (auto [sum, value] :
       llvm::zip_equal(sums, product->front().values<float>()))
    sum += value;
  return llvm::Error::success();
}

llvm::Error ProductMoments::add(const HostTensor &exact,
                                const HostTensor &changed,
                                ArrayRef<float> weights,
                                CrossProducts &products, const Sums *sums) {
  constexpr size_t kRows = 512;
  ArrayRef<float> x = changed.values<float>(), y = exact.values<float>();
  // Sums of many squares must be finite too.
  constexpr float kMost = 1e15f;
  for (ArrayRef<float> values : {x, y})
    if (!llvm::all_of(values, [](float v) { return std::abs(v) <= kMost; }))
      return llvm::createStringError("has values that are NaN, infinite or "
                                     "beyond 1e15: leave this sample out");
  rows_ += changed.size() / size_;
  element = changed.element();
  if (x.data() != y.data() && !isShifted_) {
    isShifted_ = true;
    heldShift.resize(held.size());
  }
  int64_t count = changed.size() / size_, outputs = 0;
  if (sums) {
    outputs = sums->exact.size() / count;
    lack_.resize(outputs * size_);
  }
  for (int64_t row = 0; row < count; ++row) {
    float factor = weights.empty() ? 1.0f : std::sqrt(weights[row]);
    for (int64_t i = row * outputs; i < (row + 1) * outputs; ++i)
      heldLack.push_back(factor * (sums->exact.values<float>()[i] -
                                   sums->changed.values<float>()[i]));
    for (int64_t i = row * size_; i < (row + 1) * size_; ++i) {
      held.push_back(factor * x[i]);
      magnitudes_[i % size_] += std::abs(held.back());
      if (isShifted_)
        heldShift.push_back(factor * (y[i] - x[i]));
    }
  }
  return held.size() < kRows * size_ ? llvm::Error::success()
                                     : finish(products);
}

llvm::Error ProductMoments::finish(CrossProducts &products) {
  if (held.empty())
    return llvm::Error::success();
  auto type =
      RankedTensorType::get({int64_t(held.size()) / size_, size_}, element);
  HostTensor changed(type, ArrayRef(held)), shift, lack;
  if (isShifted_)
    shift = HostTensor(type, ArrayRef(heldShift));
  if (!lack_.empty())
    lack = HostTensor(
        RankedTensorType::get(
            {type.getDimSize(0), int64_t(lack_.size()) / size_}, element),
        ArrayRef(heldLack));
  held.clear();
  heldShift.clear();
  heldLack.clear();
  if (llvm::Error error = products.add(changed, changed, second_))
    return error;
  if (isShifted_)
    if (llvm::Error error = products.add(shift, changed, shift_))
      return error;
  return lack ? products.add(lack, changed, lack_) : llvm::Error::success();
}

std::vector<float> ProductMoments::magnitudes() const {
  std::vector<float> means;
  for (double sum : magnitudes_)
    means.push_back(float(sum / double(std::max<int64_t>(rows_, 1))));
  return means;
}

void ProductMoments::divide(ArrayRef<double> scale) {
  for (int64_t i = 0; i < size_; ++i) {
    magnitudes_[i] /= scale[i];
    for (int64_t j = 0; j < size_; ++j) {
      double by = scale[i] * scale[j];
      second_[i * size_ + j] /= by;
      shift_[i * size_ + j] /= by;
    }
  }
  for (size_t i = 0; i < lack_.size(); ++i)
    lack_[i] /= scale[i % size_];
}

} // namespace pare
