//===- DType.cpp - Element types of the IR and of the runtime
//----------------===//
#include "backends/cpu/DType.h"

using namespace mlir;

namespace pare::cpu {

std::optional<PareDType> getDType(Type type) {
  if (type.isF32())
    return PARE_F32;
  if (type.isF64())
    return PARE_F64;
  if (type.isF16())
    return PARE_F16;
  if (type.isBF16())
    return PARE_BF16;
  auto integer = dyn_cast<IntegerType>(type);
  if (!integer)
    return std::nullopt;
  bool isUnsigned = integer.isUnsigned();
  switch (integer.getWidth()) {
  case 1:
    return PARE_BOOL;
  case 8:
    return isUnsigned ? PARE_U8 : PARE_I8;
  case 16:
    return isUnsigned ? PARE_U16 : PARE_I16;
  case 32:
    return isUnsigned ? PARE_U32 : PARE_I32;
  case 64:
    return isUnsigned ? PARE_U64 : PARE_I64;
  default:
    return std::nullopt;
  }
}

} // namespace pare::cpu
