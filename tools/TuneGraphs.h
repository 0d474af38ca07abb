//===- TuneGraphs.h - What pare tune measures -------------------*- C++ -*-===//
#ifndef PARE_TOOLS_TUNEGRAPHS_H
#define PARE_TOOLS_TUNEGRAPHS_H

#include "backends/cpu/timing/TimingTable.h"
#include "frontend/weights/WeightStore.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/IR/OwningOpRef.h"
#include "passes/reference/HostTensor.h"
#include <memory>

namespace pare::tools {

/// A product by a weight, or a convolution of stride 1 whose image keeps its
/// size.
struct TunedKernel {
  int64_t inputs, outputs; ///< channels
  int64_t taps = 1;        ///< of each of a convolution's two axes
};

/// Kernels that the timing table knows by one name.
struct TunedOp {
  llvm::StringLiteral name; ///< "matmul", "conv1x1", "conv", "depthwise"
  bool hasInt8;             ///< else it is never quantized, or as a matmul
  /// From small encoders and convolutional networks, the common ones first.
  llvm::ArrayRef<TunedKernel> kernels;
  /// Sizes to measure at: rows of a product, lines of an image.
  llvm::ArrayRef<int64_t> sizes;

  bool isConv() const { return name != "matmul"; }
  /// M, K and N of a kernel in the table.
  cpu::ProductShape shape(const TunedKernel &kernel, int64_t size) const;
  /// --shape of the input in0 at a size, which all share.
  std::string shapeFlag(const TunedKernel &first, int64_t size) const;
};

llvm::ArrayRef<TunedOp> getTunedOps();

/// A graph of in0 → x0 → y0, in1 → x1 → y1, …: a relu and a kernel each, all of
/// one symbolic size. Products are alone, convolutions have a bias and
/// hard_swish.
llvm::Expected<mlir::OwningOpRef<mlir::ModuleOp>>
buildTunedGraph(mlir::MLIRContext &context, std::shared_ptr<WeightStore> store,
                const TunedOp &op, llvm::ArrayRef<TunedKernel> kernels);

/// One sample of its inputs, for the scales of int8 convolutions.
std::vector<HostTensor> makeTunedSample(mlir::MLIRContext &context,
                                        const TunedOp &op,
                                        llvm::ArrayRef<TunedKernel> kernels);

} // namespace pare::tools

#endif
