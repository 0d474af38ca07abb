//===- ToyDecoder.h - A language model written by hand ----------*- C++ -*-===//
//
// What the compiler emits, by hand. Tokens are bytes, 256 begins a text and 257
// ends it. The logits after a position depend on every token before it, which
// the model reads back from its caches: one region of a row per position, and a
// ring for a window of 16. A row that holds another position than it should
// changes them too. After token 255 they are not numbers.
//
//===----------------------------------------------------------------------===//
#ifndef PARE_TESTS_UNIT_RUNTIME_TOYDECODER_H
#define PARE_TESTS_UNIT_RUNTIME_TOYDECODER_H

#include "backends/runtime/Abi.h"

namespace toy {
constexpr int32_t kBegin = 256, kEnd = 257;
constexpr uint32_t kVocabulary = 258, kColumns = 264;
constexpr uint32_t kContext = 200, kWindow = 16;
constexpr uint32_t kMaxTokens = 32, kMaxOutputs = 8;
constexpr uint32_t kRing = kWindow + kMaxTokens;

/// The logit of `token` after `history`, of `count` tokens.
float logitAfter(const int32_t *history, uint64_t count, int32_t token);

extern const PareModel decoderModel;
} // namespace toy

#endif
