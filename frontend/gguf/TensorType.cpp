//===- TensorType.cpp - Element and block types of GGUF files -------------===//
#include "frontend/gguf/TensorType.h"
#include "frontend/gguf/Blocks.h"
#include "mlir/IR/Builders.h"
#include "llvm/ADT/StringSwitch.h"

namespace pare::gguf {

/// ggml's numbers. 4, 5, 31 to 33 and 36 to 38 were types once; those without a
/// storage are read as far as `pare inspect` needs.
static constexpr TensorType types[] = {
    {0, "F32", 1, 4},
    {1, "F16", 1, 2},
    {2, "Q4_0", 32, 18, &q4_0},
    {3, "Q4_1", 32, 20, &q4_1},
    {6, "Q5_0", 32, 22, &q5_0},
    {7, "Q5_1", 32, 24, &q5_1},
    {8, "Q8_0", 32, 34, &q8_0},
    {10, "Q2_K", 256, 84, &q2_K},
    {11, "Q3_K", 256, 110, &q3_K},
    {12, "Q4_K", 256, 144, &q4_K},
    {13, "Q5_K", 256, 176, &q5_K},
    {14, "Q6_K", 256, 210, &q6_K},
    {16, "IQ2_XXS", 256, 66},
    {17, "IQ2_XS", 256, 74},
    {18, "IQ3_XXS", 256, 98},
    {19, "IQ1_S", 256, 50},
    {20, "IQ4_NL", 32, 18, &iq4_NL},
    {21, "IQ3_S", 256, 110},
    {22, "IQ2_S", 256, 82},
    {23, "IQ4_XS", 256, 136, &iq4_XS},
    {24, "I8", 1, 1},
    {25, "I16", 1, 2},
    {26, "I32", 1, 4},
    {27, "I64", 1, 8},
    {28, "F64", 1, 8},
    {29, "IQ1_M", 256, 56},
    {30, "BF16", 1, 2},
    {34, "TQ1_0", 256, 54, &tq1_0},
    {35, "TQ2_0", 256, 66, &tq2_0},
    {39, "MXFP4", 32, 17, &mxfp4},
    {40, "NVFP4", 64, 36, &nvfp4},
    {41, "Q1_0", 128, 18},
};

llvm::ArrayRef<TensorType> getTensorTypes() { return types; }

const TensorType *findTensorType(uint32_t id) {
  for (const TensorType &type : types)
    if (type.id == id)
      return &type;
  return nullptr;
}

const TensorType *findTensorType(llvm::StringRef name) {
  for (const TensorType &type : types)
    if (name.equals_insensitive(type.name))
      return &type;
  return nullptr;
}

mlir::Type TensorType::getElementType(mlir::MLIRContext &context) const {
  mlir::Builder b(&context);
  return llvm::StringSwitch<mlir::Type>(name)
      .Case("F16", b.getF16Type())
      .Case("BF16", b.getBF16Type())
      .Case("F64", b.getF64Type())
      .Case("I8", b.getI8Type())
      .Case("I16", b.getIntegerType(16))
      .Case("I32", b.getI32Type())
      .Case("I64", b.getI64Type())
      .Default(b.getF32Type());
}

std::optional<uint64_t>
TensorType::getBytes(llvm::ArrayRef<int64_t> shape) const {
  if (shape.empty())
    return isPlain() ? std::optional<uint64_t>(bytes) : std::nullopt;
  uint64_t size = bytes;
  bool empty = false;
  for (auto [axis, dim] : llvm::enumerate(shape)) {
    uint64_t count = uint64_t(dim);
    if (axis + 1 == shape.size()) {
      if (count % elements != 0)
        return std::nullopt;
      count /= elements;
    }
    empty |= dim == 0;
    if (dim < 0 || __builtin_mul_overflow(size, count ? count : 1, &size) ||
        size > uint64_t(INT64_MAX))
      return std::nullopt;
  }
  return empty ? 0 : size;
}

} // namespace pare::gguf
