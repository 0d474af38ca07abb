//===- ToyModel.h - A model written by hand ---------------------*- C++ -*-===//
//
// What the compiler emits, by hand: x[batch, 16] -> y = 2 relu(x W)[batch, 8]
// and best = argmax y, int64 [batch].
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TESTS_UNIT_RUNTIME_TOYMODEL_H
#define PARE_TESTS_UNIT_RUNTIME_TOYMODEL_H

#include "backends/runtime/Abi.h"

namespace toy {
constexpr int64_t kIn = 16, kOut = 8, kMaxBatch = 64;

/// W[k][j].
constexpr float weight(int64_t k, int64_t j) {
  return float((k * kOut + j) * 7 % 13 - 6) / 8;
}

/// A batch of 3, fixed.
extern const PareModel staticModel;
} // namespace toy

#endif
