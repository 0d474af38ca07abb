//===- Conv.h - ONNX convolutions -------------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_ONNX_OPS_CONV_H
#define PARE_FRONTEND_ONNX_OPS_CONV_H

#include "frontend/onnx/Node.h"

namespace pare::onnximport {

/// The convolution that the node's attributes describe, of x [N, C, spatial…]
/// with filter [O, C / groups, kernel…] plus bias [O] (may be null). Channels
/// first in, channels first out; null after an error.
mlir::Value buildConv(const Node &node, mlir::Value x, mlir::Value filter,
                      mlir::Value bias);

} // namespace pare::onnximport

#endif
