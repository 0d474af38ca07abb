//===- Interfaces.td - What every nn op can be asked -------*- tablegen -*-===//
#ifndef PARE_IR_INTERFACES
#define PARE_IR_INTERFACES

include "mlir/IR/OpBase.td"

def NN_CostInterface : OpInterface<"CostInterface"> {
  let cppNamespace = "::pare::nn";
  let description = [{
    What one evaluation of an op costs, as expressions of the symbolic
    dimensions: arithmetic operations (a multiply-add counts two) and bytes
    that must move at least once (operands plus results).
  }];
  let methods = [
    InterfaceMethod<"Arithmetic operations.", "::mlir::AffineExpr", "getFlops", (ins)>,
    InterfaceMethod<"Compulsory traffic in bytes.", "::mlir::AffineExpr", "getBytes", (ins), [{}], [{
      return ::pare::nn::operandAndResultBytes($_op);
    }]>,
  ];
}

def NN_GradientInterface : OpInterface<"GradientInterface"> {
  let cppNamespace = "::pare::nn";
  let description = [{
    Reverse-mode differentiation: builds the operands' gradients from the
    results' gradients. An op that has none says why.
  }];
  let methods = [
    InterfaceMethod<[{
      Returns one gradient per operand (null where the operand is not
      differentiable) or fails after a diagnostic that says why the op has no
      gradient.
    }], "::mlir::FailureOr<::llvm::SmallVector<::mlir::Value>>", "buildGradient",
    (ins "::mlir::OpBuilder &":$builder, "::mlir::ValueRange":$resultGrads)>,
  ];
}

#endif
