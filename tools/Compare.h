//===- Compare.h - The error between two tensors ----------------*- C++ -*-===//
#ifndef PARE_TOOLS_COMPARE_H
#define PARE_TOOLS_COMPARE_H

#include "passes/reference/HostTensor.h"
#include <optional>

namespace pare::tools {

/// How far one tensor is from another of the same shape.
struct Difference {
  double cosine = 1;      ///< of the two as vectors; 1 if both are zero
  double maxError = 0;    ///< max |a - b| / max |b|
  double rmsError = 0;    ///< ‖a - b‖ / ‖b‖
  uint64_t nonFinite = 0; ///< elements where one is finite and the other not
};

/// Compares element by element, in double; `b` is the reference. Where both
/// are the same infinity or both NaN, they agree. Errors are infinite where
/// `b` is all zero and `a` is not.
Difference compare(const HostTensor &a, const HostTensor &b);

/// The same where the compiler may have changed the layout of `a`: with
/// channels last or second, or heads beside sequence. Of the layouts that have
/// the shape of `b` the one that agrees best; nullopt if there is none, or if
/// one tensor is of floats and the other not.
std::optional<Difference> compareInAnyLayout(const HostTensor &a,
                                             const HostTensor &b);

} // namespace pare::tools

#endif
