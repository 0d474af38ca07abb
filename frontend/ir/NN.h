//===- NN.h - The nn dialect ------------------------------------*- C++ -*-===//
#ifndef PARE_FRONTEND_IR_NN_H
#define PARE_FRONTEND_IR_NN_H

#include "frontend/ir/Shape.h"
#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/IR/SymbolTable.h"
#include "mlir/Interfaces/ControlFlowInterfaces.h"
#include "mlir/Interfaces/InferTypeOpInterface.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

namespace pare::nn {
/// Sum of the bytes of an op's tensor operands and results.
mlir::AffineExpr operandAndResultBytes(mlir::Operation *op);

/// What ops on caches read and write.
struct CacheResource : mlir::SideEffects::Resource::Base<CacheResource> {
  llvm::StringRef getName() final { return "nn.cache"; }
};
} // namespace pare::nn

#include "frontend/ir/Dialect.h.inc"
#include "frontend/ir/Enums.h.inc"
#include "frontend/ir/Interfaces.h.inc"
#define GET_ATTRDEF_CLASSES
#include "frontend/ir/Attrs.h.inc"
#define GET_OP_CLASSES
#include "frontend/ir/Ops.h.inc"

namespace pare::nn {

/// Attributes of the entry function and its arguments and results.
inline constexpr llvm::StringLiteral kNameAttr =
    "nn.name"; ///< arg/result: name in the source
inline constexpr llvm::StringLiteral kDimNamesAttr =
    "nn.dim_names"; ///< func: ArrayAttr of StrAttr, one per symbol
inline constexpr llvm::StringLiteral kDimMinAttr =
    "nn.dim_min"; ///< func: DenseI64Array, inclusive
inline constexpr llvm::StringLiteral kDimMaxAttr =
    "nn.dim_max"; ///< func: DenseI64Array, inclusive

/// The module's entry point, `@main`.
mlir::func::FuncOp getEntry(mlir::ModuleOp module);
/// Values of the symbols at which kernels are compared: 64, within the declared
/// bounds of `entry`.
llvm::SmallVector<int64_t> getTypicalSymbols(mlir::func::FuncOp entry);
/// The weight that a value is, or null.
WeightOp getWeight(mlir::Value value);
/// Whether a value is a weight that is quantized by blocks.
bool isBlockWeight(mlir::Value value);
/// Codes that share one of `scale` along the last axis, where `scale` has more
/// than one per row and fewer than codes, and otherwise the shape of `codes`;
/// nullopt where it broadcasts or does not fit.
std::optional<int64_t> getGroupSize(mlir::Value codes, mlir::Value scale);
/// Inside nn.fused, the value outside that a block argument stands for;
/// otherwise `value` itself.
mlir::Value getOuterValue(mlir::Value value);
/// The name that the source gives a value: argument name, or its op's name
/// location; "" where there is none.
llvm::StringRef getValueName(mlir::Value value);
/// Two dimensions that ops of the entry take to be equal and that are not so
/// for all values of the symbols.
struct Constraint {
  Dim a, b;
  std::string what; ///< the op, for the message
};
/// Each pair once, in program order.
llvm::SmallVector<Constraint> findConstraints(mlir::func::FuncOp entry);
/// A location that carries a source name.
mlir::Location getNamedLoc(llvm::StringRef name, mlir::MLIRContext *context);

} // namespace pare::nn

#endif
