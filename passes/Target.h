//===- Target.h - What passes may ask of a target ---------------*- C++ -*-===//
//
// Passes never include backends: what they must know of a target they ask of
// this interface, which backends implement.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_PASSES_TARGET_H
#define PARE_PASSES_TARGET_H

#include "frontend/ir/NN.h"
#include "frontend/weights/BlockFormat.h"
#include <optional>

namespace pare {

/// A kernel of a provider for one op, with its timing where the table has it.
struct KernelEstimate {
  std::string provider; ///< "generated", "onednn"
  double microseconds;  ///< one thread, from the timing table or the cost model
  bool measured;        ///< true: the timing table has this row
};

class Target {
public:
  virtual ~Target() = default;

  /// As the user spells it: "x86-64-v4+avx512vnni".
  virtual llvm::StringRef name() const = 0;

  /// The element type that holds int8 activation codes for this target's dot
  /// instruction: i8 (the code), ui8 (code + 128) or i16.
  virtual mlir::Type codeType(mlir::MLIRContext *context) const = 0;

  /// Whether a kernel exists for `op` (an nn op or nn.fused); otherwise why
  /// not.
  virtual std::optional<std::string>
  whyUnsupported(mlir::Operation *op) const = 0;

  /// The best kernel's estimate for a matrix product of M x K by K x N, or a
  /// convolution seen as one, in the given weight format: "f32", "int8", or the
  /// name of one of blocks, of products with codes of activations. nullopt: no
  /// kernel.
  virtual std::optional<KernelEstimate>
  estimateMatMul(int64_t m, int64_t k, int64_t n,
                 llvm::StringRef format) const = 0;

  /// Whether an integer kernel multiplies codes of activations, one scale per
  /// nn::kBlockCodeGroup, by rows of weights in blocks of `format`; otherwise
  /// why not.
  virtual std::optional<std::string>
  whyNoBlockProduct(const BlockFormat &format) const = 0;
};

} // namespace pare

#endif
