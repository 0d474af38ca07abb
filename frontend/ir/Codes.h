//===- Codes.h - Integer codes of activations -------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_IR_CODES_H
#define PARE_FRONTEND_IR_CODES_H

#include "mlir/IR/BuiltinTypes.h"

namespace pare::nn {

/// The largest magnitude of a code of 8 bits, and of one that is stored in 16,
/// which AVX2's dot instruction takes: there is room for more at the same
/// speed.
constexpr int64_t kByteCodeLimit = 127, kWordCodeLimit = 1023;
/// Activations that share a scale where they meet weights that are quantized by
/// blocks.
constexpr int64_t kBlockCodeGroup = 32;
/// What is added to a code where it is stored in an unsigned byte.
constexpr int64_t kUnsignedCodeOffset = 128;

/// The largest magnitude of an activation code that i8, ui8 or i16 stores.
inline int64_t getCodeLimit(mlir::Type codes) {
  return codes.isInteger(16) ? kWordCodeLimit : kByteCodeLimit;
}

/// The longest inner dimension whose i32 sum of products with weight codes of
/// at most 127 cannot overflow. Where rows have zero points, a code minus its
/// zero point is at most 513.
inline int64_t getMaxInner(mlir::Type codes) {
  return INT32_MAX / (127 * (codes.isInteger(16) ? getCodeLimit(codes) : 513));
}

/// What is added to a code where it is stored.
inline int64_t getCodeOffset(mlir::Type codes) {
  return codes.isUnsignedInteger(8) ? kUnsignedCodeOffset : 0;
}

} // namespace pare::nn

#endif
