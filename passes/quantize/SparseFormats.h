//===- SparseFormats.h - Where sparse formats pay ---------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_SPARSEFORMATS_H
#define PARE_PASSES_QUANTIZE_SPARSEFORMATS_H

#include "passes/Target.h"

namespace pare {

/// Why a product of `m` rows by a weight [n, k] is no faster on `target` with
/// the weight in `format`, which is sparse, than with the same codes all
/// stored: one clause with both times. nullopt: it is faster.
std::optional<std::string> whyNotSparse(const Target &target,
                                        const BlockFormat &format, int64_t m,
                                        int64_t n, int64_t k);

/// The same of all products that read a weight of one matrix, taken together.
/// Those of language models count as of one row, since a weight is read for
/// every token; others have as many as is typical of the entry. A weight that
/// no product reads is not worth it.
std::optional<std::string> whyNotSparse(const Target &target,
                                        const BlockFormat &format,
                                        llvm::ArrayRef<mlir::OpOperand *> uses);

} // namespace pare

#endif
