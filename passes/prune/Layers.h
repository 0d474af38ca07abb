//===- Layers.h - Layers of transformers that can go ------------*- C++ -*-===//
#ifndef PARE_PASSES_PRUNE_LAYERS_H
#define PARE_PASSES_PRUNE_LAYERS_H

#include "frontend/ir/NN.h"
#include "frontend/weights/WeightStore.h"

namespace pare::prune {

/// A layer with attention: all that depends on what goes in and that others
/// see comes out as one value.
struct Layer {
  mlir::Value in, out;
  /// The types are equal and no other layer reads its cache, so that `in` can
  /// take the place of `out`.
  bool canGo;
};

/// Layers of the entry, in order. Each begins at the last value before its
/// attention through which all goes, so that its normalization goes with it,
/// whether it stands before or after the residual addition.
std::vector<Layer> findLayers(mlir::ModuleOp module);

/// Takes layers out, with their weights and caches.
void dropLayers(mlir::ModuleOp module, llvm::ArrayRef<Layer> layers,
                WeightStore &weights);

} // namespace pare::prune

#endif
