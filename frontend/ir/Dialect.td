//===- Dialect.td - The nn dialect -------------------------*- tablegen -*-===//
#ifndef PARE_IR_DIALECT
#define PARE_IR_DIALECT

include "mlir/IR/OpBase.td"

def NN_Dialect : Dialect {
  let name = "nn";
  let cppNamespace = "::pare::nn";
  let summary = "Neural network graphs, from import to kernels";
  let description = [{
    One dialect from the importers to the backends. Values are ranked tensors;
    a dimension that is not known at compile time is an affine expression of
    the entry point's symbolic dimensions (batch, sequence, …), carried by the
    tensor type as its encoding:

        tensor<?x?x384xf32, affine_map<()[s0, s1] -> (s0, s1, 384)>>

    so that shapes of dynamic models are compared, simplified and planned
    exactly as static ones are. Fully static types carry no encoding.

    Weights are module-level symbols (`nn.weight`) named as in the source; their
    bytes live in the weight store, never in attributes.

    Images are NHWC. Importers insert the transposes and passes/simplify moves
    them to the edges.
  }];
  let dependentDialects = ["::mlir::func::FuncDialect"];
  let useDefaultAttributePrinterParser = 1;
  let hasConstantMaterializer = 1;
}

#endif
