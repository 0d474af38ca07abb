//===- Codes.h - Integer codes of activations -------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_IR_CODES_H
#define PARE_FRONTEND_IR_CODES_H

#include "mlir/IR/BuiltinTypes.h"

namespace pare::nn {

/// The largest magnitude of an activation code that `codes` stores. i8 and ui8
/// (code + 128) hold [-127, 127]. i16, which AVX2's dot instruction takes, has
/// room for more at the same speed: with 1023, products with 8-bit weights are
/// exact in i32 sums of up to getMaxInner() terms.
inline int64_t getCodeLimit(mlir::Type codes) {
  return codes.isInteger(16) ? 1023 : 127;
}

/// The longest inner dimension whose i32 sum of products with weight codes of
/// at most 127 cannot overflow. Where rows have zero points, a code minus its
/// zero point is at most 513.
inline int64_t getMaxInner(mlir::Type codes) {
  return INT32_MAX / (127 * (codes.isInteger(16) ? getCodeLimit(codes) : 513));
}

/// What is added to a code where it is stored: 128 in unsigned bytes.
inline int64_t getCodeOffset(mlir::Type codes) {
  return codes.isUnsignedInteger(8) ? 128 : 0;
}

} // namespace pare::nn

#endif
