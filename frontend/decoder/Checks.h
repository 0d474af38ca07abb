//===- Checks.h - What both sources of a config share -----------*- C++ -*-===//
#ifndef PARE_FRONTEND_DECODER_CHECKS_H
#define PARE_FRONTEND_DECODER_CHECKS_H

#include "frontend/decoder/Config.h"

namespace pare::decoder {

/// Largest plausible sizes; a file that claims more is damaged.
constexpr int64_t maxWidth = 1 << 24, maxRows = 1 << 28, maxLayers = 10'000,
                  maxExperts = 1 << 16;

/// What a source calls things, for errors.
struct KeyNames {
  std::string hidden, heads, kvHeads, headDim, ropeDims, ropeBase, ropeFactor,
      normEpsilon, experts, expertsUsed;
};

/// Fills in what follows from the architecture and from the source alone, and
/// what holds where the source is silent: activation and soft caps. `layers`,
/// `hidden` and `experts` are set.
void applyFamily(DecoderConfig &config, bool isGguf);

/// One layer in so many has no window where the source is silent; 0: none.
int64_t getWindowPattern(Architecture architecture);

/// Fills in sizes that follow from others and refuses contradictions.
llvm::Error checkConfig(DecoderConfig &config, llvm::StringRef path,
                        const KeyNames &keys);

} // namespace pare::decoder

#endif
