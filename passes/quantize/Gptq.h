//===- Gptq.h - Rounding that corrects itself -------------------*- C++ -*-===//
#ifndef PARE_PASSES_QUANTIZE_GPTQ_H
#define PARE_PASSES_QUANTIZE_GPTQ_H

#include "passes/calibrate/SecondMoments.h"

namespace pare {

/// Codes in [-127, 127] of `weights`, [inner, channels] row-major, under one
/// given scale per channel (0: a channel of zeros), by GPTQ (Frantar et al.
/// 2022, algorithm 1): rows are rounded in order of falling second moment, and
/// what each rounding did to the product's output is corrected in the rows that
/// follow, blocks of 128 rows at a time. The Hessian is damped by 1% of its
/// mean diagonal. Weights that are exactly 0, as pruning leaves them, stay 0.
/// `moments` are of the product's input, size() = inner.
std::vector<int8_t> roundByGptq(llvm::ArrayRef<float> weights,
                                llvm::ArrayRef<float> scales,
                                const SecondMoments &moments);

/// ‖X(w − ŵ)‖ / ‖Xw‖ of a product's output over the set that `moments` are of,
/// for weights [inner, channels] and their codes.
double getOutputError(llvm::ArrayRef<float> weights,
                      llvm::ArrayRef<int8_t> codes,
                      llvm::ArrayRef<float> scales,
                      const SecondMoments &moments);

} // namespace pare

#endif
