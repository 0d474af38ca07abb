//===- Segments.h - A model in parts, layer by layer ------------*- C++ -*-===//
//
// Methods that correct what earlier layers lost run a model part by part: each
// part on what the parts before it, already changed, give. Only values between
// parts are kept, so that memory does not grow with depth.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_CALIBRATE_SEGMENTS_H
#define PARE_PASSES_CALIBRATE_SEGMENTS_H

#include "frontend/ir/NN.h"
#include "mlir/IR/OwningOpRef.h"

namespace pare {

/// Some of the entry's ops, in order.
struct Segment {
  llvm::SmallVector<mlir::Operation *> ops;
  llvm::SmallVector<mlir::Value> inputs;  ///< that earlier segments make
  llvm::SmallVector<mlir::Value> outputs; ///< that later segments read
};

/// Cuts the entry behind ops for which `isChanged` holds, wherever a single
/// value goes on that depends on such an op: between the layers of a network
/// with a residual stream. What depends on none is the first segment, which
/// has no such op and may be empty. Values that only the return reads are
/// nobody's outputs.
std::vector<Segment>
cutIntoSegments(mlir::func::FuncOp entry,
                llvm::function_ref<bool(mlir::Operation *)> isChanged);

/// A module of `ops` alone: its entry takes the arguments of `module`'s, then
/// `inputs`, and returns `results`. Weights and caches come along by name.
mlir::OwningOpRef<mlir::ModuleOp>
extractOps(mlir::ModuleOp module, llvm::ArrayRef<mlir::Operation *> ops,
           llvm::ArrayRef<mlir::Value> inputs,
           llvm::ArrayRef<mlir::Value> results);

} // namespace pare

#endif
