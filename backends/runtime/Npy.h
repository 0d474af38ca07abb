//===- Npy.h - NumPy array files --------------------------------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_NPY_H
#define PARE_BACKENDS_RUNTIME_NPY_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// An array inside the bytes of a .npy file.
struct NpyView {
  PareTensor tensor; ///< data points into the file's bytes, perhaps unaligned
  bool fortran;      ///< column-major
};

constexpr uint64_t kNpyHeaderBytes = 256; ///< upper bound of what we write

/// Reads a .npy file, format versions 1 to 3, little-endian, in `file`. Every
/// length is checked against the file. False with the cause in `error`, without
/// a file name ("is cut short: …"), for the caller to put after one.
bool parseNpy(Str file, NpyView &view, Message &error);

/// Copies `view` to `out` in row-major order: view.tensor.bytes bytes.
void copyNpy(const NpyView &view, void *out);

/// Writes the .npy header (version 1.0) of a tensor; returns its length, a
/// multiple of 64 and at least `minimum`.
uint64_t npyHeader(const PareTensor &tensor, char header[kNpyHeaderBytes],
                   uint64_t minimum = 0);

} // namespace pare::rt

#endif
