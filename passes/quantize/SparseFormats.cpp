//===- SparseFormats.cpp - Where sparse formats pay -----------------------===//
#include "passes/quantize/SparseFormats.h"
#include "llvm/Support/FormatVariadic.h"
#include <cassert>

using namespace mlir;

namespace pare {
namespace {

/// Times of some products together, in microseconds.
struct Times {
  double dense = 0, sparse = 0;
  std::string products; ///< for people
  std::optional<std::string> whyNone;

  void add(const Target &target, const BlockFormat &format, int64_t m,
           int64_t n, int64_t k) {
    assert(format.isSparse() && "a dense format");
    products +=
        llvm::formatv("{0}{1} {2} by {3}x{4}", products.empty() ? "" : ", ", m,
                      m == 1 ? "row" : "rows", n, k);
    const BlockFormat &all = getDenseFormat(format);
    auto sparseOne = target.estimateMatMul(m, k, n, format.name),
         denseOne = target.estimateMatMul(m, k, n, all.name);
    if (!sparseOne || !denseOne) {
      whyNone = target.whyNoBlockProduct(format).value_or(
          ("no kernel for " + format.name).str());
      return;
    }
    sparse += sparseOne->microseconds;
    dense += denseOne->microseconds;
  }
  std::optional<std::string> whyNot(const BlockFormat &format) const {
    if (whyNone || sparse < dense)
      return whyNone;
    return llvm::formatv("dense is no slower here: {0} take {1:F1} us in {2}, "
                         "{3:F1} us in {4}",
                         products, dense, getDenseFormat(format).name, sparse,
                         format.name)
        .str();
  }
};

} // namespace

std::optional<std::string> whyNotSparse(const Target &target,
                                        const BlockFormat &format, int64_t m,
                                        int64_t n, int64_t k) {
  Times times;
  times.add(target, format, m, n, k);
  return times.whyNot(format);
}

std::optional<std::string> whyNotSparse(const Target &target,
                                        const BlockFormat &format,
                                        ArrayRef<OpOperand *> uses) {
  Times times;
  for (OpOperand *use : uses) {
    auto matmul = dyn_cast<nn::MatMulOp>(use->getOwner());
    if (!matmul || use->getOperandNumber() != 1)
      continue;
    auto entry = matmul->getParentOfType<func::FuncOp>();
    bool hasCache =
        !matmul->getParentOfType<ModuleOp>().getOps<nn::CacheOp>().empty();
    nn::Shape lhs = nn::getShape(matmul.getLhs().getType());
    auto weight = cast<RankedTensorType>(use->get().getType());
    int64_t m = hasCache ? 1
                         : nn::evaluate(nn::product(ArrayRef(lhs).drop_back(),
                                                    matmul.getContext()),
                                        nn::getTypicalSymbols(entry));
    bool isByRows = matmul.getTransposeRhs();
    int64_t n = weight.getDimSize(isByRows ? 0 : 1),
            k = weight.getDimSize(isByRows ? 1 : 0);
    times.add(target, format, m, n, k);
  }
  if (times.products.empty())
    return "no product reads it";
  return times.whyNot(format);
}

} // namespace pare
