//===- AnswerText.h - The text of an answer as it grows ---------*- C++ -*-===//
#ifndef PARE_BACKENDS_RUNTIME_ANSWERTEXT_H
#define PARE_BACKENDS_RUNTIME_ANSWERTEXT_H

#include "backends/runtime/Support.h"
#include "backends/runtime/TokenizerDecode.h"

namespace pare::rt {

/// Tokens to text that can be shown: whole characters, and nothing that may be
/// the beginning of a stop string.
class AnswerText {
public:
  /// `stops` must outlive the answer; empty ones are passed over. The answer
  /// goes on from `prompt`, whose own text is not part of it. False where
  /// memory is short.
  bool begin(const PareTokenizer &tokenizer, bool showsSpecial,
             const Str *stops, uint32_t numStops, const int32_t *prompt,
             uint64_t promptTokens);

  /// Adds a token; `stopped` if a stop string is whole, which ends the text
  /// before it. False where memory is short.
  bool add(int32_t token, bool &stopped);

  /// Shows what was held back: no token follows.
  bool finish(bool &stopped);

  /// What can be shown so far; it only grows.
  Str shown() const { return text.str().take(numShown); }

private:
  bool append(int64_t bytes, bool &stopped);

  PareTokenizerStream stream;
  const Str *stops = nullptr;
  uint32_t numStops = 0;
  Bytes text; ///< from `numShown` on held back
  uint64_t numShown = 0;
  Bytes piece; ///< the text that one token completes
};

} // namespace pare::rt

#endif
