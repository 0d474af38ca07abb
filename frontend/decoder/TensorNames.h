//===- TensorNames.h - What sources call a decoder's tensors ----*- C++ -*-===//
#ifndef PARE_FRONTEND_DECODER_TENSORNAMES_H
#define PARE_FRONTEND_DECODER_TENSORNAMES_H

#include "frontend/decoder/Config.h"
#include <optional>

namespace pare::decoder {

/// What a tensor is for. Matrices are [out, in] (but see
/// DecoderConfig::hasTransposedWeights).
enum class Role {
  TokenEmbedding,
  PositionEmbedding,
  OutputNorm,
  Output,            ///< the vocabulary projection, where it is not tied
  RopeDivisors,      ///< of frequencies (RopeScaling::Divisors), GGUF only
  RopeLongDivisors,  ///< GGUF only
  RopeShortDivisors, ///< GGUF only
  // Of a layer:
  AttentionNorm,
  Query,
  Key,
  Value,
  Qkv, ///< as DecoderConfig::qkv says
  QueryNorm,
  KeyNorm,
  AttentionOutput,
  PostAttentionNorm,
  FfnNorm,
  Gate,
  Up,
  GateUp, ///< DecoderConfig::hasFusedGateUp
  Down,
  PostFfnNorm,
  Router,
  // Of one expert, or of all, [experts, out, in], where `expert` is -1:
  ExpertGate,
  ExpertUp,
  ExpertDown,
};

/// "query", …, for messages.
llvm::StringRef getName(Role role);

struct TensorName {
  Role role;
  int64_t layer = -1; ///< -1: of the model
  int64_t expert =
      -1; ///< of expert roles, where experts have their own tensors
  bool isBias = false;

  bool operator==(const TensorName &) const = default;
};

enum class Naming { Gguf, HuggingFace };

/// What `name` is for in a model of this architecture; nullopt where it is
/// none of these. A prefix that a wrapper adds ("model.", "transformer.") is
/// skipped.
std::optional<TensorName> parseTensorName(llvm::StringRef name, Naming naming,
                                          Architecture architecture);

/// The name of a tensor, with the prefix that transformers' causal models
/// have; nullopt where the naming has none.
std::optional<std::string> getTensorName(const TensorName &tensor,
                                         Naming naming,
                                         Architecture architecture);

} // namespace pare::decoder

#endif
