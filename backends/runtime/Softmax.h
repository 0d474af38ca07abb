//===- Softmax.h - Exponentials of logits -----------------------*- C++ -*-===//
//
// The runtime has no libm (libc/). Results do not depend on the CPU but for
// whether it fuses products and sums.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_BACKENDS_RUNTIME_SOFTMAX_H
#define PARE_BACKENDS_RUNTIME_SOFTMAX_H

#include "backends/runtime/Support.h"

namespace pare::rt {

/// e^x within 2e-7 of itself; 0 below -87, the value at 88 above 88.
float expOf(float x);

/// The natural logarithm of a positive normal number, within 1e-15.
double logOf(double x);

/// The square root of a number that is not negative.
double squareRoot(double x);

/// The largest of `logits`, of which there is at least one. Not a number if
/// one of them is none.
float largest(const float *logits, uint64_t count);

/// The sum of e^(logits[i] - top): the denominator of their softmax.
double sumOfExponentials(const float *logits, uint64_t count, float top);

/// weights[i] = e^((logits[i] - top) * scale); returns their sum.
double exponentials(const float *logits, uint64_t count, float top, float scale,
                    float *weights);

} // namespace pare::rt

#endif
