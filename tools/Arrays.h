//===- Arrays.h - Array files and pictures as tensors -----------*- C++ -*-===//
//
// The compiler's view of the files that artifacts read and write, by the
// runtime's own readers: both accept and refuse the same.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TOOLS_ARRAYS_H
#define PARE_TOOLS_ARRAYS_H

#include "backends/emit/ModelInfo.h"
#include "passes/reference/HostTensor.h"
#include "llvm/Support/Error.h"

namespace pare::tools {

struct NamedArray {
  std::string name; ///< "" in a .npy
  HostTensor tensor;
};

/// The arrays of a .npy or .npz file, in the file's order.
llvm::Expected<std::vector<NamedArray>> readArrays(llvm::StringRef path,
                                                   mlir::MLIRContext &context);

/// Writes a .npy file.
llvm::Error writeArray(llvm::StringRef path, const HostTensor &tensor);

/// True for PNG and JPEG files, by their first bytes.
bool isPicture(llvm::StringRef path);

/// A picture as the input that `image` describes, of `rank` 3 or 4 axes and
/// element type f32 or ui8.
llvm::Expected<HostTensor> readPicture(llvm::StringRef path,
                                       const emit::ImageInput &image,
                                       mlir::Type element, int64_t rank);

} // namespace pare::tools

#endif
