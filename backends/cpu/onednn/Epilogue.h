//===- Epilogue.h - What oneDNN does after a product ------------*- C++ -*-===//
#ifndef PARE_BACKENDS_CPU_ONEDNN_EPILOGUE_H
#define PARE_BACKENDS_CPU_ONEDNN_EPILOGUE_H

#include "backends/cpu/Select.h"
#include "backends/runtime/onednn/Shim.h"

namespace pare::cpu {

/// The ops after a group's anchor as a bias and posts of the shim.
struct Epilogue {
  struct Post {
    PareOneDnnPost kind;
    float alpha = 0, beta = 0;
  };
  mlir::Value bias; ///< may be null
  llvm::SmallVector<Post> posts;
  llvm::SmallVector<mlir::Value> operands; ///< of the posts that have one

  /// Appends what the shim reads: pointers of bias and operands, and the dims
  /// of posts. That there is a bias is for the caller to say, in the flags.
  void addTo(KernelCall &call, Selector &selector) const;
};

/// The epilogue of `anchor` in the group of `op`, in f32. nullopt, with the
/// reason in `why`: the group does something that oneDNN has no post-op for.
std::optional<Epilogue>
matchEpilogue(mlir::Operation *op, mlir::Operation *anchor, std::string &why);

} // namespace pare::cpu

#endif
