//===- WeightTarget.cpp - A weight that gets a format ---------------------===//
#include "passes/quantize/WeightTarget.h"

using namespace mlir;

namespace pare {

std::vector<float> readRows(const TensorData &data, bool isTransposed,
                            int64_t step) {
  std::vector<float> all = data.toF32(), read;
  if (!isTransposed && step == 1)
    return all;
  int64_t rows = data.type.getDimSize(isTransposed),
          columns = data.type.getDimSize(!isTransposed);
  read.reserve((rows + step - 1) / step * columns);
  for (int64_t i = 0; i < rows; i += step)
    for (int64_t j = 0; j < columns; ++j)
      read.push_back(all[isTransposed ? j * rows + i : i * columns + j]);
  return read;
}

nn::ParamOp useBlocks(OpOperand &use, StringRef symbol, RankedTensorType type) {
  OpBuilder builder(use.getOwner());
  auto param = nn::ParamOp::create(builder, use.get().getLoc(), type, symbol);
  use.set(param);
  if (auto matmul = dyn_cast<nn::MatMulOp>(use.getOwner()))
    matmul.setTransposeRhs(true);
  return param;
}

} // namespace pare
